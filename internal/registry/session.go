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
	"time"

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
	auth     authn.Authenticator
	confined bool // the credential was given for this host, and no other host may see it

	mu        sync.Mutex
	challenge *transport.Challenge
	tokens    map[string]token
}

// token is a bearer token for one set of scopes, and when to ask for the next.
type token struct {
	value string
	until time.Time
}

// defaultLife is how long a token is good when its issuer does not say (distribution's token specification).
const defaultLife = 60 * time.Second

// greet asks the registry once how it wants to be spoken to.
func (s *session) greet(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.challenge != nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, greetingTimeout)
	defer cancel()
	return s.client.retry(limited, func() error {
		challenge, err := transport.Ping(limited, s.registry, s.client.http)
		if err != nil {
			return s.failed(ctx, "reach", s.host, err)
		}
		if challenge.Insecure && !s.client.plain(s.host) {
			return &fault.Error{What: "reach", Where: s.host, Err: errors.New("it speaks plain HTTP, without TLS"), Hint: hintPlainHTTP}
		}
		s.challenge = challenge
		return nil
	})
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
		login, err := authn.Authorization(ctx, s.auth)
		if err != nil || login.Username == "" {
			return "", err
		}
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(login.Username+":"+login.Password)), nil
	}
	return "", nil
}

func (s *session) token(ctx context.Context, scopes []string) (string, error) {
	key := strings.Join(scopes, " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[key]; t.value != "" && s.client.now().Before(t.until) {
		return t.value, nil
	}
	asked := s.client.now()
	answer, err := s.exchange(ctx, scopes)
	if err != nil {
		return "", err
	}
	life := time.Duration(answer.ExpiresIn) * time.Second
	if life <= 0 {
		life = defaultLife
	}
	t := token{value: answer.Token, until: asked.Add(life * 3 / 4)}
	if answer.AccessToken != "" {
		t.value = answer.AccessToken
	}
	s.tokens[key] = t
	return t.value, nil
}

// forget drops the token for scopes, which the registry refused.
func (s *session) forget(scopes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, strings.Join(scopes, " "))
}

// exchange asks the token service that the registry named. Without scopes it answers whether the login is right:
// with some, Harbor gives a wrong login a token too, one that allows nothing.
func (s *session) exchange(ctx context.Context, scopes []string) (*transport.Token, error) {
	if login, err := authn.Authorization(ctx, s.auth); err == nil && login.RegistryToken != "" {
		return &transport.Token{Token: login.RegistryToken}, nil
	}
	realm, err := url.Parse(s.challenge.Parameters["realm"])
	if err != nil {
		return nil, fmt.Errorf("token service: %w", err)
	}
	if registry := (&url.URL{Host: s.registry.RegistryStr()}).Hostname(); s.confined && !strings.EqualFold(realm.Hostname(), registry) {
		return nil, &fault.Error{Kind: fault.Denied, What: "log in to", Where: s.host,
			Err:  fmt.Errorf("its token service is %s, another host, which the password is not for", realm.Host),
			Hint: "set Harbor's external_url to the name that clients use; for other registries, log in with Docker's configuration"}
	}
	only := onlyHost{inner: s.client.http, host: realm.Host}
	var answer *transport.Token
	err = s.client.retry(ctx, func() (err error) {
		answer, err = transport.Exchange(ctx, s.registry, s.auth, only, scopes, s.challenge)
		return temporary(err)
	})
	return answer, err
}

// onlyHost lets nothing through to another host: a token request carries the password.
type onlyHost struct {
	inner http.RoundTripper
	host  string
}

func (o onlyHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != o.host {
		return nil, fmt.Errorf("the token service at %s sends its clients on to %s", o.host, r.URL.Host)
	}
	return o.inner.RoundTrip(r)
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
	client := http.Client{Transport: ownHost{inner: s.client.http, home: s.home(), authorization: authorization}}
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
	defer resp.Body.Close()
	return nil, s.refused(ctx, what, where, r, resp)
}
