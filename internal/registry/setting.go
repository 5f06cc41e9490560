package registry

import (
	"context"
	"crypto/x509"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Setting is how one registry is reached, as far as that differs from others. The Credential of the options goes first.
type Setting struct {
	Host string // as references spell it
	// Address is the host and port that is spoken to in place of Host, "" for the same; Plain speaks HTTP without TLS.
	Address string
	Plain   bool
	// Login is asked once, when the registry is first needed; nil, or no user, leaves it to Docker's configuration.
	Login func(context.Context) (username, password string, err error)
	// Limit is how many requests a second it gets, 0 for as many as there are.
	Limit int
	// RootCAs are trusted in place of the options'; with Unchecked any certificate is.
	RootCAs   *x509.CertPool
	Unchecked bool
	// Namespace is that of repositories whose name has one component alone, "" for none.
	Namespace string
}

// setting is the one for host; a zero one without.
func (c *Client) setting(host string) Setting {
	for _, s := range c.options.Settings {
		if strings.EqualFold(s.Host, host) {
			return s
		}
	}
	return Setting{}
}

// Whole is ref with the namespace that its registry has for repositories without one.
func (c *Client) Whole(ref imageref.Ref) imageref.Ref {
	if s := c.setting(ref.Host()); s.Namespace != "" && !strings.Contains(ref.Repository, "/") {
		ref.Repository = s.Namespace + "/" + ref.Repository
	}
	return ref
}

// login is that of the options, of the setting, or of Docker's configuration, in this order.
func (s *session) login(ctx context.Context) (authn.Authenticator, error) {
	if own := s.client.options.Credential; s.confined {
		return &authn.Basic{Username: own.Username, Password: own.Password}, nil
	}
	login, err := s.client.setting(s.host).login(ctx, s.host)
	if err != nil || login != nil {
		return login, err
	}
	if login, err = dockerLogin(ctx, s.registry); err != nil {
		return nil, &fault.Error{Kind: fault.Denied, What: "read the Docker configuration for", Where: s.host, Err: err,
			Hint: "DOCKER_CONFIG names the folder of config.json; a credential helper that it names must be on PATH, and know the registry"}
	}
	return login, nil
}

// login is what the setting has for host, nil for nothing.
func (s Setting) login(ctx context.Context, host string) (authn.Authenticator, error) {
	if s.Login == nil {
		return nil, nil
	}
	username, password, err := s.Login(ctx)
	switch {
	case err != nil:
		return nil, &fault.Error{Kind: fault.Denied, What: "find the login for", Where: host, Hint: fault.HintOf(err), Err: err}
	case username == "":
		return nil, nil
	}
	return &authn.Basic{Username: username, Password: password}, nil
}

// through is what the setting's requests go through. The caller holds the lock.
func (c *Client) through(s Setting) http.RoundTripper {
	inner := c.http
	if s.RootCAs != nil || s.Unchecked {
		t := c.transport()
		if s.RootCAs != nil {
			t.TLSClientConfig.RootCAs = s.RootCAs
		}
		t.TLSClientConfig.InsecureSkipVerify = s.Unchecked
		inner = c.watched(t)
	}
	if s.Limit > 0 {
		inner = &paced{inner: inner, pace: time.Second / time.Duration(s.Limit), wait: c.wait, now: c.now}
	}
	return inner
}

// paced lets no more than one request begin in each interval.
type paced struct {
	inner http.RoundTripper
	pace  time.Duration
	wait  func(context.Context, time.Duration) error
	now   func() time.Time

	mu   sync.Mutex
	next time.Time
}

func (p *paced) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	now := p.now()
	begin := p.next
	if begin.Before(now) {
		begin = now
	}
	p.next = begin.Add(p.pace)
	p.mu.Unlock()
	if pause := begin.Sub(now); pause > 0 {
		if err := p.wait(r.Context(), pause); err != nil {
			return nil, err
		}
	}
	return p.inner.RoundTrip(r)
}
