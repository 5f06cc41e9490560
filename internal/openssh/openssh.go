// Package openssh runs commands on an SSH server that is found, trusted and logged in to as OpenSSH's own files say, so
// that no ssh program is needed.
package openssh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/user"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ksera524/imgbump/internal/fault"
)

const connectTimeout = 10 * time.Second

var errClosed = errors.New("the server closed the connection")

// Options say what goes before, or instead of, what OpenSSH's files say.
type Options struct {
	KeyFile    string // the private key to log in with, and no other
	Key        string // the private key itself, and no other
	KeyName    string // what messages call Key: where it comes from
	Passphrase string // of an encrypted private key
	KnownHosts string // the one file of host keys to trust; GitHub's own are built in
	Command    string // an ssh command line in shell syntax, whose options are followed: GIT_SSH_COMMAND

	Getenv func(string) string // HOME, SSH_AUTH_SOCK, and what Command names
	Warn   func(string)        // something configured is not followed
}

// Address is where a server is, before its configuration is applied. An empty User or Port is left to that.
type Address struct{ User, Host, Port string }

// Client is a server that commands run on. It keeps its connection from one command to the next.
type Client struct {
	options Options
	config  *config
	host    string // as dialed
	port    string
	user    string
	known   *knownHosts
	keys    *keys

	mu         sync.Mutex
	connection *connection // nil before the first command
}

// connection is one to a server that let us in.
type connection struct {
	*ssh.Client
	ended chan struct{} // closed when it has ended, by whomever
}

func connected(client *ssh.Client) *connection {
	c := &connection{Client: client, ended: make(chan struct{})}
	go func() {
		client.Wait()
		close(c.ended)
	}()
	return c
}

// NewSession gives up when the connection ends. The library's own would wait for ever if it asked just then: its mux
// forgets all channels first, and still lets one be opened before it refuses to write.
func (c *connection) NewSession() (*ssh.Session, error) {
	type answer struct {
		session *ssh.Session
		err     error
	}
	answers := make(chan answer, 1)
	go func() {
		session, err := c.Client.NewSession()
		answers <- answer{session, err}
	}()
	select {
	case a := <-answers:
		return a.session, a.err
	case <-c.ended:
		return nil, errClosed
	}
}

// New finds out how a server is reached. Nothing is sent yet.
func New(address Address, options Options) (*Client, error) {
	c := &Client{options: options}
	var err error
	if c.config, err = readConfig(address, options); err != nil {
		return nil, err
	}
	c.host = c.config.hostName()
	c.port = cmp.Or(c.config.value("port"), "22")
	c.user = cmp.Or(c.config.value("user"), localUser())
	if c.known, err = c.config.knownHosts(); err != nil {
		return nil, err
	}
	c.keys, err = c.config.keys(options)
	return c, err
}

func localUser() string {
	u, err := user.Current()
	if err != nil {
		return "git"
	}
	return u.Username
}

// String is the server as messages name it: user@host, and the port unless it is SSH's own.
func (c *Client) String() string {
	if c.port == "22" {
		return c.user + "@" + c.host
	}
	return c.user + "@" + net.JoinHostPort(c.host, c.port)
}

// Credential is the name of what the server was last shown to log in with.
func (c *Client) Credential() string { return c.keys.used() }

// Run starts a command on the server, connecting if need be. A connection that is left from the last command may have
// died since: then it connects anew. The context bounds the start alone; see Session.Until.
func (c *Client) Run(ctx context.Context, command string) (*Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.connection != nil {
		s, err := c.start(ctx, command)
		if err == nil || ctx.Err() != nil {
			return s, err
		}
		c.connection.Close()
	}
	var err error
	if c.connection, err = c.dial(ctx); err != nil {
		c.connection = nil
		return nil, err
	}
	return c.start(ctx, command)
}

func (c *Client) start(ctx context.Context, command string) (*Session, error) {
	connection := c.connection
	defer context.AfterFunc(ctx, func() { connection.Close() })()
	s := &Session{connection: connection}
	fail := func(err error) (*Session, error) {
		if context.Cause(ctx) != nil {
			err = context.Cause(ctx)
		}
		return nil, &fault.Error{What: "run a command on", Where: c.String(), Err: err}
	}
	var err error
	if s.remote, err = connection.NewSession(); err != nil {
		return fail(err)
	}
	s.Stdin, err = s.remote.StdinPipe()
	if err == nil {
		s.Stdout, err = s.remote.StdoutPipe()
	}
	s.remote.Stderr = &s.stderr
	if err == nil {
		err = s.remote.Start(command)
	}
	if err != nil {
		s.remote.Close()
		return fail(err)
	}
	return s, nil
}

func (c *Client) dial(ctx context.Context) (*connection, error) {
	address := net.JoinHostPort(c.host, c.port)
	conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, c.explain(ctx, err, false)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	login := c.keys.offer(ctx)
	defer login.close()
	greeted := false
	transport, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: c.user,
		Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(login.signers)},
		HostKeyCallback: func(_ string, remote net.Addr, key ssh.PublicKey) error {
			err := c.known.check(key)
			greeted = err == nil
			return err
		},
		HostKeyAlgorithms: c.known.algorithms(),
	})
	if err != nil {
		conn.Close()
		return nil, c.explain(ctx, err, greeted)
	}
	return connected(ssh.NewClient(transport, channels, requests)), nil
}

// explain says why there is no connection. Once the server has been recognized, what fails is the login.
func (c *Client) explain(ctx context.Context, err error, greeted bool) error {
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return known
	}
	f := &fault.Error{What: "reach", Where: c.String(), Err: err, Hint: "check that the server is up, and that it speaks SSH on port " + c.port}
	_, network := errors.AsType[net.Error](err)
	switch {
	case context.Cause(ctx) != nil:
		f.Err = context.Cause(ctx)
	case errors.Is(err, io.EOF):
		f.Err = errClosed
	case greeted && !network:
		f.Kind, f.What, f.Err, f.Hint = fault.Denied, "log in to", errors.New(c.keys.refused()), c.keys.hint()
	}
	return f
}

// Close ends the connection.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.connection == nil {
		return nil
	}
	connection := c.connection
	c.connection = nil
	return connection.Close()
}

// Session is a command that runs.
type Session struct {
	Stdin  io.WriteCloser
	Stdout io.Reader

	connection *connection
	remote     *ssh.Session
	stderr     excerpt
}

// Until ends the whole connection when the context does, which frees every reader and writer of the session. Call stop
// when the context does not matter any more.
func (s *Session) Until(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { s.connection.Close() })
}

// Wait waits for the end of the command: nil, or how it ended and what it wrote to its standard error.
func (s *Session) Wait() error {
	err := s.remote.Wait()
	if err == nil {
		return nil
	}
	status := -1
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		status = exit.ExitStatus()
	}
	return &ExitError{Status: status, Stderr: s.stderr.String()}
}

// Close ends the command.
func (s *Session) Close() error {
	if err := s.remote.Close(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// ExitError is a command that failed. Status is -1 when the server did not tell. Stderr is the beginning of what the
// command said, as it said it: it is not fit for a terminal.
type ExitError struct {
	Status int
	Stderr string
}

func (e *ExitError) Error() string {
	if e.Status < 0 {
		return "the command on the server ended early"
	}
	return fmt.Sprintf("the command on the server ended with status %d", e.Status)
}

// excerpt is the beginning of what is written to it.
type excerpt struct {
	mu   sync.Mutex
	text strings.Builder
}

const maxExcerpt = 4096 // bytes

func (e *excerpt) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text.Write(p[:min(len(p), maxExcerpt-e.text.Len())])
	return len(p), nil
}

func (e *excerpt) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.String()
}
