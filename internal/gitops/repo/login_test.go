package repo_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// with is options with an environment.
func with(env map[string]string) repo.Options {
	return repo.Options{Getenv: func(name string) string { return env[name] }}
}

func TestNetrc(t *testing.T) {
	for _, tt := range []struct{ name, file, text, want string }{
		{"found", ".netrc", "machine example.com login a password b\nmachine 127.0.0.1\n\tlogin x-access-token\n\tpassword " + secret + "\n", ""},
		{"in its other name", "_netrc", "machine 127.0.0.1 login x-access-token password " + secret, ""},
		{"default, quoted, behind a macro and a comment", ".netrc", "# machine 127.0.0.1 password no\nmacdef init\ncd /tmp\nmachine 127.0.0.1 login a password b\n\ndefault login \"x-access-token\" password \"" + secret + "\" # ours", ""},
		{"another machine", ".netrc", "machine example.com login x-access-token password " + secret, "a login is needed, and there is none for this host"},
		{"wrong", ".netrc", "machine 127.0.0.1 login x-access-token password " + secret + "x", "the server does not accept the login for 127.0.0.1 in HOME/.netrc"},
		{"no password", ".netrc", "machine 127.0.0.1 login x-access-token", "a login is needed"},
		{"committed", "relative", "machine 127.0.0.1 login x-access-token password " + secret, "a login is needed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, dir := private(t)
			home := t.TempDir()
			env := map[string]string{"HOME": home}
			if tt.file == "relative" {
				w.write(dir, "relative", tt.text)
				t.Chdir(dir)
				env["NETRC"] = "relative"
			} else {
				w.write(home, tt.file, tt.text)
			}
			w.refused(dir, with(env), tt.want, home)
		})
	}
	t.Run("by the user in the URL", func(t *testing.T) {
		w, dir := private(t)
		home := t.TempDir()
		w.write(home, ".netrc", "machine 127.0.0.1 login other password no\nmachine 127.0.0.1 login x-access-token password "+secret)
		w.git(dir, "remote", "set-url", "origin", strings.Replace(w.remote.URL, "http://", "http://x-access-token@", 1))
		w.refused(dir, with(map[string]string{"HOME": home}), "", home)
	})
}

// refused bumps, and checks that it fails with words, or not at all; the secret shows nowhere.
func (w *world) refused(dir string, o repo.Options, want, home string) {
	w.Helper()
	b, l := w.openRemote(dir, o)
	_, err := bump(w.Context(), b, "app:1", "app:2")
	text := message(err)
	if home != "" {
		text = strings.ReplaceAll(text, home, "HOME")
	}
	if want == "" {
		w.check(err)
		if !slices.Contains(l.masks, secret) {
			w.Errorf("not masked: %q", l.masks)
		}
	} else if fault.KindOf(err) != fault.Denied || !strings.Contains(text, want) || fault.HintOf(err) == "" {
		w.Errorf("kind %v, err %s, hint %q", fault.KindOf(err), text, fault.HintOf(err))
	}
	if strings.Contains(text+fault.HintOf(err)+strings.Join(l.warnings, ""), secret) {
		w.Errorf("the secret shows: %s %q", text, l.warnings)
	}
}

func TestCredentialHelpers(t *testing.T) {
	script := func(w *world, log, answer string) string {
		file := filepath.Join(w.TempDir(), "helper")
		w.check(os.WriteFile(file, []byte("#!/bin/sh\necho \"op=$1\" >>"+log+"\ncat >>"+log+"\nenv | grep -c IMGBUMP_ >>"+log+"\necho "+secret+" >&2\n"+answer), 0o755))
		return file
	}
	for _, tt := range []struct {
		name    string
		prepare func(w *world, dir, log string)
		want    string
		log     string
	}{
		{"git's own store", func(w *world, dir, log string) {
			file := filepath.Join(w.TempDir(), "store")
			w.write(file, strings.Replace(w.server.URL, "http://", "http://x-access-token:"+secret+"@", 1)+"\n")
			w.git(dir, "config", "credential.helper", "store --file="+file)
		}, "", ""},
		{"a program", func(w *world, dir, log string) {
			w.git(dir, "config", "credential.helper", script(w, log, "echo username=x-access-token; echo password="+secret))
		}, "", "op=get\nprotocol=http\nhost=ADDRESS\n\n0\nop=store\nprotocol=http\nhost=ADDRESS\nusername=x-access-token\npassword=" + secret + "\n\n0\n"},
		{"a snippet, for the server's URL, with the path and a user", func(w *world, dir, log string) {
			w.git(dir, "config", "credential.helper", "!echo quit=1; false")
			w.git(dir, "config", "--add", "credential.helper", "")
			w.git(dir, "config", "credential."+w.server.URL+".helper", "!"+script(w, log, "echo password="+secret)+" $0")
			w.git(dir, "config", "credential."+w.server.URL+".username", "x-access-token")
			w.git(dir, "config", "credential.useHttpPath", "true")
		}, "", "op=sh\nprotocol=http\nhost=ADDRESS\npath=org/app.git\nusername=x-access-token\n\n0\nop=sh\nprotocol=http\nhost=ADDRESS\npath=org/app.git\nusername=x-access-token\npassword=" + secret + "\n\n0\n"},
		{"a snippet that hands out a variable", func(w *world, dir, log string) {
			w.Setenv("GITHUB_TOKEN", secret)
			w.git(dir, "config", "credential.helper", "!echo username=x-access-token; echo password=$GITHUB_TOKEN; :")
		}, "", ""},
		{"one that knows a wrong login", func(w *world, dir, log string) {
			w.git(dir, "config", "credential.helper", script(w, log, "echo username=x-access-token; echo password=wr0ng"))
		}, "the server does not accept the login for ADDRESS from git's credential helper (helper)",
			"op=get\nprotocol=http\nhost=ADDRESS\n\n0\nop=erase\nprotocol=http\nhost=ADDRESS\nusername=x-access-token\npassword=wr0ng\n\n0\n"},
		{"one that fails after saying it", func(w *world, dir, log string) {
			w.git(dir, "config", "credential.helper", script(w, log, "echo username=x-access-token; echo password="+secret+"; exit 1"))
		}, "a login is needed", "op=get\nprotocol=http\nhost=ADDRESS\n\n0\n"},
		{"one that ends the search", func(w *world, dir, log string) {
			w.git(dir, "config", "credential.helper", "!echo quit=1; :")
			w.git(dir, "config", "--add", "credential.helper", script(w, log, ""))
		}, "a login is needed", ""},
		{"one that never stops talking", func(w *world, dir, log string) {
			w.git(dir, "config", "credential.helper", "!yes password="+secret+"; :")
		}, "a login is needed", ""},
		{"for another server", func(w *world, dir, log string) {
			w.git(dir, "config", "credential.https://github.com.helper", script(w, log, ""))
		}, "a login is needed", ""},
		{"a name that git does not know", func(w *world, dir, log string) {
			w.git(dir, "config", "credential.helper", "nobodyhasthis")
		}, "a login is needed", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("IMGBUMP_TOKEN", secret) // what a helper is not to see
			w, dir := private(t)
			log := filepath.Join(t.TempDir(), "log")
			w.write(log, "")
			tt.prepare(w, dir, log)
			host := strings.TrimPrefix(w.server.URL, "http://")
			w.refused(dir, repo.Options{}, strings.ReplaceAll(tt.want, "ADDRESS", host), "")
			w.equal("the helper was told", w.read(log), strings.ReplaceAll(tt.log, "ADDRESS", host))
		})
	}
}

// A remote's address cannot forge lines of a helper's request.
func TestForgedRequest(t *testing.T) {
	w, dir := private(t)
	log := filepath.Join(t.TempDir(), "log")
	w.write(log, "")
	w.git(dir, "config", "credential.helper", "!cat >>"+log+"; :")
	w.git(dir, "config", "remote.origin.url", strings.Replace(w.remote.URL, "http://", "http://x%0ahost=github.com@", 1))
	w.refused(dir, repo.Options{}, "does not accept the user in the remote's URL, without a password", "")
	w.equal("the helper was told", w.read(log), "")
}

// proxy is a forward proxy that takes every server for one that is here, and remembers what it was asked.
type proxy struct {
	*httptest.Server
	mu    sync.Mutex
	lines []string
}

func startProxy(t *testing.T, to string, login string) *proxy {
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.lines = append(p.lines, r.Method+" "+r.Host+" "+r.Header.Get("Authorization"))
		p.mu.Unlock()
		if login != "" && r.Header.Get("Proxy-Authorization") != login {
			http.Error(rw, "who are you?", http.StatusProxyAuthRequired)
			return
		}
		there, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		defer there.Close()
		if r.Method != http.MethodConnect {
			r.URL.Scheme, r.URL.Host, r.RequestURI = "http", to, ""
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			rw.WriteHeader(answer.StatusCode)
			io.Copy(rw, answer.Body)
			return
		}
		rw.WriteHeader(http.StatusOK)
		here, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer here.Close()
		go func() { io.Copy(there, buffered); there.(*net.TCPConn).CloseWrite() }()
		io.Copy(here, there)
	}))
	t.Cleanup(p.Close)
	return p
}

func TestProxy(t *testing.T) {
	t.Parallel()
	const asked = "CONNECT example.com:443 "
	for _, tt := range []struct {
		name    string
		prepare func(w *world, dir, proxy string) map[string]string
		asked   string
		want    string // part of the error
	}{
		{"HTTPS_PROXY", func(w *world, dir, proxy string) map[string]string {
			return map[string]string{"HTTPS_PROXY": proxy, "ALL_PROXY": "http://127.0.0.1:1"}
		}, asked, ""},
		{"https_proxy before it", func(w *world, dir, proxy string) map[string]string {
			return map[string]string{"https_proxy": proxy, "HTTPS_PROXY": "http://127.0.0.1:1"}
		}, asked, ""},
		{"ALL_PROXY, without a scheme", func(w *world, dir, proxy string) map[string]string {
			return map[string]string{"ALL_PROXY": strings.TrimPrefix(proxy, "http://")}
		}, asked, ""},
		{"http.proxy before the environment", func(w *world, dir, proxy string) map[string]string {
			w.git(dir, "config", "http.proxy", proxy)
			return map[string]string{"HTTPS_PROXY": "http://127.0.0.1:1"}
		}, asked, ""},
		{"http.URL.proxy before http.proxy", func(w *world, dir, proxy string) map[string]string {
			w.git(dir, "config", "http.proxy", "http://127.0.0.1:1")
			w.git(dir, "config", "http.https://*.com.proxy", proxy)
			return nil
		}, asked, ""},
		{"remote.NAME.proxy before it", func(w *world, dir, proxy string) map[string]string {
			w.git(dir, "config", "http.proxy", "http://127.0.0.1:1")
			w.git(dir, "config", "remote.origin.proxy", proxy)
			return nil
		}, asked, ""},
		{"with a login", func(w *world, dir, proxy string) map[string]string {
			w.git(dir, "config", "http.proxy", strings.Replace(proxy, "http://", "http://user:"+secret+"@", 1))
			return nil
		}, asked, ""},
		{"not there", func(w *world, dir, proxy string) map[string]string {
			return map[string]string{"HTTPS_PROXY": "http://user:" + secret + "@127.0.0.1:1"}
		}, "", "the proxy cannot be reached: dial tcp 127.0.0.1:1: "},
		{"of a kind nobody speaks", func(w *world, dir, proxy string) map[string]string {
			return map[string]string{"HTTPS_PROXY": "gopher://user:" + secret + "@127.0.0.1:1"}
		}, "", "the proxy gopher://127.0.0.1:1 (HTTPS_PROXY) is of a kind that is not supported"},
		{"unreadable", func(w *world, dir, proxy string) map[string]string {
			w.git(dir, "config", "http.proxy", "http://user:"+secret+"@[")
			return nil
		}, "", "the proxy that http.proxy names cannot be understood"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			dir := w.clone()
			secure, ca := w.secure()
			login := ""
			if tt.name == "with a login" {
				login = "Basic dXNlcjpnaHNfczNjcmV0"
			}
			p := startProxy(t, secure, login)
			w.git(dir, "remote", "set-url", "origin", "https://example.com/org/app.git")
			o := with(tt.prepare(w, dir, p.URL))
			o.CAFile = ca
			r, l := w.open(dir, o)
			b, err := r.Remote("origin", "")
			if err == nil {
				_, err = b.Tip(t.Context())
			}
			if tt.want == "" {
				w.check(err)
			} else if err == nil || !strings.Contains(err.Error(), tt.want) || fault.HintOf(err) == "" {
				t.Errorf("err %v, hint %q", err, fault.HintOf(err))
			}
			if got := strings.Join(slices.Compact(p.lines), "\n"); got != tt.asked {
				t.Errorf("the proxy was asked %q", got)
			}
			if strings.Contains(message(err)+fault.HintOf(err)+strings.Join(l.warnings, ""), secret) {
				t.Errorf("the secret shows: %v", err)
			}
		})
	}
	t.Run("not used", func(t *testing.T) {
		w := newWorld(t, gittest.Options{})
		dir := w.clone()
		env := map[string]string{"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "10.0.0.0/8,.example.com"}
		w.git(dir, "config", "remote.direct.proxy", "")
		r, _ := w.open(dir, with(env))
		for address, want := range map[string]string{"https://git.example.com": "", "https://10.1.2.3": "", "https://example.org": "http://127.0.0.1:1", "http://example.org": ""} {
			w.equal(address, r.ProxyOf("origin", address), want)
			w.equal(address+" without one", r.ProxyOf("direct", address), "")
		}
	})
	t.Run("refused", func(t *testing.T) {
		w := newWorld(t, gittest.Options{})
		dir := w.clone()
		p := startProxy(t, "127.0.0.1:1", "Basic x")
		w.git(dir, "remote", "set-url", "origin", "https://example.com/org/app.git")
		b, _ := w.openRemote(dir, with(map[string]string{"HTTPS_PROXY": p.URL}))
		_, err := b.Tip(t.Context())
		w.equal("err", message(err), "reach https://example.com/org/app.git: the proxy "+strings.TrimPrefix(p.URL, "http://")+" refuses to connect: 407 Proxy Authentication Required")
	})
}

func TestPushOptions(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	w.check(w.remote.Hook("pre-receive", `env | grep ^GIT_PUSH_OPTION | sort >`+filepath.Join(w.remote.Dir, "options")))
	bumpWith := func(o repo.Options, from, to string) error {
		b, _ := w.openRemote(dir, o)
		_, err := bump(t.Context(), b, from, to)
		return err
	}
	w.check(bumpWith(repo.Options{PushOptions: []string{"ci.skip", "merge_request.title=a b=c"}}, "app:1", "app:2"))
	w.equal("options", w.read(w.remote.Dir, "options"), "GIT_PUSH_OPTION_0=ci.skip\nGIT_PUSH_OPTION_1=merge_request.title=a b=c\nGIT_PUSH_OPTION_COUNT=2\n")
	w.check(w.remote.Fsck())

	w.git(dir, "config", "push.pushOption", "cleared")
	w.git(dir, "config", "--add", "push.pushOption", "")
	w.git(dir, "config", "--add", "push.pushOption", "configured")
	w.check(bumpWith(repo.Options{}, "app:2", "app:3"))
	w.equal("options", w.read(w.remote.Dir, "options"), "GIT_PUSH_OPTION_0=configured\nGIT_PUSH_OPTION_COUNT=1\n")
	w.check(bumpWith(repo.Options{PushOptions: []string{"asked for"}}, "app:3", "app:4"))
	w.equal("options", w.read(w.remote.Dir, "options"), "GIT_PUSH_OPTION_0=asked for\nGIT_PUSH_OPTION_COUNT=1\n")

	r, _ := w.open(dir, repo.Options{PushOptions: []string{"two\nlines"}})
	_, err := r.Remote("origin", "")
	w.equal("two lines", fault.KindOf(err), fault.Usage)
	w.git(w.remote.Dir, "config", "receive.advertisePushOptions", "false")
	seen := len(w.server.Requests())
	err = bumpWith(repo.Options{}, "app:4", "app:5")
	if fault.KindOf(err) != fault.Failed || !strings.Contains(message(err), "the server takes none") || !strings.Contains(fault.HintOf(err), "--push-option") {
		t.Errorf("err %v, hint %q", err, fault.HintOf(err))
	}
	for _, request := range w.server.Requests()[seen:] {
		if request.Method == http.MethodPost && strings.HasSuffix(request.URL, "git-receive-pack") {
			t.Error("it was sent all the same")
		}
	}
}

func TestProtected(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]bool{
		"error: GH006: Protected branch update failed for refs/heads/main.":               true,
		"error: GH013: Repository rule violations found for refs/heads/main.":             true,
		"GitLab: You are not allowed to push code to protected branches on this project.": true,
		"Gitea: Not allowed to push to protected branch main":                             true,
		"Branch refs/heads/main can only be modified through pull requests.":              true,
		"the commit message lacks a ticket":                                               false,
	} {
		w := newWorld(t, gittest.Options{})
		dir := w.clone()
		w.check(w.remote.Hook("pre-receive", "echo '"+words+"' >&2; exit 1"))
		b, _ := w.openRemote(dir, repo.Options{})
		_, err := bump(t.Context(), b, "app:1", "app:2")
		if repo.Protected(err) != want || fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: %v", words, err)
		}
	}
	if repo.Protected(io.EOF) || repo.Protected(nil) {
		t.Error("what is no refusal is no protected branch")
	}
}

// secure puts TLS before the server: its address, and the file of the authority that signs for example.com.
func (w *world) secure() (address, ca string) {
	w.Helper()
	server := httptest.NewTLSServer(w.server)
	w.Cleanup(server.Close)
	ca = filepath.Join(w.TempDir(), "ca.pem")
	w.write(ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return server.Listener.Addr().String(), ca
}

// A helper that waits for somebody is ended with all that it started.
func TestHelperThatWaits(t *testing.T) {
	w, dir := private(t)
	pipe := filepath.Join(t.TempDir(), "pipe")
	w.check(syscall.Mkfifo(pipe, 0o600))
	w.git(dir, "config", "credential.helper", "!(exec 9>"+pipe+"; echo >&9; exec sleep 60); :")
	b, _ := w.openRemote(dir, repo.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		open, err := os.Open(pipe)
		if err == nil {
			_, err = open.Read(make([]byte, 1)) // when it waits
		}
		cancel()
		if err == nil {
			_, err = io.ReadAll(open) // until it has ended
		}
		ended <- err
	}()
	if _, err := b.Tip(ctx); err == nil {
		t.Error("the server let us in")
	}
	select {
	case err := <-ended:
		w.check(err)
	case <-time.After(10 * time.Second):
		t.Error("what the helper started goes on")
	}
}

func TestClientCertificate(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	server := httptest.NewUnstartedServer(w.server)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	home := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	w.check(err)
	w.write(home, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	w.write(home, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	w.git(dir, "remote", "set-url", "origin", server.URL+"/org/app.git")
	w.git(dir, "config", "http.sslCAInfo", filepath.Join(home, "cert.pem"))
	o := with(map[string]string{"HOME": home})
	b, _ := w.openRemote(dir, o)
	if _, err := b.Tip(t.Context()); err == nil {
		t.Error("the server asks nobody for a certificate")
	}
	w.git(dir, "config", "http."+server.URL+".sslCert", "~/cert.pem")
	r, _ := w.open(dir, o)
	_, err = r.Remote("origin", "")
	w.equal("a certificate without its key", fault.KindOf(err), fault.Usage)
	w.git(dir, "config", "http."+server.URL+".sslKey", "~/key.pem")
	b, _ = w.openRemote(dir, o)
	_, err = b.Tip(t.Context())
	w.check(err)
}

// What git -c and workflows set in the environment counts more than files.
func TestConfigurationInTheEnvironment(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	w.git(dir, "config", "url.https://file.example.com/.insteadOf", w.server.URL+"/")
	b, _ := w.openRemote(dir, with(map[string]string{
		"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "url.https://env.Example.com/.insteadOf", "GIT_CONFIG_VALUE_0": w.server.URL + "/org/",
		"GIT_CONFIG_KEY_1": "nonsense", "GIT_CONFIG_VALUE_1": "x",
	}))
	w.equal("URL", b.URL(), "https://env.Example.com/app.git")
}
