package repo

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// login is what an HTTP remote is shown. It goes to the remote's host only: go-git drops it on a redirect elsewhere.
type login struct {
	header      string // the value of Authorization, "" for none
	origin      string // whose it is, for messages
	replaceable bool   // git would ask its credential helpers when the server does not accept it
}

// The methods of go-git's http.AuthMethod.

func (l login) Name() string   { return "http-authorization" }
func (l login) String() string { return l.Name() + " from " + l.origin }
func (l login) SetAuth(r *http.Request) {
	if l.header != "" {
		r.Header.Set("Authorization", l.header)
	}
}

// login finds the credential for a remote, the most explicit first: what the caller has for the host, what
// actions/checkout left in git's configuration, what the URL itself says, what .netrc has. What git is configured to
// send goes where git would send it, over plain HTTP too.
func (r *Repo) login(ctx context.Context, remote *url.URL) (login, error) {
	c, err := r.options.Credential(ctx, remote)
	if err != nil || c.Secret != "" {
		return login{header: basic(cmp.Or(c.Username, "x-access-token"), c.Secret), origin: c.Name}, err
	}
	for _, line := range r.config.urlValues("http", "extraheader", remote) {
		name, value, _ := strings.Cut(line, ":")
		if value = strings.TrimSpace(value); strings.EqualFold(name, "Authorization") && value != "" {
			r.maskHeader(value)
			return login{header: value, origin: "the credential in git's configuration (http.extraheader)"}, nil
		}
	}
	user := remote.User.Username()
	if password, ok := remote.User.Password(); ok {
		r.mask(password)
		return login{header: basic(user, password), origin: "the login in the remote's URL"}, nil
	}
	if found, ok := r.netrc(remote); ok {
		return found, nil
	}
	if user != "" { // a token, perhaps
		r.mask(user)
		return login{header: basic(user, ""), origin: "the user in the remote's URL, without a password", replaceable: true}, nil
	}
	return login{origin: "no credential", replaceable: true}, nil
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// maskHeader keeps a header's credential out of logs, encoded and plain.
func (r *Repo) maskHeader(value string) {
	scheme, credential, _ := strings.Cut(value, " ")
	r.mask(credential)
	if strings.EqualFold(scheme, "basic") {
		if plain, err := base64.StdEncoding.DecodeString(credential); err == nil {
			_, password, _ := strings.Cut(string(plain), ":")
			r.mask(password)
		}
	}
}

func (r *Repo) mask(secret string) {
	if secret != "" {
		r.options.Mask(secret)
	}
}

// address is a remote's URL: pushed to, and so read from too, with git's pushInsteadOf or else insteadOf applied. What no
// remote is called, and looks like an address, is one.
func (r *Repo) address(remote string) (string, error) {
	address := r.config.value("remote", remote, "pushurl")
	explicit := address != ""
	if !explicit {
		address = r.config.value("remote", remote, "url")
	}
	switch {
	case address != "":
	case r.root == "" || strings.ContainsAny(remote, ":/"):
		address = remote
	default:
		return "", &fault.Error{Kind: fault.Usage, What: "use remote", Where: remote, Err: fmt.Errorf("%s has no such remote", r.root), Hint: r.instead(remote)}
	}
	if pushed := r.rewritten("pushinsteadof", address); !explicit && pushed != address {
		return pushed, nil
	}
	return r.rewritten("insteadof", address), nil
}

// instead is the hint when there is no remote of a name.
func (r *Repo) instead(remote string) string {
	var names []string
	for _, line := range r.config {
		if line.section == "remote" && line.key == "url" && !slices.Contains(names, line.subsection) {
			names = append(names, line.subsection)
		}
	}
	if len(names) == 0 {
		return "git remote add " + remote + " URL"
	}
	return "name another with --remote: there is " + abridged(names)
}

// rewritten replaces the longest beginning of an address that url.BASE.KEY names by BASE.
func (r *Repo) rewritten(key, address string) string {
	longest := setting{}
	for _, line := range r.config {
		if line.section == "url" && line.key == key && strings.HasPrefix(address, line.value) && len(line.value) > len(longest.value) {
			longest = line
		}
	}
	return longest.subsection + strings.TrimPrefix(address, longest.value)
}
