package registry

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ksera524/imgbump/internal/fault"
)

const (
	hintPlainHTTP = "pass --plain-http if that is meant: the password then travels unencrypted"
	hintLogin     = "check HARBOR_USERNAME and HARBOR_PASSWORD; a robot account may have expired or be disabled"
	hintRunning   = "is the registry running, and does a firewall or proxy stand in between?"
	hintProxy     = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
	hintNoLogin   = "set HARBOR_USERNAME and HARBOR_PASSWORD, pass --username and --password-stdin, or log in with Docker's configuration"
)

// errNotFound is the cause when a reference names nothing.
var errNotFound = errors.New("no such image")

// failed tells why there was no answer, or why the login behind it failed. An error of the caller's own passes through.
func (s *session) failed(ctx context.Context, what, where string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	f := &fault.Error{What: what, Where: where}
	if f.Hint, f.Err = distrusted(err); f.Err != nil {
		return f
	}
	var status *transport.Error
	if errors.As(err, &status) {
		if status.StatusCode == http.StatusUnauthorized {
			return s.wrongLogin(ctx, what, where)
		}
		f.Hint, f.Err = s.answer(status)
		return temporaryAs(f, err)
	}
	f.Hint, f.Err = s.unreachable(err)
	return temporaryAs(f, err)
}

// temporaryAs marks f like the error that it describes.
func temporaryAs(f error, err error) error {
	var retry *again
	if errors.As(temporary(err), &retry) {
		return &again{error: f, pause: retry.pause}
	}
	return f
}

// distrusted says what is wrong with the registry's certificate, if that is what failed.
func distrusted(err error) (hint string, cause error) {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return "pass the authority's certificate: --ca-file FILE", errors.New("its certificate is signed by an authority that is not trusted here")
	case errors.As(err, &hostname), errors.As(err, &invalid):
		return "the certificate must name the host that clients use, and be valid now", rootCause(err)
	}
	return "", nil
}

// unreachable says what stood between us and the registry.
func (s *session) unreachable(err error) (hint string, cause error) {
	var (
		dns     *net.DNSError
		dial    *net.OpError
		timeout net.Error
		silent  silence
	)
	switch {
	case errors.As(err, &silent):
		return hintRunning, silent
	case errors.As(err, &dial) && dial.Op == "proxyconnect": // net/http's word for a proxy that cannot be reached
		return hintProxy, fmt.Errorf("reach the proxy: %w", dial.Err)
	case errors.Is(err, errProxy):
		return hintProxy, rootCause(err)
	case errors.Is(err, errDowngrade):
		return "Harbor's external_url must begin with https://, and a proxy that ends TLS must send X-Forwarded-Proto", errDowngrade
	case errors.Is(err, http.ErrSchemeMismatch):
		return hintPlainHTTP, errors.New("it speaks plain HTTP, without TLS")
	case errors.As(err, &dns):
		return "check the spelling (HARBOR_URL, -t), or name its address: --resolve " + s.host + ":ADDRESS", fmt.Errorf("look up %s: %s", dns.Name, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is the registry running, and is this its port? (HARBOR_URL, -t)", errors.New("connection refused")
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return hintRunning, errors.New("no answer in time")
	case errors.As(err, &dial):
		return "", dial
	}
	return "", rootCause(err)
}

var (
	errProxy     = errors.New("the proxy refuses")
	errDowngrade = errors.New("it sends its clients on to http://, without TLS")
)

// throughProxy reports a proxy that does not open the way to a registry.
func throughProxy(_ context.Context, _ *url.URL, connect *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%w to reach %s: %d %s", errProxy, connect.Host, answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	return nil
}

// rootCause drops the URL that net/http puts around an error: upload URLs are long, and tell nothing.
func rootCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// refused says what an answer means that was not the one expected, by its status, headers and error codes. The cases
// are those that Harbor 2.16 gives; testdata/harbor of internal/registrytest has its answers.
func (s *session) refused(ctx context.Context, what, where string, r request, resp *http.Response) error {
	var status *transport.Error
	if err := transport.CheckError(resp); !errors.As(err, &status) {
		return s.failed(ctx, what, where, err)
	}
	f := &fault.Error{What: what, Where: where}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return s.unauthorized(ctx, what, where, r, resp)
	case resp.StatusCode == http.StatusForbidden:
		return s.forbidden(ctx, what, where, r, status)
	case resp.StatusCode == http.StatusNotFound && (r.method == http.MethodGet || r.method == http.MethodHead):
		f.Err, f.Hint = errNotFound, "check repository and tag; what is there is listed in the registry's web page"
	case resp.StatusCode == http.StatusPreconditionFailed && has(status, "PRECONDITION"):
		f.Err = errors.New("the tag is immutable and names another image")
		f.Hint = "push under a new tag, or change the project's tag immutability rule in Harbor"
	case resp.StatusCode == http.StatusPreconditionFailed && has(status, "PROJECTPOLICYVIOLATION"):
		_, f.Err = s.answer(status)
		f.Hint = "a policy of the Harbor project (signature, vulnerabilities) forbids it"
	default:
		f.Hint, f.Err = s.answer(status)
	}
	if temporaryStatus(resp.StatusCode) {
		return &again{error: f, pause: s.client.retryAfter(resp.Header)}
	}
	return f
}

// unauthorized tells a missing project, a wrong login and a missing right apart; Harbor answers 401 to all three.
func (s *session) unauthorized(ctx context.Context, what, where string, r request, resp *http.Response) error {
	headers, present := resp.Header["Www-Authenticate"]
	challenges := strings.Join(headers, "")
	if present && challenges == "" {
		project := projectOf(resp.Request.URL.Path)
		return &fault.Error{What: what, Where: where, Err: fmt.Errorf("project %s does not exist on %s", project, s.host),
			Hint: "create the project in Harbor, or correct the reference: HOST/PROJECT/NAME:TAG"}
	}
	login, err := authn.Authorization(ctx, s.auth)
	switch {
	case err != nil:
		return s.failed(ctx, what, where, err)
	case login.Username == "" && login.IdentityToken == "" && login.RegistryToken == "":
		return s.noLogin(what, where)
	case strings.EqualFold(s.challenge.Scheme, "basic"):
		return s.wrongLogin(ctx, what, where)
	case strings.Contains(challenges, `error="invalid_token"`): // RFC 6750: expired, revoked or malformed
		s.forget(r.scopes)
		return &again{error: &fault.Error{Kind: fault.Denied, What: what, Where: where, Err: fmt.Errorf("%s does not accept the token of its token service", s.host),
			Hint: "their clocks must agree, and the registry must know the key that the service signs with"}}
	}
	if _, err := s.exchange(ctx, nil); err != nil {
		return s.failed(ctx, what, where, err)
	}
	if !sameServer(resp.Request.URL, s.home()) {
		return &fault.Error{Kind: fault.Denied, What: what, Where: where,
			Err:  fmt.Errorf("the registry sends uploads to %s, another host, which the login is not for", resp.Request.URL.Host),
			Hint: "set Harbor's external_url to the name that clients use"}
	}
	return &fault.Error{Kind: fault.Denied, What: what, Where: where,
		Err:  fmt.Errorf("%s may not %s there", cmp.Or(login.Username, "the account"), what),
		Hint: "give the account push and pull rights on project " + projectOf(resp.Request.URL.Path) + " in Harbor"}
}

// noLogin is the answer to nobody. A login for another host is the likely mistake where there is one.
func (s *session) noLogin(what, where string) error {
	f := &fault.Error{Kind: fault.Denied, What: what, Where: where, Err: fmt.Errorf("%s wants a login", s.host), Hint: hintNoLogin}
	if own := s.client.options.Credential; own.Username != "" {
		f.Err = fmt.Errorf("%s wants a login, and the one of %s is for %s", s.host, own.Username, own.Host)
		f.Hint = "HARBOR_URL names the host that the login is for; log in to others with Docker's configuration"
	}
	return f
}

func (s *session) wrongLogin(ctx context.Context, what, where string) error {
	user := "the account"
	if login, err := authn.Authorization(ctx, s.auth); err == nil {
		user = cmp.Or(login.Username, user)
	}
	return &fault.Error{Kind: fault.Denied, What: what, Where: where, Err: fmt.Errorf("%s refused the login of %s", s.host, user), Hint: hintLogin}
}

// forbidden tells Harbor's read-only mode and its quota apart, which share status and code: only read-only mode
// refuses to open an upload, so where another request was refused, that is tried.
func (s *session) forbidden(ctx context.Context, what, where string, r request, status *transport.Error) error {
	f := &fault.Error{Kind: fault.Denied, What: what, Where: where}
	_, f.Err = s.answer(status)
	switch {
	case !s.harbor() || !has(status, transport.DeniedErrorCode):
		f.Hint = "the account needs push and pull rights there"
	case s.readOnly(ctx, r):
		f.Hint = "Harbor is in read-only mode: an administrator ends that under Configuration, System Settings"
	default:
		f.Kind = fault.Failed
		f.Hint = "the project's storage quota is used up: delete images and run garbage collection, or raise the quota"
	}
	return f
}

func (s *session) readOnly(ctx context.Context, r request) bool {
	if r.method == http.MethodPost && !strings.Contains(r.url, "mount=") {
		return true
	}
	probe := request{method: http.MethodPost, url: s.url("%s/blobs/uploads/", repositoryOf(r.url)), scopes: r.scopes}
	resp, err := s.send(ctx, probe)
	if err != nil {
		return false
	}
	resp.Body.Close()
	if location, err := resp.Location(); err == nil {
		if cancelled, err := s.send(ctx, request{method: http.MethodDelete, url: location.String(), scopes: r.scopes}); err == nil {
			cancelled.Body.Close()
		}
	}
	return resp.StatusCode == http.StatusForbidden
}

// answer is what the registry said, in its words where it speaks the registry's language.
func (s *session) answer(status *transport.Error) (hint string, cause error) {
	var said []string
	for _, d := range status.Errors {
		said = append(said, strings.TrimSpace(fmt.Sprintf("%s: %s", d.Code, d.Message)))
	}
	line := fmt.Sprintf("%s answers %d %s", s.host, status.StatusCode, http.StatusText(status.StatusCode))
	switch {
	case len(said) > 0:
		return "", fmt.Errorf("%s: %s", line, strings.Join(said, "; "))
	case status.Request != nil && status.Request.Method == http.MethodHead && status.StatusCode < 500: // the answer has no body
		return "", errors.New(line)
	case status.StatusCode == http.StatusRequestEntityTooLarge:
		return "a proxy in front of the registry limits uploads; for nginx: client_max_body_size 0, as an Ingress annotation proxy-body-size: \"0\"", errors.New(line)
	case status.StatusCode >= 500:
		return "a part of the registry is down, or restarting: check its pods, and try again", errors.New(line)
	}
	return s.hintPage(), fmt.Errorf("%s, and not as a registry does", line)
}

// hintPage is for answers that no registry gives.
func (s *session) hintPage() string {
	return "is " + s.host + " the registry? A proxy or a web page may stand in its place"
}

func has(status *transport.Error, code transport.ErrorCode) bool {
	for _, d := range status.Errors {
		if d.Code == code {
			return true
		}
	}
	return false
}

// repositoryOf is the repository that a URL of the distribution API is about.
func repositoryOf(path string) string {
	_, rest, _ := strings.Cut(path, "/v2/")
	for _, kind := range []string{"/blobs/", "/manifests/"} {
		if repository, _, found := strings.Cut(rest, kind); found {
			return repository
		}
	}
	return rest
}

// projectOf is a repository's first component, which is what Harbor calls the project.
func projectOf(path string) string {
	project, _, _ := strings.Cut(repositoryOf(path), "/")
	return project
}
