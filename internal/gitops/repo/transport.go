package repo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/openssh"
)

const (
	connectTimeout = 10 * time.Second
	refsTimeout    = 25 * time.Second // the first answer of a server; a dead one is reported within half a minute
	maxSaid        = 500              // of a server's own words in a message, in bytes
)

// maxAnswer is what a server may send at once, in bytes. Manifests are far below. Tests lower it.
var maxAnswer int64 = 512 << 20

var (
	errTooMuch = errors.New("it sends more at once than a bump can need")
	errNoGit   = errors.New("it answers, but is no git server, or speaks git's old protocol only")
)

// sha256Name is the first line of a list of refs, behind its length, of a repository whose names are longer than SHA-1's;
// go-git does not read so far as to the capability that says it (gitprotocol-capabilities, "object-format").
var sha256Name = regexp.MustCompile(`(^|\n0000)[0-9a-f]{4}[0-9a-f]{64} `)

func namesSHA256(refs []byte) bool { return sha256Name.Match(refs) }

// server is a remote repository: its address and how to speak to it.
type server struct {
	url         string // without a login: fit for messages
	login       login
	findLogin   func(context.Context) (login, error) // nil when the login is found
	helpers     *helpers                             // have a login when the server wants another; nil for none
	ssh         *openssh.Client                      // nil unless it is reached so
	endpoint    *transport.Endpoint
	client      transport.Transport
	pushOptions []string
	unverified  bool // git is configured to take any certificate, which is not followed
}

// dial prepares the server of a remote, which is a name or an address; nothing is sent yet. The name has settings of its
// own.
func (r *Repo) dial(name string) (*server, error) {
	address, err := r.address(name)
	if err != nil {
		return nil, err
	}
	where, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	options := r.options.PushOptions
	if len(options) == 0 {
		options = withoutCleared(r.config.values("push", "", "pushoption"))
	}
	if err := checkPushOptions(options); err != nil {
		return nil, err
	}
	var s *server
	switch where.Scheme {
	case "http", "https":
		s, err = r.dialWeb(name, where)
	case "ssh":
		s, err = r.dialSSH(where)
	default:
		s, err = r.dialFile(where.Path)
	}
	if err != nil {
		return nil, err
	}
	s.pushOptions = options
	return s, nil
}

// parseAddress reads a remote's address as git does (git-fetch, "GIT URLS"): a URL, [USER@]HOST:PATH, or a local path.
// The path of an SSH address begins with / or ~, or is relative to the home folder. Slashes at the end are taken away.
func parseAddress(address string) (*url.URL, error) {
	refused := func(why string) error {
		return fault.Usagef("for example: https://github.com/OWNER/NAME.git, or git@github.com:OWNER/NAME.git", "the remote's address %s %s", redacted(address), why)
	}
	if scheme, _, ok := strings.Cut(address, "://"); ok {
		where, err := url.Parse(address)
		if err != nil {
			return nil, refused("cannot be understood")
		}
		switch scheme = strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(scheme), "git+"), "+git"); scheme {
		case "http", "https":
		case "file":
			return where, nil
		case "ssh":
			where.Scheme = scheme
			if home, ok := strings.CutPrefix(where.Path, "/~"); ok {
				where.Path = "~" + home
			}
		default:
			return nil, refused("is not of a kind that is supported")
		}
		switch {
		case where.Hostname() == "":
			return nil, refused("names no server")
		case where.RawQuery != "" || where.ForceQuery || where.Fragment != "":
			return nil, refused("ends with ? or # and something, which no repository's does")
		}
		where.Path, where.RawPath = strings.TrimRight(where.Path, "/"), strings.TrimRight(where.RawPath, "/")
		return where, checkSSH(where, refused)
	}
	login, path, scp := strings.Cut(address, ":")
	if strings.Contains(login, "[") { // an IPv6 address
		before, after, closed := strings.Cut(address, "]:")
		login, path, scp = before+"]", after, closed
	}
	if !scp || strings.Contains(login, "/") {
		return &url.URL{Scheme: "file", Path: address}, nil
	}
	where := &url.URL{Scheme: "ssh", Host: login, Path: strings.TrimRight(path, "/")}
	if at := strings.LastIndexByte(login, '@'); at >= 0 {
		where.User, where.Host = url.User(login[:at]), login[at+1:]
	}
	return where, checkSSH(where, refused)
}

// checkSSH refuses what a program on the other side could take for an option.
func checkSSH(where *url.URL, refused func(string) error) error {
	host := where.Hostname()
	switch {
	case where.Scheme != "ssh":
		return nil
	case host == "" || strings.HasPrefix(host, "-") || strings.ContainsFunc(where.Host+where.Path+where.User.Username(), unicode.IsControl):
		return refused("names no server")
	case strings.Trim(where.Path, "/") == "" || strings.HasPrefix(where.Path, "-"):
		return refused("names no repository")
	}
	return nil
}

// redacted is an address without what may be a secret: a login, and what follows the path.
func redacted(address string) string {
	if u, err := url.Parse(address); err == nil {
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		return u.String()
	}
	return address[strings.LastIndexByte(address, '@')+1:]
}

// auth is what go-git's sessions take: nil interfaces where it is not for them to log in.
func (s *server) auth() transport.AuthMethod {
	if s.endpoint.Protocol == "http" || s.endpoint.Protocol == "https" {
		return s.login
	}
	return nil
}

// credential is the name of what the server was shown.
func (s *server) credential() string {
	if s.ssh != nil {
		return s.ssh.Credential()
	}
	return s.login.origin
}

// logIn finds the login, once.
func (s *server) logIn(ctx context.Context) error {
	if s.findLogin == nil {
		return nil
	}
	found, err := s.findLogin(ctx)
	if err != nil {
		return err
	}
	s.login, s.findLogin = found, nil
	if !found.replaceable {
		s.helpers = nil
	}
	return nil
}

// opener makes a session of one of the two services.
type opener[S transport.Session] func(*transport.Endpoint, transport.AuthMethod) (S, error)

// advertised opens a session and reads the refs, in bounded time. The caller closes the session. When the server wants
// another login than it was shown, and git's credential helpers have one, that is tried.
func advertised[S transport.Session](ctx context.Context, s *server, open opener[S]) (S, *packp.AdvRefs, error) {
	if err := s.logIn(ctx); err != nil {
		var none S
		return none, nil, err
	}
	session, refs, err := discover(ctx, s, open)
	if errors.Is(err, transport.ErrAuthenticationRequired) && s.ask(ctx) {
		session, refs, err = discover(ctx, s, open)
		s.helpers.tell(ctx, err)
	}
	if err != nil {
		return session, nil, s.explain(ctx, err)
	}
	return session, refs, nil
}

func discover[S transport.Session](ctx context.Context, s *server, open opener[S]) (S, *packp.AdvRefs, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, refsTimeout, fmt.Errorf("no answer within %s", refsTimeout))
	defer cancel()
	endpoint := *s.endpoint // a session changes it when it is redirected
	session, err := open(&endpoint, s.auth())
	if err != nil {
		return session, nil, err
	}
	refs, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		session.Close()
		if context.Cause(ctx) != nil {
			err = context.Cause(ctx)
		}
		return session, nil, err
	}
	return session, refs, nil
}

// snippet is the beginning of what is written to it.
type snippet []byte

func (s *snippet) Write(p []byte) (int, error) {
	*s = append(*s, p[:min(len(p), maxSaid-len(*s))]...)
	return len(p), nil
}

func printable(text string) string { return fault.Said(text, maxSaid) }
