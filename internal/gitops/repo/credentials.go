package repo

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// login is what an HTTP remote is shown. It goes to the remote's host only: go-git drops it on a redirect elsewhere.
type login struct {
	header string // the value of Authorization, "" for none
	origin string // whose it is, for messages
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
// actions/checkout left in git's configuration, what the URL itself says. What git is configured to send goes where git
// would send it, over plain HTTP too.
func (r *Repo) login(remote *url.URL) (login, error) {
	c, err := r.options.Credential(remote)
	if err != nil || c.Secret != "" {
		return login{basic(cmp.Or(c.Username, "x-access-token"), c.Secret), c.Name}, err
	}
	for _, line := range r.config.urlValues("extraheader", remote) {
		name, value, _ := strings.Cut(line, ":")
		if value = strings.TrimSpace(value); strings.EqualFold(name, "Authorization") && value != "" {
			r.maskHeader(value)
			return login{value, "the credential in git's configuration (http.extraheader)"}, nil
		}
	}
	if user := remote.User; user != nil {
		password, _ := user.Password()
		r.mask(password)
		return login{basic(user.Username(), password), "the login in the remote's URL"}, nil
	}
	return login{origin: "no credential"}, nil
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

// urlValues are the values of an http key that apply to a remote: those of the URL that matches the longest part of
// it, else the general ones. An empty value clears what came before it (git-config, "http.<url>.*").
func (s settings) urlValues(key string, remote *url.URL) []string {
	best, found := "", false
	for _, line := range s {
		if line.section == "http" && line.key == key && urlMatches(line.subsection, remote) && len(line.subsection) >= len(best) {
			best, found = line.subsection, true
		}
	}
	if !found {
		return nil
	}
	var values []string
	for _, value := range s.values("http", best, key) {
		if value == "" {
			values = nil
			continue
		}
		values = append(values, value)
	}
	return values
}

// urlMatches reports whether a configuration for pattern holds for a remote: same scheme, host and port, and a path
// that is the pattern's or below it.
func urlMatches(pattern string, remote *url.URL) bool {
	if pattern == "" {
		return true
	}
	p, err := url.Parse(pattern)
	if err != nil || p.Scheme != remote.Scheme || !strings.EqualFold(p.Hostname(), remote.Hostname()) || port(p) != port(remote) {
		return false
	}
	folder := strings.TrimSuffix(p.Path, "/")
	return p.User == nil && (remote.Path == folder || strings.HasPrefix(remote.Path, folder+"/"))
}

func port(u *url.URL) string {
	return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

// certificates is the PEM file of those to trust besides the system's: the one asked for, else git's own setting.
func (r *Repo) certificates(remote *url.URL) string {
	file := cmp.Or(r.options.CAFile, r.options.Getenv("GIT_SSL_CAINFO"))
	if configured := r.config.urlValues("sslcainfo", remote); file == "" && len(configured) > 0 {
		file = configured[len(configured)-1]
	}
	return file
}

// address is a remote's URL: pushed to, and so read from too, with git's insteadOf applied. A URL instead of a name
// is taken as it is.
func (r *Repo) address(remote string) (string, error) {
	address := remote
	if !strings.ContainsAny(remote, ":/") {
		address = cmp.Or(r.config.value("remote", remote, "pushurl"), r.config.value("remote", remote, "url"))
	}
	if address == "" {
		return "", &fault.Error{Kind: fault.Usage, What: "push to", Where: remote, Err: fmt.Errorf("%s has no such remote", r.root),
			Hint: "git remote add " + remote + " URL"}
	}
	longest := setting{}
	for _, line := range r.config {
		if line.section == "url" && line.key == "insteadof" && strings.HasPrefix(address, line.value) && len(line.value) > len(longest.value) {
			longest = line
		}
	}
	return longest.subsection + strings.TrimPrefix(address, longest.value), nil
}
