package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ksera524/imgbump/internal/fault"
)

const (
	hintPlainHTTP = "pass --plain-http if that is meant: the password then travels unencrypted"
	hintRunning   = "is the registry running, and does a firewall or proxy stand in between?"
	hintProxy     = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
	hintNoLogin   = "set HARBOR_USERNAME and HARBOR_PASSWORD, pass --username and --password-stdin, or log in with Docker's configuration"
)

// What to do about refusals that Harbor's own API has too.
const (
	HintLogin    = "check HARBOR_USERNAME and HARBOR_PASSWORD; a robot account may have expired or be disabled"
	HintReadOnly = "Harbor is in read-only mode: an administrator ends that under Configuration, System Settings"
)

// Why a registry says no, for callers that go on from there (errors.Is).
var (
	ErrNotFound  = errors.New("no such image")
	ErrLogin     = errors.New("the login is refused")
	ErrRight     = errors.New("the account has no right to do that")
	ErrImmutable = errors.New("the tag is immutable and names another image")
	ErrQuota     = errors.New("the project's quota is used up")
	ErrReadOnly  = errors.New("the registry is in read-only mode")
	ErrPolicy    = errors.New("a policy of the project forbids it")
)

// MissingProject is the cause when Harbor has no project of that name.
type MissingProject struct{ Host, Project string }

func (m *MissingProject) Error() string {
	return fmt.Sprintf("project %s does not exist on %s", m.Project, m.Host)
}

// because is err, which errors.Is knows as reason.
func because(reason, err error) error { return refusal{err, reason} }

type refusal struct {
	error
	reason error
}

func (r refusal) Is(target error) bool { return target == r.reason }
func (r refusal) Unwrap() error        { return r.error }

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
	if f.Hint, f.Err = s.distrusted(err); f.Err != nil {
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

// refused says what an answer means that was not the one expected, by its status, headers and error codes. The cases
// are those that Harbor 2.16 gives; testdata/harbor of internal/registrytest has its answers.
func (s *session) refused(ctx context.Context, what, where string, r request, resp *http.Response) error {
	var status *transport.Error
	if err := transport.CheckError(shortened(resp)); !errors.As(err, &status) {
		return s.failed(ctx, what, where, err)
	}
	f := &fault.Error{What: what, Where: where}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return s.unauthorized(ctx, what, where, r, resp, status)
	case resp.StatusCode == http.StatusForbidden:
		return s.forbidden(ctx, what, where, r, status)
	case resp.StatusCode == http.StatusNotFound && (r.method == http.MethodGet || r.method == http.MethodHead):
		f.Err, f.Hint = ErrNotFound, "check repository and tag; what is there is listed in the registry's web page"
	case resp.StatusCode == http.StatusPreconditionFailed && has(status, "PRECONDITION"):
		f.Err = ErrImmutable
		f.Hint = "push under a new tag, or change the project's tag immutability rule in Harbor"
	case resp.StatusCode == http.StatusPreconditionFailed && has(status, "PROJECTPOLICYVIOLATION"):
		_, f.Err = s.answer(status)
		f.Err = because(ErrPolicy, f.Err)
		f.Hint = "a policy of the Harbor project forbids it: sign the image, or have it scanned and fixed; the project's administrator can exempt a CVE"
	default:
		f.Hint, f.Err = s.answer(status)
	}
	if !temporaryStatus(resp.StatusCode) {
		return f
	}
	pause := s.client.retryAfter(resp.Header)
	if resp.StatusCode == http.StatusTooManyRequests && pause > 0 {
		f.Hint = fmt.Sprintf("it limits requests: try again in %v", pause.Round(time.Second))
	}
	return &again{error: f, pause: pause}
}

// unauthorized tells a missing project, a wrong login and a missing right apart; Harbor answers 401 to all three.
func (s *session) unauthorized(ctx context.Context, what, where string, r request, resp *http.Response, status *transport.Error) error {
	challenges := strings.Join(resp.Header["Www-Authenticate"], "")
	if lacksProject(resp, status) {
		return &fault.Error{What: what, Where: where, Err: &MissingProject{s.host, projectOf(resp.Request.URL.Path)},
			Hint: "create the project in Harbor, or let --create-project do it, or correct the reference: HOST/PROJECT/NAME:TAG"}
	}
	login, err := authn.Authorization(ctx, s.auth)
	switch {
	case err != nil:
		return s.failed(ctx, what, where, err)
	case isNobody(login):
		return s.noLogin(what, where)
	case strings.EqualFold(s.challenge.Scheme, "basic"):
		return s.wrongLogin(ctx, what, where)
	case strings.Contains(challenges, `error="invalid_token"`): // RFC 6750: expired, revoked or malformed
		s.forget(r.scopes)
		return &again{error: &fault.Error{Kind: fault.Denied, What: what, Where: where, Err: fmt.Errorf("%s does not accept the token of its token service", s.host),
			Hint: "their clocks must agree, and the registry must know the key that the service signs with"}}
	}
	if !s.identified {
		if _, err := s.exchange(ctx, nil); err != nil {
			return s.failed(ctx, what, where, err)
		}
	}
	if !sameServer(resp.Request.URL, s.home()) {
		return &fault.Error{Kind: fault.Denied, What: what, Where: where,
			Err:  fmt.Errorf("the registry sends uploads to %s, another host, which the login is not for", resp.Request.URL.Host),
			Hint: "set Harbor's external_url to the name that clients use"}
	}
	return &fault.Error{Kind: fault.Denied, What: what, Where: where,
		Err:  because(ErrRight, fmt.Errorf("%s may not %s there", cmp.Or(login.Username, "the account"), what)),
		Hint: "give the account push and pull rights on project " + projectOf(resp.Request.URL.Path) + " in Harbor"}
}

// inWords is a refusal with a body: that of a HEAD has none, and Harbor tells a missing project from a missing right,
// and one policy from the other, by the body only. So there GET is tried.
func (s *session) inWords(ctx context.Context, r request, resp *http.Response) *http.Response {
	if r.method != http.MethodHead || resp.StatusCode == http.StatusNotFound || temporaryStatus(resp.StatusCode) {
		return resp
	}
	r.method = http.MethodGet
	spoken, err := s.send(ctx, r)
	if err != nil {
		return resp
	}
	if spoken.StatusCode != resp.StatusCode {
		spoken, resp = resp, spoken
	}
	resp.Body.Close()
	return spoken
}

// maxWords is how much of a token or a refusal is read, in bytes: the library takes no more.
const maxWords = 64<<10 - 1

// shortened is an answer that holds no more than maxWords; nil is nil.
func shortened(resp *http.Response) *http.Response {
	if resp != nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxWords), resp.Body}
	}
	return resp
}

// lacksProject reports whether a 401 means that there is no such project: Harbor says so in the body, and with a
// challenge that is empty, which a proxy may drop.
func lacksProject(resp *http.Response, status *transport.Error) bool {
	challenges, present := resp.Header["Www-Authenticate"]
	missing := "project " + projectOf(resp.Request.URL.Path) + " not found"
	return present && strings.Join(challenges, "") == "" ||
		slices.ContainsFunc(status.Errors, func(d transport.Diagnostic) bool { return strings.HasPrefix(d.Message, missing) })
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
	return &fault.Error{Kind: fault.Denied, What: what, Where: where, Err: because(ErrLogin, fmt.Errorf("the registry refused the login of %s", user)), Hint: HintLogin}
}

// forbidden tells Harbor's read-only mode and its quota apart, which share status and code: only read-only mode
// refuses to open an upload, so where another request was refused, that is tried.
func (s *session) forbidden(ctx context.Context, what, where string, r request, status *transport.Error) error {
	f := &fault.Error{Kind: fault.Denied, What: what, Where: where}
	f.Hint, f.Err = s.answer(status)
	switch {
	case f.Hint != "": // a page, of a proxy or a firewall
	case !s.harbor() || !has(status, transport.DeniedErrorCode):
		f.Err = because(ErrRight, f.Err)
		f.Hint = "the account needs push and pull rights there"
	case s.readOnly(ctx, r):
		f.Err = because(ErrReadOnly, f.Err)
		f.Hint = HintReadOnly
	default:
		f.Kind, f.Err = fault.Failed, because(ErrQuota, f.Err)
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
		said = append(said, fault.Said(fmt.Sprintf("%s: %s", d.Code, d.Message), 500))
	}
	line := fmt.Sprintf("%s answers %d %s", s.host, status.StatusCode, http.StatusText(status.StatusCode))
	if status.StatusCode == http.StatusTooManyRequests {
		hint = "it limits requests: try again later"
	}
	switch {
	case len(said) > 0:
		return hint, fmt.Errorf("%s: %s", line, strings.Join(said, "; "))
	case hint != "":
		return hint, errors.New(line)
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
