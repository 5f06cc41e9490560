package access

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/environ"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/kube"
	"github.com/ksera524/imgbump/internal/leash"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/trust"
)

// Registries are settings for several registries, of a file that whoever runs us names.
type Registries struct{ file string }

// Bind declares the flag.
func (f *Registries) Bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "registries-conf", "", "settings and logins of registries: a `FILE` as Argo CD Image Updater's registries.conf")
}

// Settings are those of the file, and of further registries that it has none for. What cannot be right is an error of kind
// Usage; logins are looked for when a registry is first needed.
func (f *Registries) Settings(c *cli.Console, further []config.Registry) ([]registry.Setting, error) {
	own, err := f.read(c)
	if err != nil {
		return nil, err
	}
	for _, r := range further {
		if !slices.ContainsFunc(own, func(o config.Registry) bool { return strings.EqualFold(o.Host, r.Host) }) {
			own = append(own, r)
		}
	}
	var all []registry.Setting
	for _, r := range own {
		s, err := settingOf(c, r)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// read is what the file says, nothing without one.
func (f *Registries) read(c *cli.Console) ([]config.Registry, error) {
	if f.file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(f.file)
	if err != nil {
		return nil, fault.Usagef("name a file like Argo CD Image Updater's registries.conf", "--registries-conf: %w", err)
	}
	all, problems, notices := config.ParseRegistries(data)
	if len(problems) > 0 {
		p := problems[0]
		return nil, &fault.Error{Kind: fault.Usage, Where: fmt.Sprintf("%s:%d", f.file, p.Line), Hint: p.Hint, Err: errors.New(p.Text)}
	}
	for _, n := range notices {
		c.Warnf(f.file, n.Line, "%s", n.Text)
	}
	for i, r := range all {
		if r.CAFile == "" {
			continue
		}
		if all[i].CA, err = os.ReadFile(r.CAFile); err != nil {
			return nil, fault.Usagef("name a file of PEM certificates", "%s:%d: %w", f.file, r.Line, err)
		}
	}
	return all, nil
}

// settingOf is a registry's setting.
func settingOf(c *cli.Console, r config.Registry) (s registry.Setting, err error) {
	s = registry.Setting{Host: r.Host, Address: r.Address, Plain: r.Plain, Limit: r.Limit, Unchecked: r.Unchecked, Namespace: r.Namespace}
	if len(r.CA) > 0 {
		var roots *x509.CertPool
		if roots, err = trust.With(nil, r.CA, "the CA of "+r.Host); err != nil {
			return s, err
		}
		s.RootCAs = roots
	}
	if r.Credentials != "" && r.Credentials != "docker" {
		s.Login = func(ctx context.Context) (username, password string, err error) {
			username, password, err = login(ctx, c, r.Host, r.Credentials)
			c.Workflow.Mask(password)
			return username, password, err
		}
	}
	return s, nil
}

// login is the one for host that a credential of Argo CD Image Updater's forms names.
func login(ctx context.Context, c *cli.Console, host, credential string) (username, password string, err error) {
	form, value, _ := strings.Cut(credential, ":")
	switch form {
	case "pullsecret":
		return pullSecret(ctx, c, host, value)
	case "secret":
		name, field, _ := strings.Cut(value, "#")
		raw, err := secretNamed(ctx, c, name)
		if err != nil {
			return "", "", err
		}
		return split(string(raw.Data[field]), "key "+field+" of secret "+name)
	case "env":
		return split(c.Getenv(value), "the variable "+value)
	}
	return fromScript(ctx, value)
}

func secretNamed(ctx context.Context, c *cli.Console, typed string) (kube.Secret, error) {
	name, err := kube.ParseName(typed)
	if err != nil {
		return kube.Secret{}, fault.Usagef("", "%w", err)
	}
	return readSecret(ctx, c, name)
}

// pullSecret is the login that a kubernetes.io/dockerconfigjson Secret has for host, and nobody's where it has none: it is
// for other hosts then.
func pullSecret(ctx context.Context, c *cli.Console, host, typed string) (username, password string, err error) {
	raw, err := secretNamed(ctx, c, typed)
	if err != nil {
		return "", "", err
	}
	logins, err := dockerLogins(raw.Data[".dockerconfigjson"])
	if err != nil {
		return "", "", &fault.Error{What: "read secret", Where: typed, Err: err, Hint: "kubectl create secret docker-registry makes a right one"}
	}
	own := logins[strings.ToLower(host)]
	if own.Username == "" {
		c.Warnf("", 0, "pull secret %s has no login for %s", typed, host)
	}
	return own.Username, own.Password, nil
}

// split reads USER:PASSWORD. The error never repeats it.
func split(text, where string) (username, password string, err error) {
	username, password, found := strings.Cut(strings.TrimRight(text, "\r\n"), ":")
	if !found || username == "" || password == "" {
		return "", "", &fault.Error{What: "read", Where: where, Err: errors.New("it is not USER:PASSWORD"), Hint: "is it set?"}
	}
	return username, password, nil
}

// How long a script may take for a login, and how much it may print.
const (
	scriptPatience = 10 * time.Second
	scriptOutput   = 64 << 10
)

// fromScript runs a program that prints USER:PASSWORD. What it prints stays out of errors.
func fromScript(ctx context.Context, file string) (username, password string, err error) {
	if !filepath.IsAbs(file) {
		return "", "", fault.Usagef("name it from /", "the program %s for a login has no absolute path", file)
	}
	ctx, cancel := context.WithTimeout(ctx, scriptPatience)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, file)
	leash.Put(cmd)
	cmd.Stdout = &limitedBuffer{&out}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { // which are for other hosts than the program's
		name, _, _ := strings.Cut(variable, "=")
		return environ.IsOurs(name)
	})
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %v", scriptPatience)
		}
		return "", "", &fault.Error{Kind: fault.Denied, What: "run", Where: file, Err: err, Hint: "it has to print USER:PASSWORD"}
	}
	return split(out.String(), "the output of "+file)
}

// limitedBuffer refuses more than a login can have.
type limitedBuffer struct{ to *bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.to.Len()+len(p) > scriptOutput {
		return 0, errors.New("it prints too much")
	}
	return b.to.Write(p)
}
