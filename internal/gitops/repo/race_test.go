package repo_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// Eight writers bump their own line of one file three times each; none is lost, and no merge is needed.
func TestRace(t *testing.T) {
	t.Parallel()
	const writers, times = 8, 3
	w := newWorld(t, gittest.Options{})
	start := fstest.MapFS{}
	for i := range writers {
		start["all.yaml"] = &fstest.MapFile{Data: fmt.Appendf(bytesOf(start["all.yaml"]), "app%d:0\n", i)}
	}
	w.push(start)
	var wg sync.WaitGroup
	for i := range writers {
		dir := w.clone("--depth=1")
		b, _ := w.openRemote(dir, repo.Options{})
		wg.Go(func() {
			for n := range times {
				for {
					_, err := bump(t.Context(), b, fmt.Sprintf("app%d:%d\n", i, n), fmt.Sprintf("app%d:%d\n", i, n+1), "all.yaml")
					if err == nil {
						break
					}
					if fault.KindOf(err) != fault.Conflict {
						t.Errorf("writer %d: %v", i, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	got, err := w.remote.File("main", "all.yaml")
	w.check(err)
	w.equal("file", got, strings.ReplaceAll(string(start["all.yaml"].Data), ":0", ":3"))
	w.equal("commits", w.git(w.remote.Dir, "rev-list", "--count", "--no-merges", "main"), fmt.Sprint(2+writers*times))
	w.check(w.remote.Fsck())
}

func bytesOf(f *fstest.MapFile) []byte {
	if f == nil {
		return nil
	}
	return f.Data
}

// Somebody pushes between our look at the branch and our push.
func TestSomebodyIsFirst(t *testing.T) {
	var w *world
	var once sync.Once
	w = newWorld(t, gittest.Options{BeforePush: func(string) {
		once.Do(func() { w.push(fstest.MapFS{"README": {Data: []byte("theirs")}}) })
	}})
	dir := w.clone("--depth=1")
	b, _ := w.openRemote(dir, repo.Options{})
	before := w.git(dir, "rev-parse", "HEAD")
	_, err := bump(t.Context(), b, "app:1", "app:2")
	w.equal("kind", fault.KindOf(err), fault.Conflict)
	w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), before)
	w.equal("objects left behind", w.git(dir, "count-objects"), "0 objects, 0 kilobytes")
	w.clean(dir)
	_, err = bump(t.Context(), b, "app:1", "app:2")
	w.check(err)
	w.equal("subjects", w.git(w.remote.Dir, "log", "--format=%s", "main"), "bump app:2\nsomebody's commit\nsomebody's commit")
	w.sound(dir)
}

func TestProtectedBranch(t *testing.T) {
	t.Parallel()
	for _, hook := range []string{"pre-receive", "update"} {
		t.Run(hook, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			w.check(w.remote.Hook(hook, "printf 'GH006: \\033[31mProtected\\nbranch\\n' >&2; exit 1"))
			dir := w.clone()
			b, _ := w.openRemote(dir, repo.Options{})
			before := w.git(dir, "rev-parse", "HEAD")
			_, err := bump(t.Context(), b, "app:1", "app:2")
			w.equal("kind", fault.KindOf(err), fault.Denied)
			status := map[string]string{"pre-receive": "pre-receive hook declined", "update": "hook declined"}[hook]
			if want := "push to main of " + w.remote.URL + ": refused: " + status + "; the server says: GH006: [31mProtected branch"; !strings.HasPrefix(message(err), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if !strings.Contains(fault.HintOf(err), "protected") {
				t.Errorf("hint %q", fault.HintOf(err))
			}
			w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), before)
			w.clean(dir)
		})
	}
}

// A server that cannot store a commit is in trouble; nobody lacks a right.
func TestServerCannotUnpack(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.git(w.remote.Dir, "config", "receive.maxInputSize", "10")
	b, _ := w.openRemote(w.clone(), repo.Options{})
	_, err := bump(t.Context(), b, "app:1", "app:2")
	w.equal("kind", fault.KindOf(err), fault.Failed)
	if !strings.Contains(message(err), "refused: unpack ") || !strings.Contains(fault.HintOf(err), "disk") {
		t.Errorf("err %v, hint %q", err, fault.HintOf(err))
	}
}

// A refusal that passes, as another push's lock does, is not final.
func TestRefusedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	w.check(w.remote.Hook("update", "[ -e refused ] || { touch refused; exit 1; }"))
	dir := w.clone()
	b, _ := w.openRemote(dir, repo.Options{})
	commit, err := bump(t.Context(), b, "app:1", "app:2")
	w.check(err)
	w.followed(dir, commit)
}

// The server takes the commit, but its answer is lost.
func TestAnswerLost(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	lossy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			w.server.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		w.server.ServeHTTP(rw, r)
	}))
	t.Cleanup(lossy.Close)
	dir := w.clone()
	w.git(dir, "remote", "set-url", "origin", lossy.URL+"/org/app.git")
	b, _ := w.openRemote(dir, repo.Options{})
	commit, err := bump(t.Context(), b, "app:1", "app:2")
	w.check(err)
	w.followed(dir, commit)
}
