package access

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// References are the images that typed names, whole: host and project from flags, environment and Secret where they are
// missing, the tag latest where there is none.
func (f *Flags) References(ctx context.Context, c *cli.Console, typed []string) ([]imageref.Ref, error) {
	refs := make([]imageref.Ref, 0, len(typed))
	for _, s := range typed {
		ref, err := f.reference(ctx, c, s)
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

func (f *Flags) reference(ctx context.Context, c *cli.Console, typed string) (imageref.Ref, error) {
	ref, err := imageref.Parse(typed)
	if errors.Is(err, imageref.ErrUpperCase) || (err == nil && upperOwner(ref)) {
		return ref, fault.Usagef("did you mean "+lowerName(typed)+"?", "reference %q: %w", typed, imageref.ErrUpperCase)
	}
	if err != nil {
		return ref, fault.Usagef("for example: harbor.example.com/project/app:1.2.3", "%w", err)
	}
	if ref.Digest != "" {
		return ref, fault.Usagef("name a tag: "+ref.Bare().String()+":1.2.3", "reference %q: the digest is what a push finds out", typed)
	}
	ref.Tag = cmp.Or(ref.Tag, "latest")
	if ref.Registry != "" {
		return ref, nil
	}
	s, err := f.settings(ctx, c)
	if err != nil {
		return ref, err
	}
	return s.complete(ref)
}

// complete adds host and project to a reference without host.
func (s settings) complete(ref imageref.Ref) (imageref.Ref, error) {
	if s.host == "" || (s.project == "" && !strings.Contains(ref.Repository, "/")) {
		return ref, fault.Usagef("write HOST/PROJECT/NAME:TAG, or set HARBOR_URL and HARBOR_PROJECT", "reference %q names no registry", ref)
	}
	if s.project != "" && !strings.HasPrefix(ref.Repository, s.project+"/") {
		ref.Repository = s.project + "/" + ref.Repository
	}
	ref.Registry = s.host
	whole, err := imageref.Parse(ref.String())
	switch {
	case err != nil:
		return ref, fault.Usagef("check HARBOR_URL and HARBOR_PROJECT", "%w", err)
	case whole != ref: // without a dot or a port, a reference's first part is not read as a host
		return ref, fault.Usagef("check HARBOR_URL: its host needs a dot or a port", "reference %q: %q is no registry host", ref, s.host)
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

// harbor is the host of a Harbor's address, without the scheme's own port, and whether it is to be spoken to without
// TLS. The error names where the address is from and never repeats it: it may hold a password.
func harbor(address, from string) (host string, plain bool, err error) {
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
		return "", false, fault.Usagef(hint, "%s is not the http:// or https:// address of a registry", from)
	case u.User != nil:
		return "", false, fault.Usagef(hint+", and the login in HARBOR_USERNAME and HARBOR_PASSWORD", "%s holds a login, which does not belong in an address", from)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", false, fault.Usagef(hint+", and the project in HARBOR_PROJECT", "%s has more than a host: a registry is at the root of its host", from)
	case u.Port() == map[string]string{"http": "80", "https": "443"}[u.Scheme]:
		return strings.TrimSuffix(u.Host, ":"+u.Port()), u.Scheme == "http", nil
	}
	return u.Host, u.Scheme == "http", nil
}
