package repo_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// clock gives each commit its own second.
var clock atomic.Int64

// noCheckout is a branch of a repository that is not checked out.
func (w *world) noCheckout(address, branch string) (*repo.Remote, *told) {
	w.Helper()
	l := &told{}
	r, err := repo.NoCheckout(repo.Options{
		Warn: func(s string) { l.warnings = append(l.warnings, s) },
		Now:  func() time.Time { return time.Unix(clock.Add(1), 0).UTC() },
	})
	w.check(err)
	w.Cleanup(func() { w.check(r.Close()) })
	b, err := r.Remote(address, branch)
	w.check(err)
	return b, l
}

// wide adds what a bump of apps/b does not need to the tree: many files elsewhere, and large ones.
func (w *world) wide() {
	w.Helper()
	files := fstest.MapFS{
		"big.yaml":   {Data: []byte("image: registry.example.com/app:1\n#" + strings.Repeat("x", 2<<20))},
		"photo.jpeg": {Data: []byte(strings.Repeat("y", 2<<20))},
		"code.go":    {Data: []byte("package main // image: registry.example.com/app:1\n")},
	}
	for i := range 300 {
		files[fmt.Sprintf("other/%d/%d.yaml", i%17, i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "image: other:%d\n", i)}
	}
	w.push(files)
}

// traffic is a log of requests, and how many bytes of objects they fetched.
type traffic struct {
	strings.Builder
	fetched int
}

// requests puts a server before the real one that notes what is asked of it: the service, the filter and the number of
// wants.
func (w *world) requests(change func(answer *httptest.ResponseRecorder)) (address string, log *traffic) {
	log = &traffic{}
	filter := regexp.MustCompile(`filter (\S+)`)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.expect(err)
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		w.server.ServeHTTP(answer, r)
		change(answer)
		switch {
		case r.Method == http.MethodGet:
			fmt.Fprintf(log, "refs for %s\n", r.URL.Query().Get("service"))
		case strings.HasSuffix(r.URL.Path, "/git-upload-pack"):
			with := "all"
			if found := filter.FindSubmatch(body); found != nil {
				with = string(found[1])
			}
			fmt.Fprintf(log, "%d wants %s\n", bytes.Count(body, []byte("want ")), with)
			log.fetched += answer.Body.Len()
		default:
			fmt.Fprintln(log, "push")
		}
		for name, values := range answer.Header() {
			rw.Header()[name] = values
		}
		rw.WriteHeader(answer.Code)
		rw.Write(answer.Body.Bytes())
	}))
	w.Cleanup(server.Close)
	return server.URL + "/org/app.git", log
}

// asGitHub changes refs to those of a server that says it is GitHub.
func asGitHub(answer *httptest.ResponseRecorder) {
	refs := packp.NewAdvRefs()
	if refs.Decode(bytes.NewReader(answer.Body.Bytes())) != nil || !refs.Capabilities.Supports(capability.Filter) {
		return // no refs, or those to push to
	}
	refs.Capabilities.Set(capability.Agent, "git/github-0123456789ab")
	answer.Body.Reset()
	refs.Encode(answer.Body)
}

const pushed = "refs for git-receive-pack\npush\n"

// Without a checkout a bump takes five requests, or four when everything is asked for at once, and brings little.
func TestNoCheckout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		expect []string
		config []string // of the server
		change func(answer *httptest.ResponseRecorder)
		want   string
	}{
		{"a folder", []string{"apps/b", "imgbump.yaml"}, nil, nil, "1 wants combine:tree%3A2+blob%3Alimit%3D1m\n1 wants blob:limit=1m\n"},
		{"a folder and a file", []string{"apps/b", "apps/a-b.yaml", "big.yaml"}, nil, nil, "1 wants combine:tree%3A2+blob%3Alimit%3D1m\n3 wants blob:limit=1m\n"},
		{"everything", nil, nil, nil, "1 wants blob:none\n304 wants blob:limit=1m\n" + strings.Repeat("1 wants all\n", 4)}, // those are no manifests, but read by this bump,
		{"no filters", []string{"apps/b"}, []string{"uploadpack.allowFilter", "false"}, nil, "1 wants all\n"},
		{"no objects by name", []string{"apps/b"}, []string{"uploadpack.allowAnySHA1InWant", "false"}, nil, "1 wants all\n"},
		{"no depth of trees", []string{"apps/b"}, []string{"uploadpackfilter.tree.maxDepth", "0"}, nil, "1 wants combine:tree%3A2+blob%3Alimit%3D1m\n1 wants blob:none\n1 wants blob:limit=1m\n"},
		{"GitHub", []string{"apps/b"}, []string{"uploadpackfilter.tree.maxDepth", "0"}, asGitHub, "1 wants blob:none\n1 wants blob:limit=1m\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			w.wide()
			if tt.config != nil {
				w.git(w.remote.Dir, append([]string{"config"}, tt.config...)...)
			}
			if tt.change == nil {
				tt.change = func(*httptest.ResponseRecorder) {}
			}
			address, log := w.requests(tt.change)
			b, told := w.noCheckout(address, "")
			b.Expect(tt.expect)
			commit, err := bump(t.Context(), b, "app:1", "app:2", tt.expect...)
			w.check(err)
			tip, err := w.remote.Tip("main")
			w.check(err)
			w.equal("tip", tip, commit)
			w.equal("requests", log.String(), "refs for git-upload-pack\n"+tt.want+pushed)
			w.equal("warnings", told.warnings, []string(nil))
			w.equal("name", b.Name(), "main")
			w.check(w.remote.Fsck())
			content, err := w.remote.File("main", "apps/b/dep.yaml")
			w.check(err)
			w.equal("file", content, "image: registry.example.com/app:2\n")
		})
	}
}

// After a lost race just what changed is fetched, in one request, even upon a commit without its history.
func TestFetchAfterLostRace(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		open func(w *world, address string) *repo.Remote
	}{
		{"no checkout", func(w *world, address string) *repo.Remote {
			b, _ := w.noCheckout(address, "main")
			b.Expect([]string{"apps/b"})
			return b
		}},
		{"no checkout, everything", func(w *world, address string) *repo.Remote {
			b, _ := w.noCheckout(address, "main")
			return b
		}},
		{"shallow checkout", func(w *world, address string) *repo.Remote {
			dir := w.clone("--depth=1")
			w.git(dir, "remote", "set-url", "origin", address)
			b, _ := w.openRemote(dir, repo.Options{})
			return b
		}},
		{"checkout", func(w *world, address string) *repo.Remote {
			dir := w.clone()
			w.git(dir, "remote", "set-url", "origin", address)
			b, _ := w.openRemote(dir, repo.Options{})
			return b
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			w.wide()
			address, log := w.requests(func(*httptest.ResponseRecorder) {})
			b := tt.open(w, address)
			_, err := bump(t.Context(), b, "app:1", "app:2", "apps/b")
			w.check(err)
			*log = traffic{}
			w.push(fstest.MapFS{"apps/b/dep.yaml": {Data: []byte("image: registry.example.com/app:3\n")}, "other/0/0.yaml": {Data: []byte("theirs")}})
			commit, err := bump(t.Context(), b, "app:3", "app:4", "apps/b")
			w.check(err)
			w.equal("requests", log.String(), "refs for git-upload-pack\n1 wants blob:limit=1m\n"+pushed)
			w.equal("files", w.git(w.remote.Dir, "show", "--stat=80", "--format=", commit), " apps/b/dep.yaml | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)")
			w.check(w.remote.Fsck())
			if log.fetched > 1500 {
				t.Errorf("fetched %d bytes", log.fetched)
			}
		})
	}
}

// A repository on this machine needs no server, but git.
func TestNoCheckoutOfLocalRepository(t *testing.T) {
	for _, scheme := range []string{"", "file://"} {
		for _, filters := range []string{"false", "true"} {
			w := newWorld(t, gittest.Options{})
			w.git(w.remote.Dir, "config", "uploadpack.allowFilter", filters)
			b, _ := w.noCheckout(scheme+w.remote.Dir, "main")
			b.Expect([]string{"apps/a"})
			commit, err := bump(t.Context(), b, "app:1", "app:2", "apps/a")
			w.check(err)
			w.equal("commit", w.git(w.remote.Dir, "log", "-1", "--format=%H %s", "main"), commit+" bump app:2")
			w.check(w.remote.Fsck())
		}
	}
	t.Setenv("PATH", t.TempDir())
	w := &world{T: t}
	b, _ := w.noCheckout(os.DevNull, "main")
	_, err := b.Tip(t.Context())
	if want := "reach /dev/null: a repository on this machine is served by git, which is not on PATH"; message(err) != want || !strings.Contains(fault.HintOf(err), "https") {
		t.Errorf("err %v, hint %q", err, fault.HintOf(err))
	}
}

// A pull request's branch needs no checkout either.
func TestNoCheckoutProposal(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.wide()
	address, log := w.requests(func(*httptest.ResponseRecorder) {})
	for i := range 2 {
		b, _ := w.noCheckout(address, "main")
		b.Expect([]string{"apps/b"})
		p, err := b.Propose("imgbump/main", "")
		w.check(err)
		log.Reset()
		commit, err := bump(t.Context(), p, "app:1", "app:2", "apps/b")
		w.check(err)
		tip, err := w.remote.Tip("imgbump/main")
		w.check(err)
		want := []string{pushed, "1 wants tree:0\n"}[i]
		if w.equal("requests", log.String(), "refs for git-upload-pack\n1 wants combine:tree%3A2+blob%3Alimit%3D1m\n1 wants blob:limit=1m\nrefs for git-upload-pack\n"+want); i == 0 {
			w.equal("tip", tip, commit)
		}
	}
}
