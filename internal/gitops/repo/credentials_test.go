package repo_test

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

const secret = "ghs_s3cret"

// private is a world whose server wants a login, and a checkout of it without one.
func private(t *testing.T) (*world, string) {
	w := newWorld(t, gittest.Options{Username: "x-access-token", Password: secret})
	return w, w.clone("--depth=1")
}

func header(password string) string {
	return "AUTHORIZATION: basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+password))
}

func only(host string, c repo.Credential) func(context.Context, *url.URL) (repo.Credential, error) {
	return func(_ context.Context, address *url.URL) (repo.Credential, error) {
		if address.Host != host {
			return repo.Credential{}, nil
		}
		return c, nil
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	host := func(w *world) string { return strings.TrimPrefix(w.server.URL, "http://") }
	for _, tt := range []struct {
		name    string
		prepare func(w *world, dir string) repo.Options
		want    string // part of the error
		masked  bool
	}{
		{"none", func(w *world, dir string) repo.Options { return repo.Options{} }, "a login is needed, and there is none for this host", false},
		{"asked for", func(w *world, dir string) repo.Options {
			return repo.Options{Credential: only(host(w), repo.Credential{Secret: secret, Name: "IMGBUMP_TOKEN"})}
		}, "", false},
		{"wrong", func(w *world, dir string) repo.Options {
			return repo.Options{Credential: only(host(w), repo.Credential{Secret: "wr0ng", Name: "IMGBUMP_TOKEN"})}
		}, "the server does not accept IMGBUMP_TOKEN", false},
		{"for another host", func(w *world, dir string) repo.Options {
			return repo.Options{Credential: only("github.com", repo.Credential{Secret: secret, Name: "GITHUB_TOKEN"})}
		}, "a login is needed", false},
		{"actions/checkout v4", func(w *world, dir string) repo.Options {
			w.git(dir, "config", "http."+w.server.URL+"/.extraheader", header(secret))
			return repo.Options{}
		}, "", true},
		{"actions/checkout of another host", func(w *world, dir string) repo.Options {
			w.git(dir, "config", "http.https://github.com/.extraheader", header(secret))
			return repo.Options{}
		}, "a login is needed", false},
		{"actions/checkout v4, expired", func(w *world, dir string) repo.Options {
			w.git(dir, "config", "http."+w.server.URL+"/.extraheader", header("wr0ng"))
			return repo.Options{}
		}, "does not accept the credential in git's configuration (http.extraheader)", false},
		{"actions/checkout v6", func(w *world, dir string) repo.Options {
			file := filepath.Join(w.TempDir(), "git-credentials-1234.config")
			w.git("", "config", "--file", file, "http."+w.server.URL+"/.extraheader", header(secret))
			link := filepath.Join(w.TempDir(), "_work") // as a runner's work folder may be one
			w.check(os.Symlink(filepath.Dir(dir), link))
			w.git(dir, "config", "includeIf.gitdir:/github/workspace/.git.path", "/github/runner_temp/git-credentials-1234.config")
			w.git(dir, "config", "includeIf.gitdir:"+filepath.Join(link, filepath.Base(dir))+"/.git.path", file)
			return repo.Options{}
		}, "", true},
		{"included for another repository", func(w *world, dir string) repo.Options {
			file := filepath.Join(w.TempDir(), "config")
			w.git("", "config", "--file", file, "http."+w.server.URL+"/.extraheader", header(secret))
			w.git(dir, "config", "includeIf.gitdir:"+dir+"x/.git.path", file)
			return repo.Options{}
		}, "a login is needed", false},
		{"the remote's URL", func(w *world, dir string) repo.Options {
			w.git(dir, "remote", "set-url", "origin", strings.Replace(w.remote.URL, "http://", "http://x-access-token:"+secret+"@", 1))
			return repo.Options{}
		}, "", true},
		{"insteadOf", func(w *world, dir string) repo.Options {
			w.git(dir, "config", "url."+strings.Replace(w.server.URL, "http://", "http://x-access-token:"+secret+"@", 1)+"/.insteadOf", "git@example.com:")
			w.git(dir, "remote", "set-url", "origin", "git@example.com:org/app.git")
			return repo.Options{}
		}, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, dir := private(t)
			b, l := w.openRemote(dir, tt.prepare(w, dir))
			_, err := bump(t.Context(), b, "app:1", "app:2")
			if tt.want == "" {
				w.check(err)
			} else if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), tt.want) || fault.HintOf(err) == "" {
				t.Errorf("kind %v, err %v, hint %q", fault.KindOf(err), err, fault.HintOf(err))
			}
			if got := slices.Contains(l.masks, secret); got != tt.masked {
				t.Errorf("masked %v: %q", got, l.masks)
			}
			if strings.Contains(message(err)+strings.Join(l.warnings, ""), secret) || strings.Contains(b.URL(), secret) {
				t.Errorf("the secret shows: %v, %q, %s", err, l.warnings, b.URL())
			}
		})
	}
}

// A redirect to another origin is followed without our credential; another port is enough.
func TestRedirectGetsNoCredential(t *testing.T) {
	w, dir := private(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, w.server.URL+r.URL.RequestURI(), http.StatusFound)
	}))
	t.Cleanup(elsewhere.Close)
	w.git(dir, "remote", "set-url", "origin", elsewhere.URL+"/org/app.git")
	host := strings.TrimPrefix(elsewhere.URL, "http://")
	b, _ := w.openRemote(dir, repo.Options{Credential: only(host, repo.Credential{Secret: secret, Name: "IMGBUMP_TOKEN"})})
	seen := len(w.server.Requests())
	_, err := bump(t.Context(), b, "app:1", "app:2")
	w.equal("kind", fault.KindOf(err), fault.Denied)
	got := w.server.Requests()[seen:]
	if len(got) == 0 {
		t.Fatal("the redirect was not followed")
	}
	for _, request := range got {
		w.equal(request.URL, request.Authorization, "")
	}
}

func TestCertificateAuthority(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	secure := httptest.NewUnstartedServer(w.server)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	w.git(dir, "remote", "set-url", "origin", secure.URL+"/org/app.git")
	file := filepath.Join(t.TempDir(), "ca.pem")
	w.write(file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))

	b, _ := w.openRemote(dir, repo.Options{})
	_, err := b.Tip(t.Context())
	if !strings.Contains(message(err), "certificate signed by unknown authority") || !strings.Contains(fault.HintOf(err), "CA") {
		t.Errorf("err %v, hint %q", err, fault.HintOf(err))
	}
	w.git(dir, "config", "http.sslVerify", "false")
	b, _ = w.openRemote(dir, repo.Options{})
	_, err = b.Tip(t.Context())
	if !strings.Contains(message(err), "unknown authority") || !strings.HasPrefix(fault.HintOf(err), "http.sslVerify=false is not followed; ") {
		t.Errorf("unverified: err %v, hint %q", err, fault.HintOf(err))
	}
	b, _ = w.openRemote(dir, repo.Options{CAFile: file})
	_, err = b.Tip(t.Context())
	w.check(err)
	w.git(dir, "config", "http.sslCAInfo", file)
	b, _ = w.openRemote(dir, repo.Options{})
	commit, err := bump(t.Context(), b, "app:1", "app:2")
	w.check(err)
	w.followed(dir, commit)

	r, _ := w.open(dir, repo.Options{CAFile: filepath.Join(dir, "README")})
	_, err = r.Remote("origin", "")
	w.equal("no certificate", fault.KindOf(err), fault.Usage)
}

func TestForbiddenAndNotFound(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	status := http.StatusForbidden
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Error(rw, "<html>"+r.Header.Get("Authorization"), status)
	}))
	t.Cleanup(server.Close)
	w.git(dir, "remote", "set-url", "origin", server.URL+"/org/app.git")
	host := strings.TrimPrefix(server.URL, "http://")
	b, _ := w.openRemote(dir, repo.Options{Credential: only(host, repo.Credential{Secret: secret, Name: "GITHUB_TOKEN"})})
	_, err := b.Tip(t.Context())
	w.equal("403", []any{fault.KindOf(err), message(err)}, []any{fault.Denied, "reach " + b.URL() + ": no right to write, with GITHUB_TOKEN"})
	status = http.StatusNotFound
	_, err = b.Tip(t.Context())
	w.equal("404", []any{fault.KindOf(err), message(err)}, []any{fault.Failed, "reach " + b.URL() + ": no such repository, or it is hidden from GITHUB_TOKEN"})
}
