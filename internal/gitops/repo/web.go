package repo

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"golang.org/x/net/http/httpproxy"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/trust"
)

// dialWeb prepares a server that speaks HTTP.
func (r *Repo) dialWeb(name string, remote *url.URL) (*server, error) {
	s := &server{unverified: r.unverified(remote), helpers: r.credentialHelpers(remote)}
	s.findLogin = func(ctx context.Context) (login, error) { return r.login(ctx, remote) }
	bare := *remote
	bare.User = nil
	s.url = bare.String()
	var err error
	if s.endpoint, err = transport.NewEndpoint(s.url); err != nil {
		return nil, &fault.Error{Kind: fault.Usage, What: "push to", Where: s.url, Err: err}
	}
	web, err := r.transport(name, remote)
	if err != nil {
		return nil, err
	}
	s.client = githttp.NewClient(&http.Client{Transport: gitOnly{bounded{r.observe(web, gitOperation), maxAnswer}}})
	return s, nil
}

// Transport is the way to a web server that is no remote, GitHub's API for example, as git is configured: whom to trust,
// the certificate to show, the proxy. An error is of kind fault.Usage.
func (r *Repo) Transport(address *url.URL) (http.RoundTripper, error) {
	web, err := r.transport("", address)
	if err != nil {
		return nil, err
	}
	return r.observe(web, apiOperation), nil
}

func (r *Repo) transport(name string, remote *url.URL) (*http.Transport, error) {
	web := http.DefaultTransport.(*http.Transport).Clone()
	web.DialContext = (&net.Dialer{Timeout: connectTimeout}).DialContext
	var err error
	if web.TLSClientConfig, err = r.tls(remote); err != nil {
		return nil, err
	}
	if web.Proxy, err = r.proxy(name, remote); err != nil {
		return nil, err
	}
	web.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
		if answer.StatusCode == http.StatusOK {
			return nil
		}
		return &proxyError{proxy.Host, answer.StatusCode}
	}
	return web, nil
}

// tls is whom to trust, and the certificate to show the server, both also as git is configured.
func (r *Repo) tls(remote *url.URL) (*tls.Config, error) {
	roots, err := trust.Roots(cmp.Or(r.options.CAFile, r.options.Getenv("GIT_SSL_CAINFO"), r.config.urlValue("http", "sslcainfo", remote)))
	if err != nil {
		return nil, err
	}
	c := &tls.Config{RootCAs: roots}
	cert := r.path(cmp.Or(r.options.Getenv("GIT_SSL_CERT"), r.config.urlValue("http", "sslcert", remote)))
	if cert == "" {
		return c, nil
	}
	key := cmp.Or(r.path(cmp.Or(r.options.Getenv("GIT_SSL_KEY"), r.config.urlValue("http", "sslkey", remote))), cert)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fault.Usagef("git's http.sslCert and http.sslKey name PEM files, the key without a passphrase", "the client certificate %s: %w", cert, fault.Cause(err))
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// unverified reports whether git is configured to take any certificate.
func (r *Repo) unverified(remote *url.URL) bool {
	return r.options.Getenv("GIT_SSL_NO_VERIFY") != "" || !isTrue(cmp.Or(r.config.urlValue("http", "sslverify", remote), "true"))
}

// proxy is the way to the server: remote.NAME.proxy, http.proxy, then the environment's variables, in their lower case
// first as curl has it. What NO_PROXY names, and this machine itself, is reached directly.
func (r *Repo) proxy(name string, remote *url.URL) (func(*http.Request) (*url.URL, error), error) {
	env := func(name string) string {
		return cmp.Or(r.options.Getenv(strings.ToLower(name)), r.options.Getenv(name))
	}
	proxy, source := env("ALL_PROXY"), "ALL_PROXY"
	if specific := strings.ToUpper(remote.Scheme) + "_PROXY"; env(specific) != "" {
		proxy, source = env(specific), specific
	}
	if values := r.config.urlValues("http", "proxy", remote); values != nil {
		proxy, source = values[len(values)-1], "http.proxy"
	}
	if values := r.config.values("remote", name, "proxy"); values != nil {
		proxy, source = values[len(values)-1], "remote."+name+".proxy"
	}
	if proxy == "" {
		return nil, nil
	}
	if !strings.Contains(proxy, "://") {
		proxy = "http://" + proxy
	}
	address, err := url.Parse(proxy)
	if err != nil || address.Hostname() == "" {
		return nil, fault.Usagef("for example: http://proxy.example.com:3128", "the proxy that %s names cannot be understood", source)
	}
	switch address.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return nil, fault.Usagef("http, https and socks5 proxies are", "the proxy %s (%s) is of a kind that is not supported", redacted(proxy), source)
	}
	if password, ok := address.User.Password(); ok {
		r.mask(password)
	}
	through := (&httpproxy.Config{HTTPProxy: proxy, HTTPSProxy: proxy, NoProxy: env("NO_PROXY")}).ProxyFunc()
	return func(request *http.Request) (*url.URL, error) { return through(request.URL) }, nil
}

// proxyError is a proxy's refusal to connect.
type proxyError struct {
	host   string
	status int
}

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy %s refuses to connect: %d %s", e.host, e.status, http.StatusText(e.status))
}

// gitOnly is a transport that knows a list of refs which go-git cannot read.
type gitOnly struct{ http.RoundTripper }

func (g gitOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := g.RoundTripper.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusOK || r.Method != http.MethodGet {
		return answer, err
	}
	body := bufio.NewReaderSize(answer.Body, maxSaid)
	begins, _ := body.Peek(maxSaid)
	switch {
	case !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/x-git-"):
		err = errNoGit
	case namesSHA256(begins):
		err = sha256
	}
	if err != nil {
		answer.Body.Close()
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{body, answer.Body}
	return answer, nil
}

// bounded is a transport whose answers fail where they reach a limit in bytes.
type bounded struct {
	http.RoundTripper
	limit int64
}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = &boundedBody{answer.Body, b.limit}
	}
	return answer, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
