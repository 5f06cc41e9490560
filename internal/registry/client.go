// Package registry speaks to OCI registries: it pushes images in one pass and fetches base images lazily.
//
// It has a push of its own because the ready-made one compresses every layer twice and cannot tell what Harbor's
// answers mean. Every credential belongs to one host here, and no redirect takes it elsewhere.
package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
)

// How long a registry may take to be reached. Together they keep "the server is down" under half a minute.
const (
	dialTimeout      = 8 * time.Second
	handshakeTimeout = 8 * time.Second
	greetingTimeout  = 25 * time.Second
)

// idleConnections are kept to a host: as many as questions are asked at once.
const idleConnections = 16

// Credential is a login that only Host may see. Host is spelled as in references: "harbor.example.com:8443".
type Credential struct {
	Host               string
	Username, Password string
}

// Options say how registries are reached. The zero value reaches those with valid certificates, with Docker's logins.
type Options struct {
	Credential Credential
	// PlainHTTP are hosts that may be spoken to without TLS; loopback addresses always may.
	PlainHTTP []string
	// RootCAs are trusted instead of the system's; nil is the system's.
	RootCAs *x509.CertPool
	// Resolve maps "host:port" or "host", in lower case, to the address to dial instead.
	Resolve map[string]string
	// UserAgent is sent with every request.
	UserAgent string
	// KeepImmutable is told of each name that a push leaves as it is, because it is immutable and names another image; nil
	// makes that an error.
	KeepImmutable func(imageref.Ref)
	// Kept is told of each tag of cosign's that a copy leaves as the destination has it: with signatures of its own.
	Kept func(imageref.Ref)
	// Progress is told of each layer of a push how far it is. Several goroutines may call it at once.
	Progress func(image.Progress)
	// Ledger remembers which repositories were given which blobs, so that others can mount them; nil remembers nothing.
	Ledger *image.Ledger
	// Lists remembers lists of tags from one client to the next; nil remembers nothing.
	Lists *Lists
	// Observe is told of each request, when its answer began: what it was for (tags, manifest, blob, token, api, other), and
	// the status of HTTP, 0 without an answer. Several goroutines may call it at once; nil is nobody.
	Observe func(host, operation string, status int, took time.Duration)
	// Settings are for registries that differ from others.
	Settings []Setting
}

// Client keeps one session for each registry that it meets. It is safe for use by several goroutines.
type Client struct {
	options Options
	http    http.RoundTripper
	wait    func(context.Context, time.Duration) error
	now     func() time.Time

	mu         sync.Mutex
	sessions   map[string]*session
	transports []*http.Transport
}

// New is a client; it sends nothing before it is asked to.
func New(options Options) *Client {
	if options.Progress == nil {
		options.Progress = func(image.Progress) {}
	}
	if options.Kept == nil {
		options.Kept = func(imageref.Ref) {}
	}
	c := &Client{options: options, wait: Wait, now: time.Now, sessions: map[string]*session{}}
	c.http = c.watched(c.transport())
	return c
}

// Close closes the connections that no request is using. Otherwise they stay open for a minute.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

// watched is a transport with what each request is due. The caller has c.mu, or the client alone.
func (c *Client) watched(t *http.Transport) http.RoundTripper {
	c.transports = append(c.transports, t)
	var inner http.RoundTripper = named{t, c.options.UserAgent}
	if c.options.Observe != nil {
		inner = observed{inner, c.options.Observe}
	}
	return &bounded{inner, answerTimeout, closingTimeout, idleTimeout}
}

// transport keeps to HTTP/1.1: the flow control of Go's HTTP/2 slows uploads down (golang/go#47840).
func (c *Client) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &http.Transport{
		Proxy: c.proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, c.resolve(address))
		},
		OnProxyConnectResponse: throughProxy,
		TLSClientConfig:        &tls.Config{RootCAs: c.options.RootCAs, MinVersion: tls.VersionTLS12, Time: func() time.Time { return c.now() }},
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConnsPerHost:    idleConnections,
		IdleConnTimeout:        time.Minute,
		WriteBufferSize:        64 << 10,
	}
}

func (c *Client) resolve(address string) string {
	host, port, err := net.SplitHostPort(strings.ToLower(address))
	if err != nil {
		return address
	}
	if to := cmp.Or(c.options.Resolve[net.JoinHostPort(host, port)], c.options.Resolve[host]); to != "" {
		return net.JoinHostPort(to, port)
	}
	return address
}

// proxy is the environment's, but not for hosts whose address is given: a proxy would look them up itself.
func (c *Client) proxy(r *http.Request) (*url.URL, error) {
	if to := address(r.URL); c.resolve(to) != to {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// plain reports whether host may be spoken to without TLS.
func (c *Client) plain(host string) bool {
	for _, p := range c.options.PlainHTTP {
		if strings.EqualFold(p, host) {
			return true
		}
	}
	hostname := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		hostname = h
	}
	ip := net.ParseIP(strings.Trim(hostname, "[]"))
	return hostname == "localhost" || (ip != nil && ip.IsLoopback())
}

// session is the one for host, greeted, and with a login that is right as far as that can be known.
func (c *Client) session(ctx context.Context, host string) (*session, error) {
	s, err := c.greeted(ctx, host)
	if err != nil {
		return nil, err
	}
	return s, s.identify(ctx)
}

// greeted is the session for host, which has answered.
func (c *Client) greeted(ctx context.Context, host string) (*session, error) {
	c.mu.Lock()
	s, ok := c.sessions[host]
	if !ok {
		var err error
		if s, err = c.newSession(host); err != nil {
			c.mu.Unlock()
			return nil, err
		}
		c.sessions[host] = s
	}
	c.mu.Unlock()
	return s, s.greet(ctx)
}

func (c *Client) newSession(host string) (*session, error) {
	set := c.setting(host)
	at := cmp.Or(set.Address, host)
	plain := set.Plain || c.plain(at)
	var opts []name.Option
	if plain {
		opts = append(opts, name.Insecure)
	}
	registry, err := name.NewRegistry(at, opts...)
	if err != nil {
		return nil, fault.Usagef("", "registry %q: %w", host, err)
	}
	own := c.options.Credential
	return &session{client: c, host: host, registry: registry, plain: plain, http: c.through(set), tokens: map[string]*slot{},
		confined: own.Username != "" && strings.EqualFold(own.Host, host)}, nil
}

// named sends the user agent.
type named struct {
	inner http.RoundTripper
	agent string
}

func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	if n.agent != "" {
		r = r.Clone(r.Context())
		r.Header.Set("User-Agent", n.agent)
	}
	return n.inner.RoundTrip(r)
}
