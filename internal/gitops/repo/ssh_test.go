package repo_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/ksera524/imgbump/internal/openssh"
)

// sshWorld is a world whose repository is reached through a real sshd, a checkout of it, and a home folder whose
// known_hosts has the server.
type sshWorld struct {
	*world
	ssh  *gittest.SSH
	dir  string
	home string
	env  map[string]string
}

func newSSHWorld(t *testing.T) *sshWorld {
	t.Helper()
	w := &sshWorld{world: newWorld(t, gittest.Options{}), home: t.TempDir()}
	w.env = map[string]string{"HOME": w.home, "GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_NOSYSTEM": "1"}
	public, err := gittest.Keygen(filepath.Join(w.home, "key"))
	w.check(err)
	w.ssh, err = w.server.SSH(public)
	w.check(err)
	t.Cleanup(func() { w.check(w.ssh.Close()) })
	w.check(os.Mkdir(filepath.Join(w.home, ".ssh"), 0o700))
	w.write(w.home, ".ssh", "known_hosts", w.ssh.KnownHosts)
	w.dir = w.clone("--depth=1")
	w.git(w.dir, "remote", "set-url", "origin", w.ssh.URL(w.remote))
	return w
}

func (w *sshWorld) options() repo.Options {
	return repo.Options{
		SSH:    openssh.Options{KeyFile: filepath.Join(w.home, "key")},
		Getenv: func(name string) string { return w.env[name] },
	}
}

func TestSSH(t *testing.T) {
	t.Parallel()
	relative := func(w *sshWorld) string { return "org/app.git" }
	for _, tt := range []struct {
		name    string
		address func(w *sshWorld) string
		prepare func(w *sshWorld, o *repo.Options)
	}{
		{"a URL", func(w *sshWorld) string { return w.ssh.URL(w.remote) }, nil},
		{"a URL below the home folder", func(w *sshWorld) string { return "ssh://" + w.ssh.User + "@" + w.ssh.Address + "/~/" + relative(w) }, nil},
		{"git+ssh, and a password that SSH has no use for", func(w *sshWorld) string {
			return strings.Replace(w.ssh.URL(w.remote), "ssh://"+w.ssh.User, "git+ssh://"+w.ssh.User+":"+secret, 1)
		}, nil},
		{"host:path, with the port from ssh's configuration", func(w *sshWorld) string { return w.ssh.User + "@work:" + w.remote.Dir }, func(w *sshWorld, o *repo.Options) {
			_, port, _ := net.SplitHostPort(w.ssh.Address)
			w.write(w.home, ".ssh", "config", "Host work\n HostName 127.0.0.1\n Port "+port+"\n IdentityFile ~/key\n")
			o.SSH = openssh.Options{}
		}},
		{"what actions/checkout leaves", func(w *sshWorld) string { return w.ssh.URL(w.remote) }, func(w *sshWorld, o *repo.Options) {
			w.write(w.home, "known", w.ssh.KnownHosts)
			w.git(w.dir, "config", "core.sshCommand", `"/usr/bin/ssh" -i "`+w.home+`/key" -o StrictHostKeyChecking=yes -o CheckHostIP=no -o "UserKnownHostsFile=`+w.home+`/known"`)
			o.SSH = openssh.Options{}
			w.check(os.Remove(filepath.Join(w.home, ".ssh", "known_hosts")))
		}},
		{"GIT_SSH_COMMAND before it", func(w *sshWorld) string { return w.ssh.URL(w.remote) }, func(w *sshWorld, o *repo.Options) {
			w.git(w.dir, "config", "core.sshCommand", "ssh -i /nowhere")
			w.env["GIT_SSH_COMMAND"] = "ssh -i ~/key"
			o.SSH = openssh.Options{}
		}},
		{"pushInsteadOf", func(w *sshWorld) string { return "https://example.com/app.git" }, func(w *sshWorld, o *repo.Options) {
			w.git(w.dir, "config", "url."+strings.TrimSuffix(w.ssh.URL(w.remote), "/app.git")+"/.pushInsteadOf", "https://example.com/")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newSSHWorld(t)
			o := w.options()
			if tt.prepare != nil {
				tt.prepare(w, &o)
			}
			w.git(w.dir, "remote", "set-url", "origin", tt.address(w))
			w.push(fstest.MapFS{"another": {Data: []byte("commit\n")}})
			b, l := w.openRemote(w.dir, o)
			_, err := bump(t.Context(), b, "app:1", "app:2")
			w.check(err)
			w.equal("file", w.git(w.remote.Dir, "show", "main:apps/b/dep.yaml"), "image: registry.example.com/app:2")
			w.sound(w.dir)
			w.equal("connections", w.ssh.Connections(), 1)
			if strings.Contains(b.URL()+strings.Join(l.warnings, ""), secret) {
				t.Errorf("the secret shows: %s %q", b.URL(), l.warnings)
			}
		})
	}
}

func TestSSHFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		prepare func(w *sshWorld, o *repo.Options)
		kind    fault.Kind
		want    string
	}{
		{"another key", func(w *sshWorld, o *repo.Options) {
			_, err := gittest.Keygen(filepath.Join(w.home, "other"))
			w.check(err)
			o.SSH.KeyFile = filepath.Join(w.home, "other")
		}, fault.Denied, "log in to USER@ADDRESS: the server accepts none of: the key HOME/other (SHA256:"},
		{"unknown host", func(w *sshWorld, o *repo.Options) {
			w.write(w.home, ".ssh", "known_hosts", "")
			w.git(w.dir, "config", "core.sshCommand", "ssh -o StrictHostKeyChecking=no")
		}, fault.Failed, "its host key is not known"},
		{"changed host key", func(w *sshWorld, o *repo.Options) {
			changed, err := gittest.Keygen(filepath.Join(w.home, "other"))
			w.check(err)
			host, _, _ := strings.Cut(w.ssh.KnownHosts, " ")
			w.write(w.home, ".ssh", "known_hosts", host+" "+changed)
		}, fault.Failed, "its host key HAS CHANGED"},
		{"no such repository", func(w *sshWorld, o *repo.Options) {
			w.git(w.dir, "remote", "set-url", "origin", w.ssh.URL(w.remote)+"x")
		}, fault.Failed, "no such repository, or it is hidden from the key HOME/key (SHA256:"},
		{"a key that may only read", func(w *sshWorld, o *repo.Options) {
			w.check(w.ssh.Says("git-receive-pack", "ERROR: The key you are authenticating with has been marked as read only.\x1b[31m", 1))
		}, fault.Denied, "no right, with the key HOME/key (SHA256:"},
		{"a command that fails", func(w *sshWorld, o *repo.Options) {
			w.check(w.ssh.Says("git-upload-pack", "boom", 7))
		}, fault.Failed, "the server's git ended with status 7, logged in with the key HOME/key (SHA256:"},
		{"a protected branch", func(w *sshWorld, o *repo.Options) {
			w.check(w.remote.Hook("pre-receive", "echo GH006: Protected branch update failed >&2; exit 1"))
		}, fault.Denied, "the server says: GH006: Protected branch update failed"},
		{"an address without a repository", func(w *sshWorld, o *repo.Options) {
			w.git(w.dir, "remote", "set-url", "origin", "ssh://git@example.com/")
		}, fault.Usage, "names no repository"},
		{"an option instead of a host", func(w *sshWorld, o *repo.Options) {
			w.git(w.dir, "config", "remote.origin.url", "-oProxyCommand=x:app.git")
		}, fault.Usage, "names no server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newSSHWorld(t)
			o := w.options()
			o.SSH.Passphrase = secret
			tt.prepare(w, &o)
			before := w.git(w.remote.Dir, "for-each-ref")
			r, l := w.open(w.dir, o)
			b, err := r.Remote("origin", "")
			if err == nil {
				_, err = bump(t.Context(), b, "app:1", "app:2")
			}
			text := strings.NewReplacer(w.home, "HOME", w.ssh.User+"@", "USER@", w.ssh.Address, "ADDRESS").Replace(message(err))
			if fault.KindOf(err) != tt.kind || !strings.Contains(text, tt.want) || fault.HintOf(err) == "" && tt.kind != fault.Failed {
				t.Errorf("kind %v, err %s, hint %q", fault.KindOf(err), text, fault.HintOf(err))
			}
			if strings.Contains(text+fault.HintOf(err)+strings.Join(l.warnings, ""), secret) || strings.Contains(text, "\x1b") {
				t.Errorf("it shows: %q", text)
			}
			w.equal("refs", w.git(w.remote.Dir, "for-each-ref"), before)
		})
	}
}

// A push whose answer is lost did happen, or it did not: the branch says which. A connection that is lost is made anew.
func TestSSHDropped(t *testing.T) {
	t.Parallel()
	w := newSSHWorld(t)
	b, _ := w.openRemote(w.dir, w.options())
	_, err := b.Tip(t.Context())
	w.check(err)
	w.ssh.Drop()
	w.check(w.remote.Hook("pre-receive", "kill -9 $PPID"))
	_, err = bump(t.Context(), b, "app:1", "app:2")
	if fault.KindOf(err) != fault.Failed || !strings.Contains(message(err), "the server's git ended") {
		t.Errorf("err = %v", err)
	}
	w.equal("not pushed", w.git(w.remote.Dir, "show", "main:apps/b/dep.yaml"), "image: registry.example.com/app:1")
	w.check(w.remote.Hook("pre-receive", ""))
	w.check(w.remote.Hook("post-receive", "kill -9 $PPID"))
	_, err = bump(t.Context(), b, "app:1", "app:2")
	w.check(err)
	w.equal("pushed", w.git(w.remote.Dir, "show", "main:apps/b/dep.yaml"), "image: registry.example.com/app:2")
	w.equal("connections", w.ssh.Connections(), 2)
}

// A server that answers nothing any more does not hold us up for longer than the caller wants.
func TestSSHSilence(t *testing.T) {
	t.Parallel()
	w := newSSHWorld(t)
	w.check(w.ssh.Says("git-upload-pack", "", -1))
	b, _ := w.openRemote(w.dir, w.options())
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := b.Tip(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
}

// The server's hooks run to their end before a push is over.
func TestHooksAfterPush(t *testing.T) {
	for name, address := range map[string]func(w *sshWorld) string{
		"ssh":  func(w *sshWorld) string { return w.ssh.URL(w.remote) },
		"file": func(w *sshWorld) string { return w.remote.Dir },
	} {
		t.Run(name, func(t *testing.T) {
			for _, name := range []string{"IMGBUMP_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "npm_password", "ACTIONS_RUNTIME", "INPUT_X", "GIT_CONFIG_PARAMETERS"} {
				t.Setenv(name, secret)
			}
			w := newSSHWorld(t)
			w.git(w.dir, "remote", "set-url", "origin", address(w))
			w.check(w.remote.Hook("post-receive", "sleep 0.3; echo words; env >"+filepath.Join(w.home, "env")+".new && mv "+filepath.Join(w.home, "env")+".new "+filepath.Join(w.home, "env")))
			b, _ := w.openRemote(w.dir, w.options())
			_, err := bump(t.Context(), b, "app:1", "app:2")
			w.check(err)
			if strings.Contains(w.read(w.home, "env"), secret) {
				t.Error("the hook sees our secrets")
			}
			if !strings.Contains(w.read(w.home, "env"), "\nPATH=") {
				t.Error("the hook has no PATH")
			}
		})
	}
}
