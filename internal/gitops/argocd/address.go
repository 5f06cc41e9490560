package argocd

import (
	"net/url"
	"strings"
)

// SameRepository reports whether two addresses mean one git repository: whatever the scheme, login and port, with or without
// .git, and in upper or lower case, which Argo CD does not tell apart either.
func SameRepository(a, b string) bool { return where(a) == where(b) }

// where is the host and path of a repository's address, for comparison; it has no login.
func where(address string) string {
	address = strings.ToLower(strings.TrimSpace(address))
	host, p := "", address
	if u, err := url.Parse(address); err == nil && u.Scheme != "" && u.Opaque == "" {
		host, p = u.Hostname(), u.Path
	} else if before, after, scp := strings.Cut(address, ":"); scp && !strings.Contains(before, "/") {
		host, p = before[strings.LastIndexByte(before, '@')+1:], after
	}
	return host + "/" + strings.Trim(strings.TrimSuffix(strings.TrimRight(p, "/"), ".git"), "/")
}
