package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ksera524/imgbump/internal/fault"
)

// token is a bearer token for one set of scopes, and when to ask for the next.
type token struct {
	value string
	until time.Time
}

// defaultLife is how long a token is good when its issuer does not say (distribution's token specification).
const defaultLife = 60 * time.Second

// slot is where the token for one set of scopes is kept. Whoever needs one that is not there holds it while he asks.
type slot struct {
	mu sync.Mutex
	token
}

func (l *slot) set(t token) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token = t
}

// slot is the one for scopes.
func (s *session) slot(scopes ...string) *slot {
	key := strings.Join(scopes, " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens[key] == nil {
		s.tokens[key] = &slot{}
	}
	return s.tokens[key]
}

func (s *session) token(ctx context.Context, scopes []string) (string, error) {
	l := s.slot(scopes...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.value != "" && s.client.now().Before(l.until) {
		return l.value, nil
	}
	asked := s.client.now()
	answer, err := s.exchange(ctx, scopes)
	if err != nil {
		return "", err
	}
	l.token = tokenOf(answer, asked)
	return l.value, nil
}

// forget drops the token for scopes, which the registry refused.
func (s *session) forget(scopes []string) { s.slot(scopes...).set(token{}) }

// exchange asks the token service that the registry named.
func (s *session) exchange(ctx context.Context, scopes []string) (*transport.Token, error) {
	if login, err := authn.Authorization(ctx, s.auth); err == nil && login.RegistryToken != "" {
		return &transport.Token{Token: login.RegistryToken}, nil
	}
	service, err := s.tokenService()
	if err != nil {
		return nil, err
	}
	var answer *transport.Token
	err = s.client.retry(ctx, func() (err error) {
		answer, err = transport.Exchange(ctx, s.registry, s.auth, onlyHost{s.http, service}, scopes, s.challenge)
		return temporary(err)
	})
	if err == nil || ctx.Err() != nil || unanswered(err) {
		return answer, err
	}
	return nil, &fault.Error{What: "log in to", Where: s.host, Err: fmt.Errorf("its token service %s gives no token", service), Hint: s.hintPage()}
}

// tokenService is the host of the token service, which may see the login.
func (s *session) tokenService() (host string, err error) {
	realm, err := url.Parse(s.challenge.Parameters["realm"])
	f := &fault.Error{Kind: fault.Denied, What: "log in to", Where: s.host}
	registry := (&url.URL{Host: s.registry.RegistryStr()}).Hostname()
	switch {
	case err != nil || realm.Host == "":
		f.Kind, f.Err, f.Hint = fault.Failed, errors.New("it wants a login, and does not say where"), s.hintPage()
		return "", f
	case realm.Scheme != "https" && !s.challenge.Insecure:
		return "", errDowngrade
	case s.confined && !strings.EqualFold(realm.Hostname(), registry):
		f.Err = fmt.Errorf("its token service is %s, another host, which the password is not for", realm.Host)
		f.Hint = "set Harbor's external_url to the name that clients use; for other registries, log in with Docker's configuration"
		return "", f
	}
	return realm.Host, nil
}

// unanswered reports whether err is that of a request, or of an answer's status, and not of what a good answer holds.
func unanswered(err error) bool {
	var (
		request *url.Error
		status  *transport.Error
		network net.Error
		silent  silence
	)
	return errors.As(err, &request) || errors.As(err, &status) || errors.As(err, &network) || errors.As(err, &silent) || errors.Is(err, io.ErrUnexpectedEOF)
}

// onlyHost lets nothing through to another host: a token request carries the password.
type onlyHost struct {
	inner http.RoundTripper
	host  string
}

func (o onlyHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != o.host {
		return nil, fmt.Errorf("the token service at %s %w %s", o.host, errElsewhere, r.URL.Host)
	}
	resp, err := o.inner.RoundTrip(r)
	return shortened(resp), err
}
