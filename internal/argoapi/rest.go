package argoapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/rollout"
)

// REST is Argo CD's own API.
type REST struct {
	base  *url.URL
	token string
	agent string
	http  *http.Client
}

// Options of the way to Argo CD's own API.
type Options struct {
	Address string // HOST, https://HOST/PATH, or http:// for a server without TLS
	Token   string // of an account: it goes to the address and nowhere else
	Roots   *x509.CertPool
	Agent   string // as the server is told
}

// OpenREST is the API at an address. It sends nothing yet. An address or a token that cannot be is an error of kind Usage.
func OpenREST(o Options) (*REST, error) {
	address := o.Address
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fault.Usagef("for example: --argocd-server argocd.example.com; http:// for a server without TLS", "the address of Argo CD is none: HOST, https://HOST or http://HOST")
	}
	token := strings.TrimSpace(o.Token)
	switch {
	case token == "":
		return nil, fault.Usagef("an account with the capability apiKey has one: argocd account generate-token --account NAME", "ARGOCD_AUTH_TOKEN is not set, and %s wants a token", base.Host)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, fault.Usagef("it is one line, as argocd account generate-token prints it", "ARGOCD_AUTH_TOKEN holds no token")
	}
	return &REST{base: base, token: token, agent: o.Agent, http: direct(o.Roots)}, nil
}

// idleConnections are kept for the next questions about many applications.
const idleConnections = 32

// direct is a client that follows no redirect: what it sends is for one server.
func direct(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: time.Minute,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			// Without pings a connection that was cut off is asked again and again (golang/go#36026).
			HTTP2: &http.HTTP2Config{SendPingTimeout: patience / 2, PingTimeout: patience / 3},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Application is what Argo CD says of an application, NAME or NAMESPACE/NAME; with refresh after it was compared anew with
// its repository, or before when that takes long. An error is rollout.ErrMissing when there is none that we may see, and of
// kind Denied when the token is not accepted.
func (r *REST) Application(ctx context.Context, application string, refresh bool) (*rollout.Application, error) {
	query := url.Values{}
	if refresh {
		query.Set("refresh", "normal")
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := r.body(limited, application, "", query)
	if err != nil && refresh && limited.Err() != nil && ctx.Err() == nil { // the comparison goes on without us
		return r.Application(ctx, application, false)
	}
	if err != nil {
		return nil, err
	}
	a, err := decoded(body)
	if err != nil {
		return nil, r.strange(application, err)
	}
	a.Refreshed = refresh
	return a, nil
}

// Watch tells of each change of an application until the stream ends, with rollout.ErrMissing when the application is deleted.
func (r *REST) Watch(ctx context.Context, application string, seen func(*rollout.Application)) error {
	namespace, name, err := ParseName(application)
	if err != nil {
		return err
	}
	query := url.Values{"name": {name}}
	if namespace != "" {
		query.Set("appNamespace", namespace)
	}
	resp, err := r.ask(ctx, r.base.JoinPath("api/v1/stream/applications"), query, application)
	if errors.Is(err, rollout.ErrMissing) { // of the stream: Argo CD is silent about an application that is not there
		return r.strange(application, errors.New("it streams no changes"))
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := follow(resp.Body, namespace, name, seen); err != nil && !errors.Is(err, rollout.ErrMissing) {
		return r.strange(application, err)
	} else if err != nil {
		return err
	}
	return nil
}

// Forbids names the sync window that forbids to sync an application, "" when there is none or it cannot be found out.
func (r *REST) Forbids(ctx context.Context, application string) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := r.body(ctx, application, "syncwindows", url.Values{})
	var windows struct {
		CanSync *bool `json:"canSync"`
		Active  []struct {
			Kind     string `json:"kind"`
			Schedule string `json:"schedule"`
			Duration string `json:"duration"`
		} `json:"activeWindows"`
	}
	if err != nil || json.Unmarshal(body, &windows) != nil || windows.CanSync == nil || *windows.CanSync {
		return ""
	}
	for _, w := range windows.Active {
		if w.Kind == "deny" {
			return said(fmt.Sprintf("a sync window denies it (%s for %s)", w.Schedule, w.Duration))
		}
	}
	return "it is outside of the sync windows that allow it"
}

// Rollout is a Rollout as it is in the cluster, in JSON, nil when we may not see it.
func (r *REST) Rollout(ctx context.Context, application string, _ *rollout.Application, of rollout.Resource) ([]byte, error) {
	return permitted(r.live(ctx, application, node{Group: of.Group, Version: of.Version, Kind: of.Kind, Namespace: of.Namespace, Name: of.Name}))
}

// permitted is what was read, nothing when we have no right to it.
func permitted(object []byte, err error) ([]byte, error) {
	if fault.KindOf(err) == fault.Denied {
		return nil, nil
	}
	return object, err
}

// body is the answer to a question about an application, or about something below it.
func (r *REST) body(ctx context.Context, application, below string, query url.Values) ([]byte, error) {
	namespace, name, err := ParseName(application)
	if err != nil {
		return nil, err
	}
	if namespace != "" {
		query.Set("appNamespace", namespace)
	}
	resp, err := r.ask(ctx, r.base.JoinPath("api/v1/applications", name, below), query, application)
	if err != nil {
		return nil, err
	}
	body, err := read(resp)
	if err != nil {
		return nil, r.unreachable(ctx, application, err)
	}
	return body, nil
}

// ask sends a request; an answer other than 200 is an error.
func (r *REST) ask(ctx context.Context, target *url.URL, query url.Values, application string) (*http.Response, error) {
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+r.token)
	request.Header.Set("User-Agent", r.agent)
	resp, err := r.http.Do(request)
	if err != nil {
		return nil, r.unreachable(ctx, application, err)
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := read(resp)
		return nil, r.refused(application, resp, body)
	}
	return resp, nil
}

// asking is what errors say was done.
const asking = "ask Argo CD about application"

func (r *REST) unreachable(ctx context.Context, application string, err error) error {
	return &rollout.Later{Err: reaching(ctx, &fault.Error{What: asking, Where: application}, r.base, err)}
}

// reaching completes the error of a request that got no answer.
func reaching(ctx context.Context, f *fault.Error, server *url.URL, err error) error {
	if ctx.Err() == context.Canceled {
		return ctx.Err()
	}
	f.Err = fmt.Errorf("reach %s: %w", server.Host, cause(ctx, err))
	f.Hint = "is " + server.Scheme + "://" + server.Host + " the address of Argo CD's server, and can it be reached from here?"
	var (
		authority x509.UnknownAuthorityError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority):
		f.Err, f.Hint = fmt.Errorf("reach %s: its certificate is signed by an authority that is not trusted here", server.Host), "name the authority's file with --argocd-ca-file"
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		f.Hint = "a server without TLS has an address with http://"
	}
	return f
}

// refused says what an answer other than 200 means. Argo CD answers 403 to who asks for an application that does not exist,
// so that nobody can find out which do.
func (r *REST) refused(application string, resp *http.Response, body []byte) error {
	var answer struct {
		Message string `json:"message"`
		Error   any    `json:"error"`
	}
	ours := json.Unmarshal(body, &answer) == nil && (answer.Message != "" || answer.Error != nil)
	f := &fault.Error{What: asking, Where: application}
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		f.Err, f.Hint = fmt.Errorf("%s redirects to another address", r.base.Host), "name the address that it is to be asked at; the token is not sent on"
		if to, err := resp.Location(); err == nil {
			f.Err = fmt.Errorf("%s redirects to %s://%s", r.base.Host, to.Scheme, to.Host)
		}
	case code == http.StatusUnauthorized:
		f.Kind, f.Err = fault.Denied, fmt.Errorf("%s does not accept the token", r.base.Host)
		f.Hint = "ARGOCD_AUTH_TOKEN may have expired, or be another server's: argocd account generate-token makes a new one"
		if answer.Message != "" {
			f.Err = fmt.Errorf("%w: %s", f.Err, said(answer.Message))
		}
	case ours && (code == http.StatusForbidden || code == http.StatusNotFound):
		f.Kind, f.Err = fault.Denied, rollout.ErrMissing
		f.Hint = "is the name right (argocd app list)? The token's account needs: p, ACCOUNT, applications, get, PROJECT/" + application + ", allow"
	case !ours:
		f.Err, f.Hint = fmt.Errorf("%s answers %d %s, and not as Argo CD does", r.base.Host, code, http.StatusText(code)), "is it the address of Argo CD's server? A proxy or a login page may stand in its place"
	case strings.Contains(answer.Message, "or the project does not exist"):
		f.Err, f.Hint = errors.New(said(answer.Message)), "create the AppProject that the application names, or name another"
	default:
		f.Err = fmt.Errorf("%s answers %d: %s", r.base.Host, code, said(answer.Message))
	}
	f.Err = busy(resp, f.Err)
	return f
}

// strange is the error of an answer that cannot be understood.
func (r *REST) strange(application string, err error) error {
	return &fault.Error{What: asking, Where: application, Err: fmt.Errorf("%s: %w", r.base.Host, err), Hint: "is " + r.base.Host + " the address of Argo CD's server?"}
}
