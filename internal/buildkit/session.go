package buildkit

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tonistiigi/fsutil"
)

// session is what the daemon may ask us for while it builds, and nothing else: files, logins, secrets, agents. The daemon
// calls us through a call of ours (moby/buildkit, session).
type session struct {
	id      string
	request Request
	folders map[string]fsutil.FS
	layouts layouts
	content *content
	key     []byte // from which the keys of token authorities are made
	begun   bool   // the daemon answered
}

func newSession(ctx context.Context, r Request) (*session, error) {
	folders, err := r.folders()
	if err != nil {
		return nil, err
	}
	opened, err := r.layouts(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{id: strings.ToLower(rand.Text()), request: r, folders: folders, layouts: opened, content: newContent(r.There), key: make([]byte, 32)}
	rand.Read(s.key)
	return s, nil
}

func (s *session) methods() service {
	all := service{
		"/grpc.health.v1.Health/Check":                  single(func(context.Context, message) (message, error) { return message{}.number(1, 1), nil }),
		"/moby.filesync.v1.FileSync/DiffCopy":           s.sendFolder,
		"/containerd.services.content.v1.Content/Write": s.content.write,
		"/containerd.services.content.v1.Content/Info":  s.layouts.info,
		"/containerd.services.content.v1.Content/Read":  s.layouts.read,
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
	server := &http.Server{Handler: methods, Protocols: protocols, HTTP2: windows(), ErrorLog: log.New(io.Discard, "", 0)}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	return server.Serve(&once{conn: &tunnel{chunks{next: c.Receive}, c}, done: ctx.Done()})
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
	chunks
	call *call
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

// hostname tells builds of one machine from those of others.
func hostname() string {
	name, _ := os.Hostname()
	return name
}
