package buildkit

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tonistiigi/fsutil"
	"google.golang.org/protobuf/encoding/protowire"
)

// Logins let the daemon into registries.
type Logins interface {
	// Bearer reports whether we are logged in to a registry that takes tokens.
	Bearer(ctx context.Context, host string) bool

	// Token is a token for scopes, as long as its registry makes it good.
	Token(ctx context.Context, host string, scopes []string) (string, error)

	// Password is the login for a registry that takes nothing else, empty without one.
	Password(ctx context.Context, host string) (username, password string, err error)
}

// session is what the daemon may ask us for while it builds, and nothing else: files, logins, secrets, agents. The daemon
// calls us through a call of ours (moby/buildkit, session).
type session struct {
	id      string
	request Request
	folders map[string]fsutil.FS
	content *content
	key     []byte // from which the keys of token authorities are made

	mu    sync.Mutex
	cause error // the first thing that failed on our side
}

// failed notes what failed here: it says more than what the daemon makes of it.
func (s *session) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil {
		s.cause = err
	}
}

func (s *session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

func newSession(r Request) (*session, error) {
	folders, err := r.folders()
	if err != nil {
		return nil, err
	}
	s := &session{id: strings.ToLower(rand.Text()), request: r, folders: folders, content: newContent(r.There), key: make([]byte, 32)}
	rand.Read(s.key)
	return s, nil
}

func (s *session) methods() service {
	all := service{
		"/grpc.health.v1.Health/Check":                  single(func(context.Context, message) (message, error) { return message{}.number(1, 1), nil }),
		"/moby.filesync.v1.FileSync/DiffCopy":           s.sendFolder,
		"/containerd.services.content.v1.Content/Write": s.content.write,
		"/moby.buildkit.secrets.v1.Secrets/GetSecret":   single(s.secret),
		"/moby.sshforward.v1.SSH/CheckAgent":            single(s.agent),
		"/moby.sshforward.v1.SSH/ForwardAgent":          s.forwardAgent,
	}
	if s.request.Logins != nil {
		all["/moby.filesync.v1.Auth/Credentials"] = single(s.password)
		all["/moby.filesync.v1.Auth/GetTokenAuthority"] = single(s.authority)
		all["/moby.filesync.v1.Auth/VerifyTokenAuthority"] = single(s.verify)
		all["/moby.filesync.v1.Auth/FetchToken"] = single(s.token)
	}
	return all
}

// run answers the daemon until ctx ends. ready is closed when it can be asked to build.
func (s *session) run(ctx context.Context, p *peer, ready chan<- struct{}) error {
	methods := s.methods()
	header := http.Header{
		"X-Docker-Expose-Session-Uuid":        {s.id},
		"X-Docker-Expose-Session-Sharedkey":   {s.request.sharedKey()},
		"X-Docker-Expose-Session-Grpc-Method": slices.Sorted(maps.Keys(methods)),
	}
	c := p.call(ctx, "/moby.buildkit.v1.Control/Session", header)
	defer c.Close()
	if err := c.head(); err != nil {
		return err
	}
	close(ready)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: methods, Protocols: protocols, HTTP2: windows()}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	return server.Serve(&once{conn: &tunnel{call: c}, done: ctx.Done()})
}

// once is a listener with one connection.
type once struct {
	conn net.Conn
	done <-chan struct{}
	used bool
}

func (l *once) Accept() (net.Conn, error) {
	if !l.used {
		l.used = true
		return l.conn, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return nowhere{} }

// tunnel is a connection whose bytes travel in the messages of a call.
type tunnel struct {
	call *call
	rest []byte
}

func (t *tunnel) Read(p []byte) (int, error) {
	for len(t.rest) == 0 {
		m, err := t.call.Receive()
		if err != nil {
			return 0, err
		}
		t.rest = m.field(1).bytes
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

func (t *tunnel) Write(p []byte) (int, error) {
	if err := t.call.Send(message{}.data(1, p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t *tunnel) Close() error {
	t.call.Close()
	return nil
}

func (t *tunnel) LocalAddr() net.Addr              { return nowhere{} }
func (t *tunnel) RemoteAddr() net.Addr             { return nowhere{} }
func (t *tunnel) SetDeadline(time.Time) error      { return nil }
func (t *tunnel) SetReadDeadline(time.Time) error  { return nil }
func (t *tunnel) SetWriteDeadline(time.Time) error { return nil }

type nowhere struct{}

func (nowhere) Network() string { return "buildkit" }
func (nowhere) String() string  { return "buildkit" }

// chunks reads the bytes of messages one after the other.
type chunks struct {
	next func() (message, error)
	rest []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		m, err := c.next()
		if err != nil {
			return 0, err
		}
		c.rest = m.field(1).bytes
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// secret is one that the build was given.
func (s *session) secret(_ context.Context, m message) (message, error) {
	id := m.field(1).text()
	if secrets := s.request.Sources.Secrets; secrets != nil {
		if secret, ok := secrets(id); ok {
			return message{}.data(1, secret), nil
		}
	}
	return nil, &status{code: codeNotFound, message: fmt.Sprintf("there is no secret %s", id)}
}

// socket is that of the SSH agent that goes by an id.
func (s *session) socket(id string) (string, error) {
	if id == "" {
		id = "default"
	}
	socket, ok := s.request.Sources.SSH[id]
	if !ok {
		return "", &status{code: codeNotFound, message: fmt.Sprintf("there is no SSH agent %s", id)}
	}
	return socket, nil
}

func (s *session) agent(_ context.Context, m message) (message, error) {
	_, err := s.socket(m.field(1).text())
	return nil, err
}

// forwardAgent carries one connection to an agent.
func (s *session) forwardAgent(x *exchange) error {
	socket, err := s.socket(x.header.Get("buildkit.ssh.id"))
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(x.ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(x.ctx, func() { conn.Close() })
	defer stop()
	go func() {
		_, _ = io.Copy(conn, &chunks{next: x.Receive})
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	_, err = io.Copy(sending{x}, conn)
	return err
}

// sending puts what is written into messages.
type sending struct{ *exchange }

func (s sending) Write(p []byte) (int, error) { return len(p), s.Send(message{}.data(1, p)) }

// registry is the host that references have for one that the daemon asks about.
func registry(v value) string {
	host := v.text()
	if host == "registry-1.docker.io" {
		return dockerHub
	}
	return host
}

// signer is the key by which a daemon knows that two sessions have the same login: it goes with the host.
func (s *session) signer(host string, salt []byte) (ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, s.key, salt, host, ed25519.SeedSize)
	return ed25519.NewKeyFromSeed(seed), err
}

// authority offers to fetch tokens, so that the daemon never sees the password.
func (s *session) authority(ctx context.Context, m message) (message, error) {
	host := registry(m.field(1))
	if !s.request.names(host) || !s.request.Logins.Bearer(ctx, host) {
		return nil, &status{code: codeUnimplemented, message: "nobody is logged in to " + host}
	}
	key, err := s.signer(host, m.field(2).bytes)
	if err != nil {
		return nil, err
	}
	return message{}.data(1, key.Public().(ed25519.PublicKey)), nil
}

// verify signs, as NaCl does: the signature, then what is signed.
func (s *session) verify(_ context.Context, m message) (message, error) {
	key, err := s.signer(registry(m.field(1)), m.field(3).bytes)
	if err != nil {
		return nil, err
	}
	payload := m.field(2).bytes
	return message{}.data(1, append(ed25519.Sign(key, payload), payload...)), nil
}

// token fetches one. Where from, the registry tells us and not the daemon; and what it is good for is to read, but for
// repositories that the build caches in.
func (s *session) token(ctx context.Context, m message) (message, error) {
	host := registry(m.field(2))
	var scopes []string
	_ = m.each(func(field protowire.Number, v value) error {
		if field == 5 {
			scopes = append(scopes, s.permitted(host, v.text())...)
		}
		return nil
	})
	if len(scopes) == 0 || !s.request.names(host) {
		return nil, &status{code: codePermissionDenied, message: "such a token is not given away"}
	}
	token, err := s.request.Logins.Token(ctx, host, scopes)
	if err != nil {
		return nil, err
	}
	return message{}.text(1, token).number(2, tokenLife), nil
}

// tokenLife is how long the daemon keeps a token before it asks again, in seconds; ours are good for longer.
const tokenLife = 10

// permitted is as much of a scope, TYPE:NAME:ACTION,ACTION, as the daemon may have.
func (s *session) permitted(host, scope string) []string {
	kind, rest, _ := strings.Cut(scope, ":")
	i := strings.LastIndex(rest, ":")
	if kind != "repository" || i < 0 {
		return nil
	}
	name, actions := rest[:i], []string{}
	for action := range strings.SplitSeq(rest[i+1:], ",") {
		if action == "pull" || action == "push" && s.request.caches(host, name) {
			actions = append(actions, action)
		}
	}
	if len(actions) == 0 {
		return nil
	}
	return []string{"repository:" + name + ":" + strings.Join(actions, ",")}
}

// password is for registries without tokens. For others it is an error: none would be an answer, by which a daemon knows
// another build that was logged in nowhere, and goes on with what that one got.
func (s *session) password(ctx context.Context, m message) (message, error) {
	host := registry(m.field(1))
	if !s.request.names(host) {
		return nil, nil
	}
	if s.request.Logins.Bearer(ctx, host) {
		return nil, &status{code: codePermissionDenied, message: "there are tokens for " + host}
	}
	username, password, err := s.request.Logins.Password(ctx, host)
	return message{}.text(1, username).text(2, password), err
}

// hostname tells builds of one machine from those of others.
func hostname() string {
	name, _ := os.Hostname()
	return name
}
