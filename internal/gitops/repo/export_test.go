package repo

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// LimitAnswers makes the limit on what a server may send one that a test reaches.
func LimitAnswers(t *testing.T, bytes int64) {
	was := maxAnswer
	maxAnswer = bytes
	t.Cleanup(func() { maxAnswer = was })
}

// Become makes us another user as far as checkouts are concerned.
func Become(t *testing.T, user int) {
	was := effectiveUser
	effectiveUser = func() int { return user }
	t.Cleanup(func() { effectiveUser = was })
}

// ProxyOf is the proxy that an address of a remote is reached through, or "".
func (r *Repo) ProxyOf(remote, address string) string {
	request := httptest.NewRequest(http.MethodGet, address, nil)
	find, err := r.proxy(remote, request.URL)
	if find == nil || err != nil {
		return ""
	}
	proxy, err := find(request)
	if proxy == nil || err != nil {
		return ""
	}
	return proxy.String()
}
