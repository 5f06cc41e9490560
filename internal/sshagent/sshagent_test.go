package sshagent

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keygen is a private key in a file.
func keygen(t *testing.T, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	out, err := exec.Command("ssh-keygen", append([]string{"-q", "-f", file, "-C", "one"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return file
}

func dial(t *testing.T, s *Server) agent.ExtendedAgent {
	t.Helper()
	conn, err := net.Dial("unix", s.Socket)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return agent.NewClient(conn)
}

func serve(t *testing.T, paths ...string) *Server {
	t.Helper()
	s, err := Serve(paths...)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// TestServe asks a server for keys of files, and another in front of the first, as of an agent: both sign, and do no more.
func TestServe(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	files := serve(t, keygen(t, "-N", "", "-t", "ed25519"), keygen(t, "-N", "", "-t", "rsa", "-b", "2048"))
	relay := serve(t, files.Socket)
	for _, s := range []*Server{files, relay} {
		client := dial(t, s)
		keys, err := client.List()
		must(t, err)
		if len(keys) != 2 {
			t.Fatalf("%v", keys)
		}
		for i, flags := range []agent.SignatureFlags{0, agent.SignatureFlagRsaSha512} {
			signature, err := client.SignWithFlags(keys[i], []byte("data"), flags)
			must(t, err)
			key, err := ssh.ParsePublicKey(keys[i].Blob)
			must(t, err)
			must(t, key.Verify([]byte("data"), signature))
		}
		for what, err := range map[string]error{"remove": client.Remove(keys[0]), "clear": client.RemoveAll(), "lock": client.Lock([]byte("x"))} {
			if err == nil {
				t.Errorf("a step may %s", what)
			}
		}
		if keys, err = client.List(); err != nil || len(keys) != 2 {
			t.Errorf("%v %v", keys, err)
		}
	}
	info, err := os.Stat(filepath.Dir(files.Socket))
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("others can reach the socket: %v", info.Mode())
	}
	must(t, relay.Close())
	must(t, files.Close())
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestUnusable(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	text := filepath.Join(t.TempDir(), "text")
	must(t, os.WriteFile(text, []byte("S3cret"), 0o600))
	socket := serve(t).Socket
	for want, paths := range map[string][]string{
		"no such file":              {filepath.Join(t.TempDir(), "none")},
		"it is no private key":      {text},
		"locked with a passphrase":  {keygen(t, "-N", "S3cret", "-t", "ed25519")},
		"is the socket of an agent": {socket, text},
	} {
		s, err := Serve(paths...)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "S3cret") {
			t.Errorf("%v: %v", paths, err)
		}
		if s != nil {
			s.Close()
		}
	}
}
