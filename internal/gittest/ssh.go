package gittest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
)

// SSH serves the repositories of a Server through a real sshd, which runs git-shell and nothing else.
type SSH struct {
	Address    string // 127.0.0.1:PORT
	User       string // whom sshd lets in: the user that runs the test
	KnownHosts string // the lines of its host keys, an Ed25519 and an ECDSA one

	folder   string
	root     string
	listener *net.TCPListener
	mu       sync.Mutex
	running  sync.WaitGroup
	sessions map[*exec.Cmd]bool
	count    int
}

// SSH starts sshd for those who have one of the private keys to these public ones, until Close. It needs sshd,
// ssh-keygen and git-shell.
func (s *Server) SSH(authorized ...string) (*SSH, error) {
	who, err := user.Current()
	if err != nil {
		return nil, err
	}
	ssh := &SSH{User: who.Username, root: s.root, sessions: map[*exec.Cmd]bool{}}
	if ssh.folder, err = os.MkdirTemp("", "gittest-ssh-"); err != nil {
		return nil, err
	}
	if err := ssh.listen(authorized); err != nil {
		return nil, errors.Join(err, os.RemoveAll(ssh.folder))
	}
	go ssh.accept()
	return ssh, nil
}

// URL is a repository's address; it has no login but the user's name.
func (s *SSH) URL(r *Repository) string { return "ssh://" + s.User + "@" + s.Address + r.Dir }

// Authorize lets in those who have the private keys to these public ones, and nobody else.
func (s *SSH) Authorize(keys ...string) error {
	return os.WriteFile(s.file("authorized_keys"), []byte(strings.Join(keys, "\n")+"\n"), 0o600)
}

// Says makes one of git's two services say something and end with a status, or with -1 say no more and stay.
func (s *SSH) Says(service, words string, status int) error {
	end := fmt.Sprintf("exit %d", status)
	if status < 0 {
		end = "exec cat >/dev/null"
	}
	script := fmt.Sprintf("case \"$SSH_ORIGINAL_COMMAND\" in\n%s*) printf '%%s\\n' '%s' >&2; %s;;\nesac\n", service, words, end)
	return os.WriteFile(s.file("before"), []byte(script), 0o600)
}

// Connections is how many there have been.
func (s *SSH) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Drop ends the connections that there are.
func (s *SSH) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for cmd := range s.sessions {
		cmd.Process.Kill()
	}
}

// Close stops the server and ends its connections.
func (s *SSH) Close() error {
	err := s.listener.Close()
	s.Drop()
	s.running.Wait()
	return errors.Join(err, os.RemoveAll(s.folder))
}

func (s *SSH) file(name string) string { return filepath.Join(s.folder, name) }

// listen writes sshd's configuration and opens the port.
func (s *SSH) listen(authorized []string) error {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	s.listener, s.Address = listener, listener.Addr().String()
	port := listener.Addr().(*net.TCPAddr).Port
	config := fmt.Sprintf("AuthorizedKeysFile %s\nForceCommand %s\n", s.file("authorized_keys"), s.file("command")) +
		"StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
	for _, kind := range []string{"ed25519", "ecdsa"} {
		key := s.file("host_" + kind)
		public, err := Keygen(key, "-t", kind)
		if err != nil {
			return err
		}
		config += "HostKey " + key + "\n"
		s.KnownHosts += fmt.Sprintf("[127.0.0.1]:%d %s\n", port, public)
	}
	env := ""
	for _, kv := range Env() {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "GIT_") || name == "PATH" {
			env += fmt.Sprintf("export %s='%s'\n", name, value)
		}
	}
	command := "#!/bin/sh\n" + env + fmt.Sprintf("export HOME='%s'\ncd \"$HOME\"\n. %s\nexec git-shell -c \"$SSH_ORIGINAL_COMMAND\"\n", s.root, s.file("before"))
	return errors.Join(
		os.WriteFile(s.file("config"), []byte(config), 0o600),
		os.WriteFile(s.file("command"), []byte(command), 0o755),
		os.WriteFile(s.file("before"), nil, 0o600),
		s.Authorize(authorized...),
	)
}

// Keygen makes a private key in a file, Ed25519 without a passphrase unless ssh-keygen's own arguments say otherwise, and
// returns the public half.
func Keygen(file string, args ...string) (string, error) {
	args = append([]string{"-q", "-a", "1", "-t", "ed25519", "-N", "", "-C", "test", "-f", file}, args...)
	if _, err := Command("ssh-keygen", args...); err != nil {
		return "", err
	}
	public, err := os.ReadFile(file + ".pub")
	return strings.TrimSpace(string(public)), err
}

// Command runs a program of OpenSSH's and returns what it says; an error carries that too.
func Command(program string, args ...string) (string, error) {
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return string(out), nil
}

func (s *SSH) accept() {
	for {
		conn, err := s.listener.AcceptTCP()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.count++
		if err := s.serve(conn); err != nil {
			conn.Close()
		}
		s.mu.Unlock()
	}
}

// serve gives a connection to an sshd of its own. The lock is held.
func (s *SSH) serve(conn *net.TCPConn) error {
	socket, err := conn.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	cmd := exec.Command(sshd(), "-i", "-e", "-f", s.file("config"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = socket, socket, io.Discard
	if err := cmd.Start(); err != nil {
		return err
	}
	s.sessions[cmd] = true
	s.running.Go(func() {
		cmd.Wait()
		conn.Close()
		s.mu.Lock()
		delete(s.sessions, cmd)
		s.mu.Unlock()
	})
	return nil
}

// sshd is where the server is: it wants to be started by its full path, and is often not on PATH.
func sshd() string {
	os.MkdirAll("/run/sshd", 0o755) // it insists, as root
	if path, err := exec.LookPath("sshd"); err == nil {
		return path
	}
	return "/usr/sbin/sshd"
}
