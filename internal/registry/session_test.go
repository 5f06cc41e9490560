package registry

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// answering is a RoundTripper that keeps what it was sent.
type answering struct{ got *http.Request }

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.got = r
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func TestOwnHost(t *testing.T) {
	for _, tt := range []struct {
		home, to string
		sees     bool // the login
		err      error
	}{
		{"https://harbor.test", "https://harbor.test/v2/", true, nil},
		{"https://harbor.test", "https://Harbor.test:443/v2/", true, nil},
		{"https://harbor.test:443", "https://harbor.test/v2/", true, nil},
		{"http://harbor.test", "http://harbor.test:80/v2/", true, nil},
		{"https://harbor.test", "https://harbor.test:8443/v2/", false, nil},
		{"https://harbor.test", "https://blobs.harbor.test/v2/", false, nil},
		{"http://harbor.test", "https://harbor.test/v2/", false, nil},
		{"https://harbor.test", "http://blobs.test/v2/", false, nil},
		{"https://harbor.test", "http://harbor.test/v2/", false, errDowngrade},
		{"https://harbor.test:8443", "http://harbor.test:443/v2/", false, errDowngrade},
	} {
		home, err := url.Parse(tt.home)
		if err != nil {
			t.Fatal(err)
		}
		inner := &answering{}
		client := http.Client{Transport: ownHost{inner, home, "Bearer secret"}}
		resp, err := client.Get(tt.to)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s to %s: error %v", tt.home, tt.to, err)
		}
		if err != nil {
			continue
		}
		resp.Body.Close()
		if got := inner.got.Header.Get("Authorization") != ""; got != tt.sees {
			t.Errorf("%s to %s: sees the login: %v", tt.home, tt.to, got)
		}
	}
}

// TestProxyRefuses has a proxy that lets nobody through.
func TestProxyRefuses(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := New(Options{})
	transport := c.transport()
	transport.Proxy = http.ProxyURL(address)
	c.http = transport
	_, err = c.Digest(t.Context(), imageref.Ref{Registry: "harbor.invalid", Repository: "team/app", Tag: "1"})
	if err == nil || err.Error() != "reach harbor.invalid: the proxy refuses to reach harbor.invalid:443: 403 Forbidden" || fault.HintOf(err) != hintProxy {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
	}
}
