package repo_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

type filer interface {
	Files(ctx context.Context, commit string, under []string) iter.Seq2[manifest.File, error]
}

// Every way to make a checkout that people use; afterwards it agrees with the commit pushed, where it can.
func TestPushFromAnyCheckout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		clone   []string
		prepare [][]string
		stays   string // the warning, when the checkout cannot follow
	}{
		{name: "full"},
		{name: "shallow", clone: []string{"--depth=1"}},
		{name: "partial", clone: []string{"--filter=blob:none"}},
		{name: "shallow and partial", clone: []string{"--depth=1", "--filter=blob:none"}},
		{name: "sparse", prepare: [][]string{{"sparse-checkout", "set", "--cone", "apps/b"}}},
		{name: "sparse and partial", clone: []string{"--filter=blob:none", "--sparse"}, prepare: [][]string{{"sparse-checkout", "set", "--cone", "apps/a"}}},
		{name: "index v4", prepare: [][]string{{"update-index", "--index-version", "4"}}},
		{name: "many files", prepare: [][]string{{"config", "feature.manyFiles", "true"}, {"update-index", "--force-write-index"}}},
		{name: "untracked cache", prepare: [][]string{{"update-index", "--force-untracked-cache"}}},
		{name: "split index", prepare: [][]string{{"update-index", "--split-index"}}, stays: "git's index is split"},
		{name: "sparse index", prepare: [][]string{{"sparse-checkout", "set", "--cone", "--sparse-index", "apps/b"}}, stays: "apps/a/dep.yaml: it lies in a folder that git's sparse index has as one"},
		{name: "packed refs", prepare: [][]string{{"pack-refs", "--all"}}},
		{name: "packed objects", prepare: [][]string{{"repack", "-adq"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			w.push(fstest.MapFS{"README": {Data: []byte("second\n")}})
			dir := w.clone(tt.clone...)
			for _, args := range tt.prepare {
				w.git(dir, args...)
			}
			before := w.git(dir, "rev-parse", "HEAD")
			b, l := w.openRemote(dir, repo.Options{})
			commit, err := bump(t.Context(), b, "app:1", "app:2")
			w.check(err)
			tip, err := w.remote.Tip("main")
			w.check(err)
			w.equal("remote tip", tip, commit)
			if tt.stays != "" {
				if len(l.warnings) != 1 || !strings.Contains(l.warnings[0], tt.stays) {
					t.Errorf("warnings %q", l.warnings)
				}
				w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), before)
				w.clean(dir)
				w.git(dir, "pull", "-q", "--ff-only")
			}
			w.followed(dir, commit)
			w.equal("tracking branch", w.git(dir, "rev-parse", "origin/main"), commit)
		})
	}
}

func TestLinkedWorktreeAndAlternates(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	origin := w.clone()
	shared := filepath.Join(t.TempDir(), "shared")
	w.git("", "clone", "-q", "--shared", "--branch", "main", origin, shared)
	w.git(shared, "remote", "set-url", "origin", w.remote.URL)
	linked := filepath.Join(t.TempDir(), "linked")
	w.git(shared, "checkout", "-q", "-b", "other")
	w.git(shared, "worktree", "add", "-q", linked, "main")
	r, l := w.open(filepath.Join(linked, "apps"), repo.Options{})
	prefix, err := r.Prefix(filepath.Join(linked, "apps", "b"))
	w.check(err)
	w.equal("prefix", prefix, "apps/b")
	b, err := r.Remote("origin", "")
	w.check(err)
	commit, err := bump(t.Context(), b, "app:1", "app:2")
	w.check(err)
	w.equal("warnings", l.warnings, []string(nil))
	w.followed(linked, commit)
	w.clean(shared)
}

// On a detached HEAD the branch comes from the workflow, when the remote is the workflow's own, else from the remote.
func TestDetachedHead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	_, err := w.remote.Commit("feature", "a branch", tree())
	w.check(err)
	for _, tt := range []struct {
		name string
		env  map[string]string
		want string
		kind fault.Kind
	}{
		{"no workflow", nil, "main", 0},
		{"pull request", map[string]string{"GITHUB_HEAD_REF": "feature", "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "7/merge"}, "feature", 0},
		{"branch", map[string]string{"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "feature", "GITHUB_REPOSITORY": "org/app"}, "feature", 0},
		{"another repository", map[string]string{"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1", "GITHUB_REPOSITORY": "org/other"}, "main", 0},
		{"tag", map[string]string{"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1"}, "", fault.Usage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{t, w.server, w.remote}
			dir := w.clone()
			w.git(dir, "checkout", "-q", "--detach")
			before := w.git(dir, "rev-parse", "HEAD")
			r, l := w.open(dir, repo.Options{Getenv: func(name string) string {
				if v, ok := tt.env[name]; ok {
					return v
				}
				return os.Getenv(name)
			}})
			b, err := r.Remote("origin", "")
			if tt.kind != 0 {
				w.equal("kind", fault.KindOf(err), tt.kind)
				return
			}
			w.check(err)
			commit, err := bump(t.Context(), b, "app:1", "app:1."+strings.ReplaceAll(tt.name, " ", ""))
			w.check(err)
			w.equal("branch", b.Name(), tt.want)
			tip, err := w.remote.Tip(tt.want)
			w.check(err)
			w.equal("remote tip", tip, commit)
			w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), before)
			w.equal("warnings", l.warnings, []string(nil))
			w.clean(dir)
			w.sound(dir)
		})
	}
}

// The checkout is behind; the decision is made on the remote's tip all the same.
func TestRemoteIsAhead(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--depth=1"}, {"--depth=1", "--filter=blob:none"}} {
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			w.push(fstest.MapFS{"apps/b/dep.yaml": {Data: []byte("image: registry.example.com/app:0\n")}})
			dir := w.clone(args...)
			w.push(fstest.MapFS{"apps/b/dep.yaml": tree()["apps/b/dep.yaml"], "README": {Data: []byte("new")}}) // an old blob again
			w.git(w.remote.Dir, "repack", "-adbq")                                                              // with bitmaps the server omits all that the checkout's history implies
			before := w.git(dir, "rev-parse", "HEAD")
			seen := len(w.server.Requests())
			b, l := w.openRemote(dir, repo.Options{})
			_, err := bump(t.Context(), b, "app:1", "app:2")
			w.check(err)
			var requests []string
			for _, r := range w.server.Requests()[seen:] {
				requests = append(requests, r.Method+" "+r.URL)
			}
			w.equal("requests", requests, []string{
				"GET /org/app.git/info/refs?service=git-upload-pack", "POST /org/app.git/git-upload-pack",
				"GET /org/app.git/info/refs?service=git-receive-pack", "POST /org/app.git/git-receive-pack",
			})
			w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), before)
			w.equal("warnings", l.warnings, []string{"pushed, but this checkout stays as it was: it is not at the commit that the remote had; `git pull` brings it up to date"})
			w.clean(dir)
			w.sound(dir)
			w.git(dir, "pull", "-q", "--ff-only")
			w.equal("after pull", w.read(dir, "apps/b/dep.yaml"), "image: registry.example.com/app:2\n")
			w.sound(dir)
		})
	}
}

func TestForcePushedBack(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	old, err := w.remote.Tip("main")
	w.check(err)
	w.push(fstest.MapFS{"apps/b/dep.yaml": {Data: []byte("gone")}})
	dir := w.clone("--depth=1")
	w.git(w.remote.Dir, "update-ref", "refs/heads/main", old)
	b, _ := w.openRemote(dir, repo.Options{})
	commit, err := bump(t.Context(), b, "app:1", "app:2")
	w.check(err)
	w.equal("parent", w.git(w.remote.Dir, "rev-parse", commit+"^"), old)
	w.sound(dir)
}

// What the user has in the working tree is never touched, and keeps the checkout from following.
func TestUsersChangesStay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		change  func(w *world, dir string)
		status  string
		warning string
	}{
		{"unrelated", func(w *world, dir string) { w.write(dir, "README", "mine"); w.write(dir, "new", "mine") }, " M README\n?? new", ""},
		{"unrelated staged", func(w *world, dir string) { w.write(dir, "README", "mine"); w.git(dir, "add", "README") }, "M  README", ""},
		{"edited file", func(w *world, dir string) { w.write(dir, "apps/b/dep.yaml", "mine") }, " M apps/b/dep.yaml", "apps/b/dep.yaml: it has uncommitted changes"},
		{"edited file staged", func(w *world, dir string) { w.write(dir, "apps/b/dep.yaml", "mine"); w.git(dir, "add", ".") }, "M  apps/b/dep.yaml", "apps/b/dep.yaml: it has staged changes"},
		{"deleted", func(w *world, dir string) { w.check(os.Remove(filepath.Join(dir, "run.sh"))) }, " D run.sh", "run.sh: it was deleted"},
		{"git is busy", func(w *world, dir string) { w.write(dir, ".git/index.lock", "") }, "", "another git process"},
		{"merging", func(w *world, dir string) { w.write(dir, ".git/MERGE_HEAD", w.git(dir, "rev-parse", "HEAD")) }, "", "a merge or rebase"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			dir := w.clone()
			tt.change(w, dir)
			before := w.git(dir, "rev-parse", "HEAD")
			b, l := w.openRemote(dir, repo.Options{})
			commit, err := bump(t.Context(), b, "app:1", "app:2")
			w.check(err)
			w.equal("status", w.git(dir, "status", "--porcelain"), tt.status)
			if tt.warning == "" {
				w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), commit)
				w.equal("warnings", l.warnings, []string(nil))
			} else {
				w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), before)
				if len(l.warnings) != 1 || !strings.Contains(l.warnings[0], tt.warning) || !strings.Contains(l.warnings[0], "git pull") {
					t.Errorf("warnings %q", l.warnings)
				}
			}
			left, _ := filepath.Glob(filepath.Join(dir, "*", "*", ".imgbump-*"))
			w.equal("temporary files", left, []string(nil))
		})
	}
}

func TestLocalCommitsStayLocal(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	w.git(dir, "commit", "-q", "--allow-empty", "-m", "mine")
	mine := w.git(dir, "rev-parse", "HEAD")
	b, l := w.openRemote(dir, repo.Options{})
	commit, err := bump(t.Context(), b, "app:1", "app:2")
	w.check(err)
	w.equal("subjects", w.git(w.remote.Dir, "log", "--format=%s", "main"), "bump app:2\nsomebody's commit")
	w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), mine)
	w.equal("tracking branch", w.git(dir, "rev-parse", "origin/main"), commit)
	w.equal("warnings", l.warnings, []string{
		fmt.Sprintf("main has local commits that are not pushed and stay local: %s %q", mine[:7], "mine"),
		"pushed, but this checkout stays as it was: it is not at the commit that the remote had; `git pull` brings it up to date",
	})
}

func TestEmptyRemoteAndMissingBranch(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	r, _ := w.open(dir, repo.Options{})
	b, err := r.Remote("origin", "nope")
	w.check(err)
	_, err = b.Tip(t.Context())
	w.equal("missing branch", []any{fault.KindOf(err), fault.HintOf(err)}, []any{fault.Usage, "its branches are main"})

	empty, err := w.server.Create("empty.git")
	w.check(err)
	w.git(dir, "remote", "add", "empty", empty.URL)
	r, _ = w.open(dir, repo.Options{})
	b, err = r.Remote("empty", "")
	w.check(err)
	_, err = b.Tip(t.Context())
	w.equal("empty", fmt.Sprint(err), "reach "+empty.URL+": it has no commit yet")

	_, err = r.Remote("upstream", "")
	w.equal("no such remote", []any{fault.KindOf(err), fault.HintOf(err)}, []any{fault.Usage, "name another with --remote: there is origin, empty"})
	w.git(dir, "remote", "remove", "origin")
	w.git(dir, "remote", "remove", "empty")
	r, _ = w.open(dir, repo.Options{})
	_, err = r.Remote("upstream", "")
	w.equal("no remote", fault.HintOf(err), "git remote add upstream URL")
	_, err = r.Remote("ftp://git:s3cret@example.com/app.git", "")
	w.equal("ftp", message(err), "the remote's address ftp://example.com/app.git is not of a kind that is supported")
}

func TestServerDown(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	w.check(err)
	closed.Close()
	url := "http://user:s3cret@" + closed.Addr().String() + "/app.git"
	w.git(dir, "remote", "set-url", "origin", url)
	b, _ := w.openRemote(dir, repo.Options{})
	_, err = b.Tip(t.Context())
	w.equal("kind and hint", []any{fault.KindOf(err), fault.HintOf(err)}, []any{fault.Failed, "check that the server is up, and reachable from here"})
	if err == nil || !strings.Contains(err.Error(), closed.Addr().String()+"/app.git: dial tcp") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("err = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Tip(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A repository on this machine, as an address and as a path.
func TestFileRemote(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	for i, url := range []string{"file://" + w.remote.Dir, w.remote.Dir} {
		dir := w.clone("--depth=1")
		w.git(dir, "remote", "set-url", "origin", url)
		b, _ := w.openRemote(dir, repo.Options{})
		commit, err := bump(t.Context(), b, fmt.Sprint("app:", i+1), fmt.Sprint("app:", i+2))
		w.check(err)
		w.followed(dir, commit)
	}
	dir := w.clone()
	w.git(dir, "remote", "set-url", "origin", w.remote.Dir)
	b, _ := w.openRemote(dir, repo.Options{})
	t.Setenv("PATH", t.TempDir())
	if _, err := b.Tip(t.Context()); err == nil || !strings.Contains(err.Error(), "git, which is not on PATH") {
		t.Errorf("without git: %v", err)
	}
}
