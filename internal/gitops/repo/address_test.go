package repo_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

func TestAddresses(t *testing.T) {
	r, err := repo.NoCheckout(repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for address, want := range map[string]string{
		"https://git.example.com/team/app.git/":  "https://git.example.com/team/app.git",
		"https://git.example.com/team/app//":     "https://git.example.com/team/app",
		"ssh://git@git.example.com/team/app/":    "ssh://git@git.example.com/team/app",
		"git@git.example.com:team/app/":          "ssh://git@git.example.com/team/app",
		"https://u:p@git.example.com/team/app/?": "ends with ? or #",
		"https://u:p@git.example.com/app?x=p":    "ends with ? or #",
		"https://u:p@git.example.com/app#p":      "ends with ? or #",
		"ssh://git@git.example.com/":             "names no repository",
		"https://u:p@/app":                       "names no server",
	} {
		b, err := r.Remote(address, "main")
		if err == nil && b.URL() != want || err != nil && (!strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Usage) {
			t.Errorf("%s: %v, %v; want %s", address, b, err, want)
		}
		if strings.Contains(message(err), "u:p") || strings.Contains(message(err), "x=p") {
			t.Errorf("a secret shows: %v", err)
		}
	}
	for path, hint := range map[string]string{
		"github.com/team/gitops": "if it is on a server: https://github.com/team/gitops",
		"../nowhere":             "check the path", "/nowhere": "check the path", "./a.b/c": "check the path",
	} {
		_, err := r.Remote(path, "main")
		if fault.KindOf(err) != fault.Usage || fault.HintOf(err) != hint || !strings.HasSuffix(err.Error(), "no such file or directory") {
			t.Errorf("%s: %v (%s)", path, err, fault.HintOf(err))
		}
	}
}

// A remote may be called like a path.
func TestRemoteWithASlash(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	w.git(dir, "remote", "rename", "origin", "team/up")
	r, l := w.open(dir, repo.Options{})
	b, err := r.Remote("team/up", "")
	w.check(err)
	commit, err := bump(t.Context(), b, "app:1", "app:2")
	w.check(err)
	w.equal("warnings", l.warnings, []string(nil))
	w.followed(dir, commit)
	w.equal("tracking branch", w.git(dir, "rev-parse", "team/up/main"), commit)
}

// What is pushed to another repository is no commit of the checkout's branch, although that has the same name.
func TestAnotherRepository(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	w.git(dir, "commit", "-q", "--allow-empty", "-m", "mine")
	other, err := w.server.Create("org/other.git")
	w.check(err)
	w.git(other.Dir, "fetch", "-q", w.remote.Dir, "main:main")
	state := w.state(dir)
	for _, address := range []string{other.URL, other.Dir} {
		r, l := w.open(dir, repo.Options{})
		b, err := r.Remote(address, "main")
		w.check(err)
		_, err = bump(t.Context(), b, "app:", "app:1")
		w.check(err)
		w.equal("state", w.state(dir), state)
		w.equal("warnings", l.warnings, []string(nil))
	}
}

// A page that is no list of refs, and a list of names that are longer than ours, are told apart from a broken server.
func TestNoGitServer(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	page := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.Write([]byte("<html><script>alert(1)</script>" + strings.Repeat("x", 2000)))
	}))
	t.Cleanup(page.Close)
	_, err := w.tip(page.URL + "/team/app")
	w.equal("a page", message(err), "reach "+page.URL+"/team/app: it answers, but is no git server, or speaks git's old protocol only")
	if !strings.Contains(fault.HintOf(err), "check the address") {
		t.Errorf("hint %q", fault.HintOf(err))
	}
	long := filepath.Join(filepath.Dir(w.remote.Dir), "long.git")
	w.git("", "init", "-q", "--bare", "--object-format=sha256", long)
	tree := w.git(long, "hash-object", "-w", "-t", "tree", os.DevNull)
	w.git(long, "update-ref", "refs/heads/main", w.git(long, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-m", "first", tree))
	for _, address := range []string{w.server.URL + "/org/long.git", long} {
		_, err = w.tip(address)
		w.equal("longer names", message(err), "reach "+address+": sha256 repositories are not supported yet")
	}
}

// tip asks a server for its default branch.
func (w *world) tip(address string) (string, error) {
	b, _ := w.noCheckout(address, "")
	return b.Tip(w.Context())
}
