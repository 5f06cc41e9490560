package repo_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// In these tests the checkout's files, or the server's answers, are somebody's who wants more than a bump.

// What is committed is not the user's configuration, even where the environment does not say where that is.
func TestCommittedConfiguration(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		env        map[string]string
	}{
		{"no HOME", ".gitconfig", nil},
		{"no HOME, the newer place", ".config/git/config", nil},
		{"no HOME, an include", "evil", nil},
		{"a relative HOME", ".gitconfig", map[string]string{"HOME": "."}},
		{"a relative XDG_CONFIG_HOME", "evil/git/config", map[string]string{"XDG_CONFIG_HOME": "evil"}},
		{"a relative GIT_CONFIG_GLOBAL", "evil", map[string]string{"GIT_CONFIG_GLOBAL": "evil"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			w.push(fstest.MapFS{tt.file: {Data: []byte("[url \"http://evil.example/\"]\n\tinsteadOf = " + w.server.URL + "/\n")}})
			dir := w.clone()
			w.git(dir, "config", "include.path", "~/evil")
			t.Chdir(dir)
			b, _ := w.openRemote(".", repo.Options{Getenv: func(name string) string { return tt.env[name] }})
			w.equal("URL", b.URL(), w.remote.URL)
		})
	}
}

// expect is check for the goroutines of a server.
func (w *world) expect(err error) {
	if err != nil {
		w.Error(err)
	}
}

// advertise puts a server before the real one that names its refs as edit says, and takes every push.
func (w *world) advertise(edit func(*packp.AdvRefs)) string {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		real := httptest.NewRecorder()
		switch {
		case r.Method == http.MethodGet:
			w.server.ServeHTTP(real, r)
			refs := packp.NewAdvRefs()
			w.expect(refs.Decode(real.Body))
			refs.Capabilities.Delete(capability.Sideband64k)
			edit(refs)
			rw.Header().Set("Content-Type", real.Header().Get("Content-Type"))
			w.expect(refs.Encode(rw))
		case strings.HasSuffix(r.URL.Path, "/git-receive-pack"):
			update := packp.NewReferenceUpdateRequest()
			w.expect(update.Decode(r.Body))
			name := update.Commands[0].Name
			w.expect((&packp.ReportStatus{UnpackStatus: "ok", CommandStatuses: []*packp.CommandStatus{{ReferenceName: name, Status: "ok"}}}).Encode(rw))
		default:
			w.server.ServeHTTP(rw, r)
		}
	}))
	w.Cleanup(server.Close)
	return server.URL + "/org/app.git"
}

// A server's name for its default branch is a part of file names here.
func TestBranchOutsideOfTheBranches(t *testing.T) {
	for _, name := range []string{"refs/heads/../../heads/victim", "refs/heads/../remotes/origin/victim", "refs/remotes/origin/victim", "refs/heads/"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			dir := w.clone()
			w.git(dir, "branch", "victim")
			w.git(dir, "update-ref", "refs/remotes/origin/victim", "HEAD")
			w.git(dir, "checkout", "-q", "--detach")
			before := w.git(dir, "for-each-ref")
			w.git(dir, "remote", "set-url", "origin", w.advertise(func(refs *packp.AdvRefs) {
				refs.Capabilities.Delete(capability.SymRef)
				w.expect(refs.Capabilities.Set(capability.SymRef, "HEAD:"+name))
				w.expect(refs.AddReference(plumbing.NewHashReference(plumbing.ReferenceName(name), refs.References["refs/heads/main"])))
			}))
			b, _ := w.openRemote(dir, repo.Options{})
			_, err := bump(t.Context(), b, "app:1", "app:2")
			w.equal("refs", w.git(dir, "for-each-ref"), before)
			if fault.KindOf(err) != fault.Failed || !strings.HasSuffix(message(err), "it does not say which branch is its default") || !strings.Contains(fault.HintOf(err), "--branch") {
				t.Errorf("err %v, hint %q", err, fault.HintOf(err))
			}
		})
	}
}

func TestBranchNames(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	r, _ := w.open(w.clone(), repo.Options{})
	for _, name := range []string{"../../heads/victim", "a..b", "-x", "a b", "refs/heads/", "a/.b", "a.lock", "a\nb"} {
		_, err := r.Remote("origin", name)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(message(err), "is not a branch's name") {
			t.Errorf("--branch %q: %v", name, err)
		}
		b, err := r.Remote("origin", "main")
		w.check(err)
		if _, err = b.Propose(name, ""); fault.KindOf(err) != fault.Usage {
			t.Errorf("--pr-branch %q: %v", name, err)
		}
	}
	w.check(os.WriteFile(filepath.Join(r.Root(), ".git", "HEAD"), []byte("ref: refs/heads/../../secret\n"), 0o644))
	w.check(os.WriteFile(filepath.Join(r.Root(), ".git", "secret"), []byte("s3cret\n"), 0o644))
	if _, err := r.Local().Tip(t.Context()); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("HEAD leads outside: %v", err)
	}
}
