package registry

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Route is how a host is reached: at one of Addresses, ADDRESS:PORT each, or through a proxy, which looks the name up.
type Route struct {
	Addresses []string
	Given     bool   // the address was given in Options.Resolve
	Proxy     string // "proxy.example.com:3128"
}

// Route looks up the name of host.
func (c *Client) Route(ctx context.Context, host string) (Route, error) {
	registry, err := name.NewRegistry(host) // docker.io is index.docker.io
	if err != nil {
		return Route{}, fault.Usagef("", "registry %q: %w", host, err)
	}
	target := &url.URL{Scheme: "https", Host: registry.RegistryStr()}
	if c.plain(host) {
		target.Scheme = "http"
	}
	if proxy, err := c.proxy(&http.Request{URL: target}); err == nil && proxy != nil {
		return Route{Proxy: proxy.Host}, nil
	}
	to := address(target)
	if given := c.resolve(to); given != to {
		return Route{Addresses: []string{given}, Given: true}, nil
	}
	hostname, port, err := net.SplitHostPort(to)
	if err != nil {
		return Route{}, fault.Usagef("", "registry %q: %w", host, err)
	}
	limited, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupHost(limited, hostname)
	if err != nil {
		return Route{}, (&session{client: c, host: host}).failed(ctx, "reach", host, err)
	}
	var r Route
	for _, ip := range found {
		r.Addresses = append(r.Addresses, net.JoinHostPort(ip, port))
	}
	return r, nil
}

// Connect opens a connection to one of the addresses of host, and closes it.
func (c *Client) Connect(ctx context.Context, host, address string) error {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return (&session{client: c, host: host}).failed(ctx, "reach", host, err)
	}
	return conn.Close()
}

// Greeting is what the first answer of a registry tells.
type Greeting struct {
	Certificate *x509.Certificate // nil without TLS
	Ahead       time.Duration     // how much the registry's clock is ahead of ours
	Dated       bool              // it told the time
	Harbor      bool
	Anonymous   bool // it wants no login
}

// Greet asks the registry at host how it wants to be spoken to.
func (c *Client) Greet(ctx context.Context, host string) (Greeting, error) {
	s, err := c.greeted(ctx, host)
	if err != nil {
		return Greeting{}, err
	}
	g, first := Greeting{Harbor: s.harbor(), Anonymous: s.challenge.Scheme == ""}, s.greeting.Load()
	if state := first.TLS; state != nil && len(state.PeerCertificates) > 0 {
		g.Certificate = state.PeerCertificates[0]
	}
	if date, err := http.ParseTime(first.Header.Get("Date")); err == nil {
		g.Dated, g.Ahead = true, date.Sub(c.now())
	}
	return g, nil
}

// Login is the user that host knows us as, or why it does not.
func (c *Client) Login(ctx context.Context, host string) (user string, err error) {
	s, err := c.session(ctx, host)
	if err != nil {
		return "", err
	}
	login, err := authn.Authorization(ctx, s.auth)
	switch {
	case err != nil:
		return "", s.failed(ctx, "log in to", host, err)
	case isNobody(login):
		return "", s.noLogin("log in to", host)
	case s.identified:
		return login.Username, nil
	}
	resp, err := s.expect(ctx, "log in to", host, request{method: http.MethodGet, url: s.url("")}, http.StatusOK)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	return login.Username, nil
}

// Allowed is what the token service lets us do in ref's repository: pull, push. It is not known where tokens do not say
// that to others than the registry, or where there are none.
func (c *Client) Allowed(ctx context.Context, ref imageref.Ref) (actions []string, known bool, err error) {
	s, err := c.session(ctx, ref.Host())
	if err != nil || !strings.EqualFold(s.challenge.Scheme, "bearer") {
		return nil, false, err
	}
	repository := pathOf(ref)
	value, err := s.token(ctx, []string{pushing(repository)})
	if err != nil {
		return nil, false, s.failed(ctx, "log in to", s.host, err)
	}
	actions, known = claimed(value, repository)
	return actions, known, nil
}

// claimed are the actions that a token is for (distribution's token specification: the claim access of a JWT). Nothing
// depends on its signature here.
func claimed(token, repository string) (actions []string, known bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, false
	}
	var claims struct {
		Access []struct {
			Type, Name string
			Actions    []string
		}
	}
	if json.Unmarshal(raw, &claims) != nil {
		return nil, false
	}
	for _, a := range claims.Access {
		if a.Type == "repository" && a.Name == repository {
			actions = append(actions, a.Actions...)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(actions))), true
}

// heard keeps the latest answer.
type heard struct {
	inner  http.RoundTripper
	answer *atomic.Pointer[http.Response]
}

func (h *heard) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := h.inner.RoundTrip(r)
	if err == nil {
		h.answer.Store(resp)
	}
	return shortened(resp), err
}
