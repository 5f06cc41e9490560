package openssh_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/ksera524/imgbump/internal/openssh"
)

const canary = "c4nary-passphrase"

// world is a real sshd that lets in the key in its home folder's file "key".
type world struct {
	*testing.T
	ssh        *gittest.SSH
	repository *gittest.Repository
	home       string
	env        map[string]string
	warnings   []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, home: t.TempDir()}
	w.env = map[string]string{"HOME": w.home}
	git, err := gittest.Start(gittest.Options{})
	w.check(err)
	t.Cleanup(func() { git.Close() })
	w.repository, err = git.Create("org/app.git")
	w.check(err)
	w.ssh, err = git.SSH(w.keygen("key"))
	w.check(err)
	t.Cleanup(func() { w.check(w.ssh.Close()) })
	w.check(os.Mkdir(w.file(".ssh"), 0o700))
	w.write(".ssh/known_hosts", w.ssh.KnownHosts)
	return w
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("%v (hint: %s)", err, fault.HintOf(err))
	}
}

func (w *world) file(name string) string { return filepath.Join(w.home, name) }

func (w *world) write(name, content string) {
	w.Helper()
	w.check(os.WriteFile(w.file(name), []byte(content), 0o600))
}

func (w *world) read(name string) string {
	w.Helper()
	data, err := os.ReadFile(w.file(name))
	w.check(err)
	return string(data)
}

func (w *world) keygen(name string, args ...string) string {
	w.Helper()
	public, err := gittest.Keygen(w.file(name), args...)
	w.check(err)
	return public
}

// agent starts a real ssh-agent with keys.
func (w *world) agent(keys ...string) {
	w.Helper()
	dir, err := os.MkdirTemp("", "agent") // a socket's path must be short
	w.check(err)
	w.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	w.check(err)
	w.check(cmd.Start())
	w.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	_, err = out.Read(make([]byte, 1)) // it says where it listens
	w.check(err)
	for _, key := range keys {
		add := exec.Command("ssh-add", "-q", w.file(key))
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if out, err := add.CombinedOutput(); err != nil {
			w.Fatalf("ssh-add: %v: %s", err, out)
		}
	}
	w.env["SSH_AUTH_SOCK"] = socket
}

func (w *world) client(options openssh.Options) (*openssh.Client, error) {
	host, port, err := net.SplitHostPort(w.ssh.Address)
	w.check(err)
	return w.to(openssh.Address{User: w.ssh.User, Host: host, Port: port}, options)
}

func (w *world) to(address openssh.Address, options openssh.Options) (*openssh.Client, error) {
	options.Getenv = func(name string) string { return w.env[name] }
	options.Warn = func(text string) { w.warnings = append(w.warnings, text) }
	client, err := openssh.New(address, options)
	if err == nil {
		w.Cleanup(func() { client.Close() })
	}
	return client, err
}

// run lets the server advertise the refs of its empty repository.
func (w *world) run(client *openssh.Client) error {
	session, err := client.Run(w.Context(), "git-receive-pack '"+w.repository.Dir+"'")
	if err != nil {
		return err
	}
	defer session.Close()
	io.WriteString(session.Stdin, "0000")
	out, err := io.ReadAll(session.Stdout)
	if err == nil && !strings.Contains(string(out), "report-status") {
		w.Errorf("the server says %q", out)
	}
	w.check(session.Wait())
	return err
}

func TestLogin(t *testing.T) {
	for _, tt := range []struct {
		name       string
		prepare    func(w *world) openssh.Options
		credential string // what was used; else
		refused    string // part of the error
	}{
		{"the key asked for", func(w *world) openssh.Options {
			return openssh.Options{KeyFile: w.file("key")}
		}, "the key HOME/key (SHA256:", ""},
		{"a key as a secret, without its last line's end", func(w *world) openssh.Options {
			return openssh.Options{Key: strings.TrimSpace(w.read("key")), KeyName: "IMGBUMP_SSH_KEY"}
		}, "the key in IMGBUMP_SSH_KEY (SHA256:", ""},
		{"with a passphrase", func(w *world) openssh.Options {
			w.check(w.ssh.Authorize(w.keygen("locked", "-N", canary)))
			return openssh.Options{KeyFile: w.file("locked"), Passphrase: canary}
		}, "the key HOME/locked", ""},
		{"an RSA key in PEM with a passphrase", func(w *world) openssh.Options {
			w.check(w.ssh.Authorize(w.keygen("locked", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", canary)))
			return openssh.Options{KeyFile: w.file("locked"), Passphrase: canary}
		}, "the key HOME/locked", ""},
		{"another key", func(w *world) openssh.Options {
			w.keygen("other")
			return openssh.Options{KeyFile: w.file("other")}
		}, "", "the server accepts none of: the key HOME/other (SHA256:"},
		{"asked for another key, which keeps the agent out", func(w *world) openssh.Options {
			w.keygen("other")
			w.agent("key")
			return openssh.Options{KeyFile: w.file("other")}
		}, "", "the server accepts none of: the key HOME/other (SHA256:"},
		{"no key", func(w *world) openssh.Options { return openssh.Options{} }, "", "there is no key to log in with"},
		{"the usual file", func(w *world) openssh.Options {
			w.write(".ssh/id_ed25519", w.read("key"))
			return openssh.Options{}
		}, "the key HOME/.ssh/id_ed25519", ""},
		{"the usual file, locked", func(w *world) openssh.Options {
			w.keygen(".ssh/id_ecdsa", "-t", "ecdsa", "-N", canary)
			return openssh.Options{}
		}, "", "there is no key to log in with; not used: HOME/.ssh/id_ecdsa: it is encrypted, and IMGBUMP_SSH_KEY_PASSPHRASE is not set"},
		{"the usual file, wrong passphrase", func(w *world) openssh.Options {
			w.keygen(".ssh/id_ecdsa", "-t", "ecdsa", "-N", "right")
			return openssh.Options{Passphrase: canary}
		}, "", "HOME/.ssh/id_ecdsa: IMGBUMP_SSH_KEY_PASSPHRASE is not its passphrase"},
		{"an agent", func(w *world) openssh.Options {
			w.keygen("other")
			w.agent("other", "key")
			return openssh.Options{}
		}, `the agent's key "test" (SHA256:`, ""},
		{"an agent that is gone", func(w *world) openssh.Options {
			w.env["SSH_AUTH_SOCK"] = w.file("gone")
			return openssh.Options{}
		}, "", "the agent at HOME/gone: it does not answer"},
		{"an agent with the wrong key", func(w *world) openssh.Options {
			w.keygen("other")
			w.agent("other")
			return openssh.Options{}
		}, "", `the server accepts none of: the agent's key "test" (SHA256:`},
		{"an agent, switched off", func(w *world) openssh.Options {
			w.agent("key")
			w.write(".ssh/config", "IdentityAgent none\n")
			return openssh.Options{}
		}, "", "there is no key"},
		{"an agent, by its configured address", func(w *world) openssh.Options {
			w.agent("key")
			w.write(".ssh/config", "IdentityAgent "+w.env["SSH_AUTH_SOCK"]+"\n")
			delete(w.env, "SSH_AUTH_SOCK")
			return openssh.Options{}
		}, "the agent's key", ""},
		{"one of the agent's keys, by its public half", func(w *world) openssh.Options {
			w.keygen("other")
			w.agent("other", "key")
			w.write("only.pub", w.read("key.pub"))
			w.write(".ssh/config", "IdentitiesOnly yes\nIdentityFile ~/only.pub\n")
			return openssh.Options{}
		}, "the agent's key", ""},
		{"the agent's keys, but not the configured one", func(w *world) openssh.Options {
			w.keygen("other")
			w.agent("key")
			w.write(".ssh/config", "IdentitiesOnly yes\nIdentityFile ~/other\n")
			return openssh.Options{}
		}, "", "accepts none of: the key HOME/other"},
		{"a configured file", func(w *world) openssh.Options {
			w.write(".ssh/config", "Host 127.0.*\n  IdentityFile %d/key\n")
			return openssh.Options{}
		}, "the key HOME/key", ""},
		{"a file that git's command names", func(w *world) openssh.Options {
			return openssh.Options{Command: `"/usr/bin/ssh" -i "$HOME/key" -o StrictHostKeyChecking=yes -o CheckHostIP=no -o "UserKnownHostsFile=$HOME/.ssh/known_hosts"`}
		}, "the key HOME/key", ""},
		{"a relative file could be anybody's", func(w *world) openssh.Options {
			w.Chdir(w.home)
			return openssh.Options{Command: "ssh -i key"}
		}, "", "there is no key"},
		{"a relative home could be anybody's", func(w *world) openssh.Options {
			w.Chdir(w.home)
			w.write(".ssh/id_ed25519", w.read("key"))
			w.env["HOME"] = "."
			return openssh.Options{KnownHosts: w.file(".ssh/known_hosts")}
		}, "", "there is no key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			client, err := w.client(tt.prepare(w))
			w.check(err)
			err = w.run(client)
			got := strings.ReplaceAll(client.Credential(), w.home, "HOME")
			if tt.refused == "" {
				w.check(err)
				if !strings.HasPrefix(got, tt.credential) {
					t.Errorf("credential %s", got)
				}
				return
			}
			if err == nil {
				t.Fatal("the server let us in")
			}
			text := strings.ReplaceAll(err.Error(), w.home, "HOME")
			if fault.KindOf(err) != fault.Denied || !strings.Contains(text, tt.refused) || !strings.Contains(fault.HintOf(err), "--ssh-key") {
				t.Errorf("kind %v, err %s, hint %q", fault.KindOf(err), text, fault.HintOf(err))
			}
			if strings.Contains(text+strings.Join(w.warnings, ""), canary) {
				t.Errorf("the secret shows: %s %q", text, w.warnings)
			}
		})
	}
}

func TestUnusableKey(t *testing.T) {
	w := newWorld(t)
	w.keygen("locked", "-N", "right")
	for name, options := range map[string]openssh.Options{
		"the key HOME/none: no such file or directory":                                                                                {KeyFile: w.file("none")},
		"the key HOME/locked: it is encrypted, and IMGBUMP_SSH_KEY_PASSPHRASE is not set":                                             {KeyFile: w.file("locked")},
		"the key HOME/locked: IMGBUMP_SSH_KEY_PASSPHRASE is not its passphrase":                                                       {KeyFile: w.file("locked"), Passphrase: canary},
		"the key in IMGBUMP_SSH_KEY: it is not a private key that can be used here: FIDO keys and certificates work through an agent": {Key: canary, KeyName: "IMGBUMP_SSH_KEY"},
		"the key HOME/key.pub: it is not a private key that can be used here: FIDO keys and certificates work through an agent":       {KeyFile: w.file("key.pub")},
		"read the known hosts HOME/none: no such file or directory":                                                                   {KeyFile: w.file("key"), KnownHosts: w.file("none")},
	} {
		_, err := w.client(options)
		if fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" || strings.ReplaceAll(err.Error(), w.home, "HOME") != name {
			t.Errorf("got %v, hint %q, want %s", err, fault.HintOf(err), name)
		}
	}
}

// All commands share a connection; one that has died is made anew, whenever it dies.
func TestConnection(t *testing.T) {
	w := newWorld(t)
	client, err := w.client(openssh.Options{KeyFile: w.file("key")})
	w.check(err)
	for range 3 {
		w.check(w.run(client))
	}
	if got := w.ssh.Connections(); got != 1 {
		t.Errorf("%d connections", got)
	}
	w.ssh.Drop()
	w.check(w.run(client))
	if got := w.ssh.Connections(); got != 2 {
		t.Errorf("%d connections after one was dropped", got)
	}
	session, err := client.Run(t.Context(), "git-receive-pack '"+w.repository.Dir+"'")
	w.check(err)
	w.ssh.Drop()
	io.ReadAll(session.Stdout)
	if err := session.Wait(); err == nil || err.Error() != "the command on the server ended early" {
		t.Errorf("dropped: %v", err)
	}
	session, err = client.Run(t.Context(), "git-receive-pack '/nowhere'")
	w.check(err)
	io.ReadAll(session.Stdout)
	failed, ok := session.Wait().(*openssh.ExitError)
	if !ok || failed.Status != 128 || !strings.Contains(failed.Stderr, "does not appear to be a git repository") {
		t.Errorf("failed: %+v", failed)
	}
}

// A server that is not there, says nothing, or hangs up.
func TestUnreachable(t *testing.T) {
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.check(err)
	address := openssh.Address{User: "git", Host: "127.0.0.1", Port: strings.TrimPrefix(listener.Addr().String(), "127.0.0.1:")}
	client, err := w.to(address, openssh.Options{KeyFile: w.file("key")})
	w.check(err)

	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			conn.Read(make([]byte, 1))
			cancel(context.DeadlineExceeded)
			defer conn.Close()
		}
		if conn, err = listener.Accept(); err == nil {
			conn.Close()
		}
		listener.Close()
	}()
	if _, err := client.Run(ctx, "x"); err == nil || !strings.HasSuffix(err.Error(), context.DeadlineExceeded.Error()) {
		t.Errorf("silent: %v", err)
	}
	if _, err := client.Run(t.Context(), "x"); err == nil || !strings.HasPrefix(err.Error(), "reach git@127.0.0.1:") {
		t.Errorf("hung up: %v", err)
	}
	if _, err := client.Run(t.Context(), "x"); err == nil || !strings.HasPrefix(err.Error(), "reach git@127.0.0.1:") || fault.KindOf(err) != fault.Failed {
		t.Errorf("gone: %v", err)
	}
}

// Whom the session's context ends, it frees.
func TestUntil(t *testing.T) {
	w := newWorld(t)
	client, err := w.client(openssh.Options{KeyFile: w.file("key")})
	w.check(err)
	session, err := client.Run(t.Context(), "git-receive-pack '"+w.repository.Dir+"'")
	w.check(err)
	ctx, cancel := context.WithCancel(t.Context())
	session.Until(ctx)
	cancel()
	io.ReadAll(session.Stdout) // would wait for the command otherwise
	w.check(w.run(client))
}
