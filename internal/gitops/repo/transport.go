package repo

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/file"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/trust"
)

const (
	connectTimeout = 10 * time.Second
	refsTimeout    = 25 * time.Second // the first answer of a server; a dead one is reported within half a minute
	maxSaid        = 500              // of a server's own words in a message, in bytes
)

// maxAnswer is what a server may send at once, in bytes; memory holds it. Manifests are far below. Tests lower it.
var maxAnswer int64 = 512 << 20

// server is a remote repository: its address and how to speak to it.
type server struct {
	url      string // without a login: fit for messages
	login    login
	endpoint *transport.Endpoint
	client   transport.Transport
}

// dial prepares a server; nothing is sent yet.
func (r *Repo) dial(address string) (*server, error) {
	remote, err := url.Parse(address)
	switch {
	case err == nil && (remote.Scheme == "http" || remote.Scheme == "https"):
	case err == nil && (remote.Scheme == "file" || remote.Scheme == "" && remote.Host == "" && !strings.Contains(address, ":")):
		return r.dialFile(remote.Path)
	default:
		return nil, &fault.Error{Kind: fault.Usage, What: "push to", Where: redacted(address), Err: errors.New("SSH remotes are not supported yet"),
			Hint: "use the repository's https:// address"}
	}
	roots, err := trust.Roots(r.certificates(remote))
	if err != nil {
		return nil, err
	}
	s := &server{}
	if s.login, err = r.login(remote); err != nil {
		return nil, err
	}
	bare := *remote
	bare.User = nil
	s.url = bare.String()
	if s.endpoint, err = transport.NewEndpoint(s.url); err != nil {
		return nil, &fault.Error{Kind: fault.Usage, What: "push to", Where: s.url, Err: err}
	}
	web := http.DefaultTransport.(*http.Transport).Clone()
	web.DialContext = (&net.Dialer{Timeout: connectTimeout}).DialContext
	web.TLSClientConfig = &tls.Config{RootCAs: roots}
	s.client = githttp.NewClient(&http.Client{Transport: bounded{web, maxAnswer}})
	return s, nil
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

var errTooMuch = errors.New("it sends more than this can hold in memory")

// dialFile is a repository on this machine; git's own programs serve it.
func (r *Repo) dialFile(path string) (*server, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.root, path)
	}
	return &server{url: path, endpoint: &transport.Endpoint{Protocol: "file", Path: path}, client: file.DefaultClient}, nil
}

// redacted is an address without a login.
func redacted(address string) string {
	if u, err := url.Parse(address); err == nil {
		u.User = nil
		return u.String()
	}
	return address[strings.LastIndexByte(address, '@')+1:]
}

// auth is what go-git's sessions take: nil interfaces for repositories on this machine.
func (s *server) auth() transport.AuthMethod {
	if s.endpoint.Protocol == "file" {
		return nil
	}
	return s.login
}

// advertised opens a session and reads the refs, in bounded time. The caller closes the session.
func advertised[S transport.Session](ctx context.Context, s *server, open func(*transport.Endpoint, transport.AuthMethod) (S, error)) (S, *packp.AdvRefs, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, refsTimeout, fmt.Errorf("no answer within %s", refsTimeout))
	defer cancel()
	endpoint := *s.endpoint // a session changes it when it is redirected
	session, err := open(&endpoint, s.auth())
	if err != nil {
		return session, nil, s.explain(ctx, err)
	}
	refs, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		session.Close()
		return session, nil, s.explain(ctx, err)
	}
	return session, refs, nil
}

// refusal is a server's no to an update that it had understood.
type refusal struct {
	status    string // git's word for it
	said      string // what its hooks printed
	unpacking bool   // it could not even take the commit in
}

func (r *refusal) Error() string {
	if r.said == "" {
		return "refused: " + r.status
	}
	return "refused: " + r.status + "; the server says: " + r.said
}

// push moves a branch from a draft's parent to its commit. The server compares and swaps: when the branch is elsewhere
// it refuses.
func (s *server) push(ctx context.Context, branch string, d *draft, made *memory.Storage) error {
	session, refs, err := advertised(ctx, s, s.client.NewReceivePackSession)
	if err != nil {
		return err
	}
	defer session.Close()
	var pack bytes.Buffer
	var said snippet
	if _, err := packfile.NewEncoder(&pack, made, false).Encode(d.objects, 0); err != nil {
		return fmt.Errorf("pack the commit: %w", err)
	}
	request := packp.NewReferenceUpdateRequestFromCapabilities(refs.Capabilities)
	request.Commands = []*packp.Command{{Name: plumbing.ReferenceName(branch), Old: d.parent, New: d.commit}}
	request.Packfile = io.NopCloser(&pack)
	request.Progress = &said
	for _, c := range []capability.Capability{capability.Atomic, capability.Sideband64k} {
		if refs.Capabilities.Supports(c) {
			if err := request.Capabilities.Set(c); err != nil {
				return err
			}
		}
	}
	report, err := session.ReceivePack(ctx, request)
	switch {
	case report == nil && err != nil:
		return s.explain(ctx, err)
	case report == nil || len(report.CommandStatuses) == 0 && report.UnpackStatus == "ok":
		return s.explain(ctx, errors.New("the server did not say whether it took the commit"))
	}
	if report.UnpackStatus != "ok" {
		return &refusal{printable("unpack " + report.UnpackStatus), printable(string(said)), true}
	}
	for _, command := range report.CommandStatuses {
		if command.Error() != nil {
			return &refusal{printable(command.Status), printable(string(said)), false}
		}
	}
	return cause(err)
}

// snippet is the beginning of what is written to it.
type snippet []byte

func (s *snippet) Write(p []byte) (int, error) {
	*s = append(*s, p[:min(len(p), maxSaid-len(*s))]...)
	return len(p), nil
}

// printable is a server's text on one line, without control characters, and not too long.
func printable(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[:min(maxSaid, len(text))], "")
}
