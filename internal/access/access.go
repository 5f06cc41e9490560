// Package access turns flags and environment into the way to a registry: whole references, one login, trusted CAs.
package access

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/trust"
)

// Environment is the help on the variables that are read.
const Environment = `Environment:
  HARBOR_URL         registry of references without a host, and the one that the login is for
  HARBOR_PROJECT     project of references without one
  HARBOR_USERNAME    login; without it, Docker's configuration (DOCKER_CONFIG) is asked
  HARBOR_PASSWORD    its password: no flag takes one, --password-stdin reads it
`

// Flags say how a registry is reached.
type Flags struct {
	username      string
	passwordStdin bool
	caFile        string
	plainHTTP     bool
	resolve       []string
	project       string
}

// Bind declares the flags that say how a registry is reached.
func (f *Flags) Bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.username, "username", "", "login as `USER`, instead of HARBOR_USERNAME")
	flags.BoolVar(&f.passwordStdin, "password-stdin", false, "read the password from standard input, instead of HARBOR_PASSWORD")
	flags.StringVar(&f.caFile, "ca-file", "", "trust the certificate authorities in this PEM `FILE` too")
	flags.BoolVar(&f.plainHTTP, "plain-http", false, "allow HTTP without TLS; loopback addresses always may")
	flags.StringArrayVar(&f.resolve, "resolve", nil, "`HOST[:PORT]:ADDR`: connect to ADDR for HOST (repeatable)")
}

// BindProject declares the flag that completes references, for commands that do so.
func (f *Flags) BindProject(flags *pflag.FlagSet) {
	flags.StringVar(&f.project, "project", "", "`PROJECT` of references without one, instead of HARBOR_PROJECT")
}

// ReadsStdin reports whether the password comes from standard input.
func (f *Flags) ReadsStdin() bool { return f.passwordStdin }

// References are the images that typed names, whole: host and project from flags and environment where they are missing,
// the tag latest where there is none.
func (f *Flags) References(c *cli.Console, typed []string) ([]imageref.Ref, error) {
	refs := make([]imageref.Ref, 0, len(typed))
	for _, s := range typed {
		ref, err := f.reference(c.Getenv, s)
		if err != nil {
			return nil, err
		}
		if ref.String() != s {
			c.Progressf("%s is %s", s, ref)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

func (f *Flags) reference(getenv func(string) string, s string) (imageref.Ref, error) {
	ref, err := imageref.Parse(s)
	if errors.Is(err, imageref.ErrUpperCase) || (err == nil && upperOwner(ref)) {
		return ref, fault.Usagef("did you mean "+lowerName(s)+"?", "reference %q: %w", s, imageref.ErrUpperCase)
	}
	if err != nil {
		return ref, fault.Usagef("for example: harbor.example.com/project/app:1.2.3", "%w", err)
	}
	if ref.Digest != "" {
		return ref, fault.Usagef("name a tag: "+ref.Bare().String()+":1.2.3", "reference %q: the digest is what a push finds out", s)
	}
	ref.Tag = cmp.Or(ref.Tag, "latest")
	if ref.Registry != "" {
		return ref, nil
	}
	host, _, err := harbor(getenv)
	if err != nil {
		return ref, err
	}
	project := cmp.Or(f.project, getenv("HARBOR_PROJECT"))
	if host == "" || (project == "" && !strings.Contains(ref.Repository, "/")) {
		return ref, fault.Usagef("write HOST/PROJECT/NAME:TAG, or set HARBOR_URL and HARBOR_PROJECT", "reference %q names no registry", s)
	}
	if project != "" && !strings.HasPrefix(ref.Repository, project+"/") {
		ref.Repository = project + "/" + ref.Repository
	}
	ref.Registry = host
	whole, err := imageref.Parse(ref.String())
	switch {
	case err != nil:
		return ref, fault.Usagef("check HARBOR_URL and HARBOR_PROJECT", "%w", err)
	case whole != ref: // without a dot or a port, a reference's first part is not read as a host
		return ref, fault.Usagef("check HARBOR_URL: its host needs a dot or a port", "reference %q: %q is no registry host", s, host)
	}
	return ref, nil
}

// upperOwner reports whether what looks like a host is rather a GitHub owner with capitals: no dot, no port.
func upperOwner(ref imageref.Ref) bool {
	return strings.ToLower(ref.Registry) != ref.Registry && !strings.ContainsAny(ref.Registry, ".:")
}

// lowerName is s with its name, but not its tag, in lower case.
func lowerName(s string) string {
	end := len(s)
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		end = i
	}
	return strings.ToLower(s[:end]) + s[end:]
}

// harbor is the host of HARBOR_URL, without the scheme's own port, and whether it is to be spoken to without TLS. No error
// repeats what may hold a password.
func harbor(getenv func(string) string) (host string, plain bool, err error) {
	address := getenv("HARBOR_URL")
	if address == "" {
		return "", false, nil
	}
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	const hint = "for example: HARBOR_URL=https://harbor.example.com"
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return "", false, fault.Usagef(hint, "HARBOR_URL is not the http:// or https:// address of a registry")
	case u.User != nil:
		return "", false, fault.Usagef(hint+", and the login in HARBOR_USERNAME and HARBOR_PASSWORD", "HARBOR_URL holds a login, which does not belong in an address")
	case u.Port() == map[string]string{"http": "80", "https": "443"}[u.Scheme]:
		return strings.TrimSuffix(u.Host, ":"+u.Port()), u.Scheme == "http", nil
	}
	return u.Host, u.Scheme == "http", nil
}

// Options are how to reach the registries that refs name. The login is for HARBOR_URL's host, else for that of the
// first of refs that names one: what is meant for Harbor must not go to Docker Hub. It is masked in the log of a workflow.
func (f *Flags) Options(c *cli.Console, refs []imageref.Ref) (registry.Options, error) {
	o := registry.Options{UserAgent: c.Agent(), Resolve: map[string]string{}}
	host, plain, err := harbor(c.Getenv)
	if err != nil {
		return o, err
	}
	if plain {
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
	if o.Credential, err = f.credential(c, host); err != nil {
		return o, err
	}
	for _, s := range f.resolve {
		from, to, err := parseResolve(s)
		if err != nil {
			return o, err
		}
		o.Resolve[from] = to
	}
	o.RootCAs, err = trust.Roots(f.caFile)
	return o, err
}

func (f *Flags) credential(c *cli.Console, host string) (registry.Credential, error) {
	login := registry.Credential{Host: host, Username: cmp.Or(f.username, c.Getenv("HARBOR_USERNAME")), Password: c.Getenv("HARBOR_PASSWORD")}
	if f.passwordStdin {
		typed, err := io.ReadAll(io.LimitReader(c.In, maxPassword))
		if err != nil {
			return login, fmt.Errorf("read the password from standard input: %w", err)
		}
		login.Password = strings.TrimRight(string(typed), "\r\n")
	}
	switch {
	case login.Username == "" && login.Password == "":
		return registry.Credential{}, nil
	case login.Username == "":
		return login, fault.Usagef("set HARBOR_USERNAME or pass --username", "there is a password, but no user")
	case login.Password == "":
		return login, fault.Usagef("set HARBOR_PASSWORD or pass --password-stdin", "there is a user, but no password")
	}
	c.Workflow.Mask(login.Password)
	return login, nil
}

// maxPassword is how much of standard input is read, in bytes; tokens of cloud registries have some thousands.
const maxPassword = 64 << 10

// parseResolve reads HOST[:PORT]:ADDR; an IPv6 ADDR stands in brackets.
func parseResolve(s string) (from, to string, err error) {
	i := strings.LastIndexByte(s, ':')
	if strings.HasSuffix(s, "]") {
		i = strings.LastIndex(s, ":[")
	}
	if i < 0 {
		i = 0
	}
	from, to = s[:i], strings.Trim(strings.TrimPrefix(s[i:], ":"), "[]")
	if from == "" || to == "" || (strings.HasSuffix(s, "]") && net.ParseIP(to) == nil) {
		return "", "", fault.Usagef("for example: --resolve harbor.example.com:192.168.1.20", "--resolve %q is not HOST[:PORT]:ADDR", s)
	}
	return from, to, nil
}
