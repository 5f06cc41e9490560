package access

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/kube"
	"github.com/ksera524/imgbump/internal/registry"
)

// settings are which Harbor is meant, by flags, environment and Secret, in this order.
type settings struct {
	host, project string
	plain         bool // the host is spoken to without TLS
	secret        secret
}

// settings reads the Secret once, whether or not the rest leaves something for it to say.
func (f *Flags) settings(ctx context.Context, c *cli.Console) (settings, error) {
	if f.read != nil {
		return *f.read, nil
	}
	var s settings
	if f.secret != (kube.Name{}) {
		raw, err := readSecret(ctx, c, f.secret)
		if err != nil {
			return s, err
		}
		if s.secret, err = newSecret(f.secret, raw); err != nil {
			return s, err
		}
		s.secret.mask(c)
	}
	var err error
	switch address := c.Getenv("HARBOR_URL"); {
	case f.harbor != "":
		s.host, s.plain, err = harbor(f.harbor, "--harbor")
	case address != "":
		s.host, s.plain, err = harbor(address, "HARBOR_URL")
	default:
		s.host, s.plain, err = harbor(s.secret.url, "HARBOR_URL in secret "+f.secret.String())
	}
	s.project = cmp.Or(f.project, c.Getenv("HARBOR_PROJECT"), s.secret.project)
	if err == nil {
		f.read = &s
	}
	return s, err
}

func readSecret(ctx context.Context, c *cli.Console, name kube.Name) (kube.Secret, error) {
	cluster, err := kube.Open(c.Getenv, c.Agent())
	if err != nil {
		return kube.Secret{}, err
	}
	return cluster.Secret(ctx, name)
}

// parseKey reads NAMESPACE/NAME/KEY.
func parseKey(s string) (name kube.Name, key string, err error) {
	if i := strings.LastIndexByte(s, '/'); i > 0 {
		name, err = kube.ParseName(s[:i])
		key = s[i+1:]
	}
	if err != nil || key == "" {
		return name, "", fmt.Errorf("%q is not NAMESPACE/NAME/KEY, as cert-manager/ca-key-pair/ca.crt", s)
	}
	return name, key, nil
}

// keys are the names of what a Secret holds, for people.
func keys(s kube.Secret) string {
	return strings.Join(slices.Sorted(maps.Keys(s.Data)), ", ")
}

// secret is what a cluster's Secret says about Harbor: its address, project and one login, or, from a Docker
// configuration, a login for each host.
type secret struct {
	name         kube.Name
	url, project string
	own          registry.Credential
	byHost       map[string]registry.Credential
}

func newSecret(name kube.Name, raw kube.Secret) (secret, error) {
	s := secret{name: name}
	value := func(key string) string { return strings.TrimSpace(string(raw.Data[key])) }
	if config, ok := raw.Data[".dockerconfigjson"]; ok {
		logins, err := dockerLogins(config)
		if err != nil {
			return s, s.fault(err, "kubectl create secret docker-registry makes a right one")
		}
		if s.byHost = logins; len(logins) == 1 {
			s.url = slices.Collect(maps.Keys(logins))[0]
		}
		return s, nil
	}
	s.url, s.project = value("HARBOR_URL"), value("HARBOR_PROJECT")
	s.own = registry.Credential{Username: value("HARBOR_USERNAME"), Password: strings.TrimRight(string(raw.Data["HARBOR_PASSWORD"]), "\r\n")}
	if s.own == (registry.Credential{}) && s.url == "" && s.project == "" {
		return s, s.fault(errors.New("it has no HARBOR_* keys, and is no kubernetes.io/dockerconfigjson"), "it has: "+keys(raw))
	}
	return s, nil
}

func (s secret) fault(err error, hint string) error {
	return &fault.Error{What: "read secret", Where: s.name.String(), Err: err, Hint: hint}
}

// login is the one for host.
func (s secret) login(host string) (registry.Credential, error) {
	login, ok := s.own, true
	if s.byHost != nil {
		login, ok = s.byHost[strings.ToLower(host)]
	}
	switch {
	case !ok:
		return login, s.fault(fmt.Errorf("it has no user and password for %q", host), "it has those for: "+strings.Join(slices.Sorted(maps.Keys(s.byHost)), ", "))
	case login.Username == "" || login.Password == "":
		return login, s.fault(errors.New("HARBOR_USERNAME or HARBOR_PASSWORD is missing in it"), "add the keys to the secret, or set the variables")
	}
	login.Host = host
	return login, nil
}

// mask keeps the passwords out of a workflow's log.
func (s secret) mask(c *cli.Console) {
	c.Workflow.Mask(s.own.Password)
	for _, login := range s.byHost {
		c.Workflow.Mask(login.Password)
	}
}

// dockerLogins are the users and passwords of a Docker configuration, by host as references spell it.
func dockerLogins(config []byte) (map[string]registry.Credential, error) {
	var file struct {
		Auths map[string]struct {
			Auth     []byte `json:"auth"` // USER:PASSWORD
			Username string `json:"username"`
			Password string `json:"password"`
		} `json:"auths"`
	}
	if json.Unmarshal(config, &file) != nil { // the error would quote it
		return nil, errors.New("its .dockerconfigjson is no Docker configuration")
	}
	logins := map[string]registry.Credential{}
	for address, entry := range file.Auths {
		login := registry.Credential{Username: entry.Username, Password: entry.Password}
		if login.Password == "" {
			login.Username, login.Password, _ = strings.Cut(string(entry.Auth), ":")
		}
		if login.Username != "" && login.Password != "" {
			logins[hostOf(address)] = login
		}
	}
	return logins, nil
}

// hostOf is the host of a key in a Docker configuration: "harbor.example.com" or "https://index.docker.io/v1/".
func hostOf(address string) string {
	_, rest, found := strings.Cut(address, "://")
	if !found {
		rest = address
	}
	host, _, _ := strings.Cut(strings.ToLower(rest), "/")
	return imageref.Ref{Registry: host}.Host()
}
