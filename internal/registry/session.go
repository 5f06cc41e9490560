package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ksera524/imgbump/internal/fault"
)

// harborService is what Harbor's token challenge calls itself.
const harborService = "harbor-registry"

// session is the conversation with one registry: how it wants to be spoken to, as whom, and the tokens it gave.
type session struct {
	client   *Client
	host     string // as references spell it
	registry name.Registry
	plain    bool // it may be spoken to without TLS
	http     http.RoundTripper
	confined bool // the credential was given for this host, and no other host may see it

	mu         sync.Mutex
	auth       authn.Authenticator // nil until it was looked for
	challenge  *transport.Challenge
	greeting   atomic.Pointer[http.Response] // the latest answer to the greeting, whose body is gone
	identified bool                          // the login was tried, and
	denied     error                         // this came of it
	tokens     map[string]*slot
}

// greet finds the login for the registry, and asks it how it wants to be spoken to, once.
func (s *session) greet(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.challenge != nil {
		return nil
	}
	if s.auth == nil {
		login, err := s.login(ctx)
		if err != nil {
			return err
		}
		s.auth = login
	}
	limited, cancel := context.WithTimeout(ctx, greetingTimeout)
	defer cancel()
	return s.client.retry(limited, func() error {
		challenge, err := transport.Ping(limited, s.registry, &heard{s.http, &s.greeting})
		if err != nil {
			return s.failed(ctx, "reach", s.host, err)
		}
		if challenge.Insecure && !s.plain {
			return &fault.Error{What: "reach", Where: s.host, Err: errors.New("it speaks plain HTTP, without TLS"), Hint: hintPlainHTTP}
		}
		s.challenge = challenge
		return nil
	})
}

// identify finds out once whether Harbor knows the login that was given for it, by asking for a token without a scope: to
// a request with one Harbor answers as if all were well, whatever the login. Each wrong one costs Harbor 1.5 seconds. A
// login of Docker's configuration may be outdated and no obstacle: what is public can be read without.
func (s *session) identify(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identified || !s.harbor() || !s.confined {
		return s.denied
	}
	_, err := s.exchange(ctx, nil)
	if err != nil {
		err = s.failed(ctx, "log in to", s.host, err)
	}
	if err == nil || fault.KindOf(err) == fault.Denied {
		s.identified, s.denied = true, err
	}
	return err
}

// home is where the registry is: scheme and host.
func (s *session) home() *url.URL {
	if s.challenge.Insecure {
		return &url.URL{Scheme: "http", Host: s.registry.RegistryStr()}
	}
	return &url.URL{Scheme: "https", Host: s.registry.RegistryStr()}
}

func (s *session) harbor() bool { return s.challenge.Parameters["service"] == harborService }

func (s *session) url(format string, args ...any) string {
	return s.home().String() + "/v2/" + fmt.Sprintf(format, args...)
}

// authorization is the header for requests within scopes, "" for none.
func (s *session) authorization(ctx context.Context, scopes []string) (string, error) {
	switch strings.ToLower(s.challenge.Scheme) {
	case "bearer":
		t, err := s.token(ctx, scopes)
		return "Bearer " + t, err
	case "basic":
		return s.basic(ctx)
	}
	return "", nil
}

// isNobody reports whether a login is none.
func isNobody(login *authn.AuthConfig) bool {
	return login.Username == "" && login.IdentityToken == "" && login.RegistryToken == ""
}

// basic is the header that logs in with each request, "" for nobody.
func (s *session) basic(ctx context.Context) (string, error) {
	login, err := authn.Authorization(ctx, s.auth)
	if err != nil || login.Username == "" {
		return "", err
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(login.Username+":"+login.Password)), nil
}

// request is one request to a registry, within scopes.
type request struct {
	method, url string
	header      http.Header
	scopes      []string
	body        []byte    // what can be sent again, or
	stream      io.Reader // what cannot
	size        int64     // of stream, -1 when not known
}

// send does the request once.
func (s *session) send(ctx context.Context, r request) (*http.Response, error) {
	authorization, err := s.authorization(ctx, r.scopes)
	if err != nil {
		return nil, err
	}
	body := r.stream
	if body == nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		return nil, err
	}
	if r.stream != nil {
		req.ContentLength = r.size
	}
	for key, values := range r.header {
		req.Header[key] = slices.Clone(values)
	}
	client := http.Client{Transport: ownHost{inner: s.http, home: s.home(), authorization: authorization}}
	return client.Do(req)
}

// ownHost adds the authorization to requests for its host only. It is set here, below the HTTP client, because the
// client would carry a header of the request to other ports and subdomains when it is redirected.
type ownHost struct {
	inner         http.RoundTripper
	home          *url.URL
	authorization string
}

func (o ownHost) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case o.home.Scheme == "https" && r.URL.Scheme == "http" && strings.EqualFold(r.URL.Hostname(), o.home.Hostname()):
		return nil, errDowngrade
	case o.authorization != "" && sameServer(r.URL, o.home):
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", o.authorization)
	}
	return o.inner.RoundTrip(r)
}

func sameServer(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(address(a), address(b))
}

// address is u's host and port, which may be the scheme's own.
func address(u *url.URL) string {
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme]))
}

// expect does the request, and again while that may help, until the answer has one of the statuses. On another answer
// the error says what the registry refused: to do what on where.
func (s *session) expect(ctx context.Context, what, where string, r request, statuses ...int) (*http.Response, error) {
	var resp *http.Response
	err := s.client.retry(ctx, func() (err error) {
		resp, err = s.expectOnce(ctx, what, where, r, statuses...)
		return err
	})
	return resp, err
}

func (s *session) expectOnce(ctx context.Context, what, where string, r request, statuses ...int) (*http.Response, error) {
	resp, err := s.send(ctx, r)
	if err != nil {
		return nil, s.failed(ctx, what, where, err)
	}
	if slices.Contains(statuses, resp.StatusCode) {
		return resp, nil
	}
	resp = s.inWords(ctx, r, resp)
	defer resp.Body.Close()
	return nil, s.refused(ctx, what, where, r, resp)
}
