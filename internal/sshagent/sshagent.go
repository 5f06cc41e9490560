// Package sshagent lets build steps sign with SSH keys without letting them have the keys: a socket that passes on only the two
// requests that ssh needs, to an agent that is there or to keys from files.
package sshagent

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/ksera524/imgbump/internal/fault"
)

// Server is a socket that answers as an SSH agent. Close removes it.
type Server struct {
	Socket string // its path, in a folder that only this user can reach

	listener net.Listener
	open     func() (agent.Agent, io.Closer, error)

	mu    sync.Mutex
	conns map[net.Conn]bool // nil after Close
	gone  sync.WaitGroup
}

// maxParent is how long the path of a folder may be for a socket two levels below it: an address has 104 bytes or more.
const maxParent = 80

// Serve starts a server for the agent at a socket, or for keys in files.
func Serve(paths ...string) (*Server, error) {
	open, err := opener(paths)
	if err != nil {
		return nil, err
	}
	parent := os.TempDir()
	if len(parent) > maxParent {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "agent-*")
	if err != nil {
		return nil, fault.Cause(err)
	}
	s := &Server{Socket: filepath.Join(dir, "socket"), open: open, conns: map[net.Conn]bool{}}
	if s.listener, err = net.Listen("unix", s.Socket); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	s.gone.Add(1)
	go s.accept()
	return s, nil
}

// opener finds out what paths are: one agent's socket, or files with keys.
func opener(paths []string) (func() (agent.Agent, io.Closer, error), error) {
	keys := agent.NewKeyring()
	for _, path := range paths {
		stat, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, &fault.Error{Kind: fault.Usage, What: "open the SSH agent or key", Where: path, Err: fault.Cause(err)}
		case stat.Mode()&os.ModeSocket != 0 && len(paths) > 1:
			return nil, fault.Usagef("name one agent, or keys", "%s is the socket of an agent, and there are several", path)
		case stat.Mode()&os.ModeSocket != 0:
			return func() (agent.Agent, io.Closer, error) {
				conn, err := net.Dial("unix", path)
				if err != nil {
					return nil, nil, err
				}
				return agent.NewClient(conn), conn, nil
			}, nil
		}
		if err := add(keys, path); err != nil {
			return nil, err
		}
	}
	return func() (agent.Agent, io.Closer, error) { return keys, io.NopCloser(nil), nil }, nil
}

// maxKey is how large a file with a key may be, in bytes.
const maxKey = 64 << 10

func add(keys agent.Agent, path string) error {
	failed := func(hint string, err error) error {
		return &fault.Error{Kind: fault.Usage, What: "read the SSH key", Where: path, Hint: hint, Err: fault.Cause(err)}
	}
	f, err := os.Open(path)
	if err != nil {
		return failed("", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKey))
	if err != nil {
		return failed("", err)
	}
	key, err := ssh.ParseRawPrivateKey(data)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return failed("add it to an agent with ssh-add, and name that", errors.New("it is locked with a passphrase"))
	case err != nil:
		return failed("name a private key as ssh-keygen writes it, or the socket of an agent", errors.New("it is no private key"))
	}
	if err := keys.Add(agent.AddedKey{PrivateKey: key, Comment: filepath.Base(path)}); err != nil {
		return failed("", err)
	}
	return nil
}

func (s *Server) accept() {
	defer s.gone.Done()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.conns == nil {
			conn.Close()
		} else {
			s.conns[conn] = true
			s.gone.Add(1)
			go s.serve(conn)
		}
		s.mu.Unlock()
	}
}

func (s *Server) serve(conn net.Conn) {
	defer s.gone.Done()
	defer func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		conn.Close()
	}()
	if keys, closer, err := s.open(); err == nil {
		agent.ServeAgent(signing{Agent: keys}, conn)
		closer.Close()
	}
}

// Close ends all connections, and removes the socket.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.gone.Wait()
	return errors.Join(err, os.RemoveAll(filepath.Dir(s.Socket)))
}

// signing is an agent that lists its keys and signs with them, and does nothing else.
type signing struct{ agent.Agent }

var errRefused = errors.New("a build step may not change the agent")

func (signing) Add(agent.AddedKey) error       { return errRefused }
func (signing) Remove(ssh.PublicKey) error     { return errRefused }
func (signing) RemoveAll() error               { return errRefused }
func (signing) Lock([]byte) error              { return errRefused }
func (signing) Unlock([]byte) error            { return errRefused }
func (signing) Signers() ([]ssh.Signer, error) { return nil, errRefused }

// SignWithFlags asks for the signature that newer servers want of RSA keys.
func (a signing) SignWithFlags(key ssh.PublicKey, data []byte, flags agent.SignatureFlags) (*ssh.Signature, error) {
	extended, ok := a.Agent.(agent.ExtendedAgent)
	if !ok {
		return nil, errors.New("the agent knows no signature flags")
	}
	return extended.SignWithFlags(key, data, flags)
}

// Extension refuses what else an agent may understand.
func (signing) Extension(string, []byte) ([]byte, error) { return nil, agent.ErrExtensionUnsupported }
