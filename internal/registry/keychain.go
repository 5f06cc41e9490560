package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ksera524/imgbump/internal/environ"
	"github.com/ksera524/imgbump/internal/leash"
)

// helperPatience is how long a credential helper may take; some log in to a cloud.
const helperPatience = 30 * time.Second

// dockerLogin is the login that Docker's configuration has for the registry, or nobody's. Helpers are run here, and not
// by the library, which waits for them for ever, and lets them inherit our secrets.
func dockerLogin(ctx context.Context, registry name.Registry) (authn.Authenticator, error) {
	file, err := dockerConfiguration()
	if err != nil {
		return nil, err
	}
	key := registry.RegistryStr()
	if key == name.DefaultRegistry {
		key = authn.DefaultAuthKey
	}
	if helper := cmp.Or(file.CredentialHelpers[key], file.CredentialsStore); helper != "" {
		return askHelper(ctx, "docker-credential-"+helper, key)
	}
	login, err := file.GetAuthConfig(key)
	if err != nil {
		return nil, err
	}
	return authn.FromConfig(authn.AuthConfig{Username: login.Username, Password: login.Password, Auth: login.Auth,
		IdentityToken: login.IdentityToken, RegistryToken: login.RegistryToken}), nil
}

// dockerConfiguration is Docker's file, else that of Podman and its kin (containers-auth.json(5)), else an empty one.
func dockerConfiguration() (*configfile.ConfigFile, error) {
	folder := cmp.Or(os.Getenv("DOCKER_CONFIG"), config.Dir())
	if _, err := os.Stat(filepath.Join(folder, config.ConfigFileName)); err == nil {
		return config.Load(folder)
	}
	paths := []string{os.Getenv("REGISTRY_AUTH_FILE")}
	if folder := os.Getenv("XDG_RUNTIME_DIR"); folder != "" {
		paths = append(paths, filepath.Join(folder, "containers/auth.json"))
	}
	if folder, err := os.UserConfigDir(); err == nil {
		paths = append(paths, filepath.Join(folder, "containers/auth.json"))
	}
	for _, path := range paths {
		if f, err := os.Open(path); err == nil {
			defer f.Close()
			return config.LoadFromReader(f)
		}
	}
	return configfile.New(""), nil
}

// askHelper runs a credential helper (docker/docker-credential-helpers). What it prints stays out of errors: it may be a
// secret.
func askHelper(ctx context.Context, helper, key string) (authn.Authenticator, error) {
	ctx, cancel := context.WithTimeout(ctx, helperPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, helper, "get")
	cmd.Stdin = strings.NewReader(key)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { // which are for other hosts than the helper's
		name, _, _ := strings.Cut(variable, "=")
		return environ.IsOurs(name)
	})
	leash.Put(cmd)
	out, err := cmd.Output()
	var login struct{ Username, Secret string }
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, err
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s did not answer within %v", helper, helperPatience)
	case err != nil && strings.TrimSpace(string(out)) == "credentials not found in native keychain": // the protocol's words
		return authn.Anonymous, nil
	case err != nil || json.NewDecoder(bytes.NewReader(out)).Decode(&login) != nil:
		return nil, fmt.Errorf("%s failed", helper)
	case login.Username == "<token>": // the protocol's word for an identity token
		return authn.FromConfig(authn.AuthConfig{IdentityToken: login.Secret}), nil
	}
	return authn.FromConfig(authn.AuthConfig{Username: login.Username, Password: login.Secret}), nil
}
