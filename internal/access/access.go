// Package access turns flags, environment and a cluster's Secrets into the way to a registry: whole references, one
// login, trusted CAs.
package access

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/kube"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/trust"
)

// Environment is the help on the variables that are read.
const Environment = `Environment:
  HARBOR_URL         registry of references without a host, and the one that the login is for
  HARBOR_PROJECT     project of references without one
  HARBOR_USERNAME    login; without it, --k8s-secret or Docker's configuration (DOCKER_CONFIG) is asked
  HARBOR_PASSWORD    its password: no flag takes one, --password-stdin reads it
  KUBECONFIG         cluster of --k8s-secret; without it and ~/.kube/config, the pod's own
`

// Flags say how a registry is reached.
type Flags struct {
	username      string
	passwordStdin bool
	secret        kube.Name
	caFile        string
	caSecret      kube.Name
	caKey         string
	plainHTTP     bool
	resolve       []string
	harbor        string
	project       string

	read  *settings // once they are known
	typed string    // the password, once it is
}

// Bind declares the flags that say how a registry is reached.
func (f *Flags) Bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.username, "username", "", "login as `USER`, instead of HARBOR_USERNAME")
	flags.BoolVar(&f.passwordStdin, "password-stdin", false, "read the password from standard input, instead of HARBOR_PASSWORD")
	flags.Func("k8s-secret", "`NAMESPACE/NAME` of a cluster's Secret that has the HARBOR_* variables, or a Docker configuration; flags and environment win", func(s string) (err error) {
		f.secret, err = kube.ParseName(s)
		return err
	})
	flags.StringVar(&f.caFile, "ca-file", "", "trust the certificate authorities in this PEM `FILE` too")
	flags.Func("k8s-ca", "trust those in a cluster's Secret too: `NAMESPACE/NAME/KEY`", func(s string) (err error) {
		f.caSecret, f.caKey, err = parseKey(s)
		return err
	})
	flags.BoolVar(&f.plainHTTP, "plain-http", false, "allow HTTP without TLS; loopback addresses always may")
	flags.StringArrayVar(&f.resolve, "resolve", nil, "`HOST[:PORT]:ADDR`: connect to ADDR for HOST (repeatable)")
}

// BindProject declares the flag that completes references, for commands that do so.
func (f *Flags) BindProject(flags *pflag.FlagSet) {
	flags.StringVar(&f.project, "project", "", "`PROJECT` of references without one, instead of HARBOR_PROJECT")
}

// BindHarbor declares the flag that names Harbor, for commands whose arguments do not.
func (f *Flags) BindHarbor(flags *pflag.FlagSet) {
	flags.StringVar(&f.harbor, "harbor", "", "`URL` of Harbor, instead of HARBOR_URL")
}

// ReadsStdin reports whether the password comes from standard input.
func (f *Flags) ReadsStdin() bool { return f.passwordStdin }

// Harbor is the host of the Harbor that flags, environment or Secret name.
func (f *Flags) Harbor(ctx context.Context, c *cli.Console) (host string, err error) {
	s, err := f.settings(ctx, c)
	if err == nil && s.host == "" {
		err = fault.Usagef("for example: --harbor https://harbor.example.com", "name Harbor with --harbor, HARBOR_URL or --k8s-secret")
	}
	return s.host, err
}

// Options are how to reach the registries that refs name. The login is for HARBOR_URL's host, else for that of the
// first of refs that names one: what is meant for Harbor must not go to Docker Hub. It is masked in the log of a workflow.
func (f *Flags) Options(ctx context.Context, c *cli.Console, refs []imageref.Ref) (registry.Options, error) {
	o := registry.Options{UserAgent: c.Agent(), Resolve: map[string]string{}}
	for _, s := range f.resolve {
		from, to, err := parseResolve(s)
		if err != nil {
			return o, err
		}
		o.Resolve[from] = to
	}
	s, err := f.settings(ctx, c)
	if err != nil {
		return o, err
	}
	host := s.host
	if s.plain {
		o.PlainHTTP = append(o.PlainHTTP, host)
	}
	if i := slices.IndexFunc(refs, func(r imageref.Ref) bool { return r.Registry != "" }); host == "" && i >= 0 {
		host = refs[i].Host()
	}
	if f.plainHTTP {
		o.PlainHTTP = append(o.PlainHTTP, host)
		for _, ref := range refs {
			o.PlainHTTP = append(o.PlainHTTP, ref.Host())
		}
	}
	if o.Credential, err = f.credential(ctx, c, s, host); err != nil {
		return o, err
	}
	o.RootCAs, err = f.roots(ctx, c)
	return o, err
}

// credential is the login for host: the flags' and the environment's, else the Secret's.
func (f *Flags) credential(ctx context.Context, c *cli.Console, s settings, host string) (registry.Credential, error) {
	login := registry.Credential{Host: host, Username: cmp.Or(f.username, c.Getenv("HARBOR_USERNAME")), Password: c.Getenv("HARBOR_PASSWORD")}
	if f.passwordStdin {
		if err := f.readPassword(ctx, c); err != nil {
			return login, err
		}
		login.Password = f.typed
	}
	c.Workflow.Mask(login.Password)
	switch {
	case login.Username == "" && login.Password == "" && f.secret != (kube.Name{}):
		return s.secret.login(host)
	case login.Username == "" && login.Password == "":
		return registry.Credential{}, nil
	case login.Username == "":
		return login, fault.Usagef("set HARBOR_USERNAME or pass --username", "there is a password, but no user")
	case login.Password == "":
		return login, fault.Usagef("set HARBOR_PASSWORD or pass --password-stdin", "there is a user, but no password")
	}
	return login, nil
}

// readPassword reads the password from standard input, once.
func (f *Flags) readPassword(ctx context.Context, c *cli.Console) error {
	if f.typed != "" {
		return nil
	}
	typed, err := io.ReadAll(io.LimitReader(c.Input(ctx), maxPassword+1))
	if err != nil {
		return fmt.Errorf("read the password from standard input: %w", err)
	}
	f.typed = strings.TrimRight(string(typed), "\r\n")
	switch {
	case f.typed == "":
		return fault.Usagef("for example: printf %s \"$PASSWORD\" | ...; is the variable empty?", "--password-stdin: there is no password on standard input")
	case len(typed) > maxPassword:
		return fault.Usagef("give the password alone", "--password-stdin: standard input has more than %d bytes", maxPassword)
	}
	return nil
}

// maxPassword is how much of standard input is read, in bytes; tokens of cloud registries have some thousands.
const maxPassword = 64 << 10

// roots are the authorities of --ca-file and --k8s-ca beside the system's, nil for the system's alone.
func (f *Flags) roots(ctx context.Context, c *cli.Console) (*x509.CertPool, error) {
	roots, err := trust.Roots(f.caFile)
	if err != nil || f.caKey == "" {
		return roots, err
	}
	secret, err := readSecret(ctx, c, f.caSecret)
	if err != nil {
		return nil, err
	}
	pem, ok := secret.Data[f.caKey]
	if !ok {
		return nil, &fault.Error{What: "read secret", Where: f.caSecret.String(), Err: fmt.Errorf("it has no key %s", f.caKey), Hint: "it has: " + keys(secret)}
	}
	return trust.With(roots, pem, "key "+f.caKey+" of secret "+f.caSecret.String())
}

// parseResolve reads HOST[:PORT]:ADDR; an IPv6 ADDR stands in brackets.
func parseResolve(s string) (from, to string, err error) {
	i := strings.LastIndexByte(s, ':')
	if strings.HasSuffix(s, "]") {
		i = strings.LastIndex(s, ":[")
	}
	if i < 0 {
		i = 0
	}
	from, to = strings.ToLower(s[:i]), strings.TrimPrefix(s[i:], ":")
	if bare, ok := strings.CutPrefix(to, "["); ok {
		to = strings.TrimSuffix(bare, "]")
	}
	if from == "" || net.ParseIP(to) == nil {
		return "", "", fault.Usagef("for example: --resolve harbor.example.com:192.168.1.20, or harbor.example.com:443:[fd00::20]", "--resolve %q is not HOST[:PORT]:ADDR", s)
	}
	return from, to, nil
}
