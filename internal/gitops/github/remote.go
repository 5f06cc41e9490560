package github

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// segment is an owner or a name; requests are addressed by it, so that "..", "?" and "/" are none.
var segment = regexp.MustCompile(`^[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

// Repository is the owner and the name of the repository that a git remote's URL names on the GitHub server: https, ssh
// or scp-like (git@github.com:owner/name.git). serverURL is GITHUB_SERVER_URL; empty is https://github.com. ok is false
// when the remote is on another host, whatever the port, or is no repository's.
func Repository(remoteURL, serverURL string) (owner, name string, ok bool) {
	server, err := url.Parse(cmp.Or(serverURL, "https://github.com"))
	host, path := split(remoteURL)
	if err != nil || !strings.EqualFold(host, server.Hostname()) {
		return "", "", false
	}
	owner, name, _ = strings.Cut(strings.TrimSuffix(strings.Trim(path, "/"), ".git"), "/")
	if !segment.MatchString(owner) || !segment.MatchString(name) {
		return "", "", false
	}
	return owner, name, true
}

// split is a remote's host and path, and empty for what is on this machine.
func split(remote string) (host, path string) {
	if !strings.Contains(remote, "://") {
		login, path, _ := strings.Cut(remote, ":")
		return login[strings.LastIndexByte(login, '@')+1:], path
	}
	u, err := url.Parse(remote)
	if err != nil || !slices.Contains([]string{"https", "http", "ssh"}, u.Scheme) {
		return "", ""
	}
	return u.Hostname(), u.Path
}
