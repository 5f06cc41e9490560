package repo_test

import (
	"fmt"
	"iter"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// dated commits what is in dir, in a second of its own.
func (w *world) dated(dir string, second int, args ...string) {
	w.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(gittest.Env(), fmt.Sprintf("GIT_COMMITTER_DATE=%d +0000", 1700000000+second))
	if out, err := cmd.CombinedOutput(); err != nil {
		w.Fatalf("git %v: %v %s", args, err, out)
	}
}

// history adds to the first commit one on main, two on a side branch and their merge, and pushes them.
func (w *world) history() string {
	dir := w.clone()
	w.write(dir, "apps/b/dep.yaml", "image: b:2\n")
	w.dated(dir, 2, "commit", "-qam", "two")
	w.git(dir, "checkout", "-q", "-b", "side", "HEAD~1")
	w.write(dir, "apps/a/dep.yaml", "image: a:never\n")
	w.dated(dir, 1, "commit", "-qam", "side")
	w.write(dir, "apps/a/dep.yaml", "image: a:2\n")
	w.dated(dir, 2, "commit", "-qam", "side, again")
	w.git(dir, "checkout", "-q", "main")
	w.dated(dir, 3, "merge", "-q", "--no-ff", "-m", "merge", "side")
	w.write(dir, "apps/b/dep.yaml", "image: b:3\n")
	w.dated(dir, 4, "commit", "-qam", "four")
	w.git(dir, "push", "-q", "origin", "main")
	return dir
}

// contents is what comes of a sequence: paths with their contents.
func (w *world) contents(files iter.Seq2[repo.Version, error]) (all []string, err error) {
	w.Helper()
	for f, err := range files {
		if err != nil {
			return all, err
		}
		data, err := f.Read(nil)
		w.check(err)
		text := strings.TrimSpace(string(data))
		all = append(all, f.Path+" "+text[strings.LastIndex(text, " ")+1:])
	}
	return all, nil
}

// TestRecent meets each content of a path once, the newest commit's first, and not what a merged branch had in between, in
// a checkout and without.
func TestRecent(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.history()
	for n, want := range map[int][]string{
		1: {"apps/a-b.yaml x:1", "apps/a/dep.yaml a:2", "apps/a/link.yaml dep.yaml", "apps/b/dep.yaml b:3"},
		2: {"apps/a-b.yaml x:1", "apps/a/dep.yaml a:2", "apps/a/link.yaml dep.yaml", "apps/b/dep.yaml b:3", "apps/b/dep.yaml b:2"},
		4: {"apps/a-b.yaml x:1", "apps/a/dep.yaml a:2", "apps/a/link.yaml dep.yaml", "apps/b/dep.yaml b:3", "apps/b/dep.yaml b:2",
			"apps/a/dep.yaml registry.example.com/app:1", "apps/b/dep.yaml registry.example.com/app:1"},
		9: {"apps/a-b.yaml x:1", "apps/a/dep.yaml a:2", "apps/a/link.yaml dep.yaml", "apps/b/dep.yaml b:3", "apps/b/dep.yaml b:2",
			"apps/a/dep.yaml registry.example.com/app:1", "apps/b/dep.yaml registry.example.com/app:1"},
	} {
		r, _ := w.open(dir, repo.Options{})
		got, err := w.contents(r.Local().Recent(t.Context(), n, []string{"apps"}))
		w.check(err)
		w.equal(fmt.Sprintf("%d commits of the checkout", n), got, want)
		remote, _ := w.noCheckout(w.remote.URL, "")
		got, err = w.contents(remote.Recent(t.Context(), n, []string{"apps"}))
		w.check(err)
		w.equal(fmt.Sprintf("%d commits of the remote", n), got, want)
	}
}

// TestRecentStops when nobody wants more.
func TestRecentStops(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	r, _ := w.open(w.clone(), repo.Options{})
	for f, err := range r.Local().Recent(t.Context(), 1, nil) {
		w.check(err)
		if f.Path != "README" {
			t.Fatalf("%s came after the end", f.Path)
		}
		break
	}
}

// TestRecentShallow says what a clone lacks, rather than to leave it out; the whole of a short history is enough.
func TestRecentShallow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	w.history()
	for depth, enough := range map[int]int{1: 1, 2: 2, 3: 3} {
		r, _ := w.open(w.clone("--depth", fmt.Sprint(depth)), repo.Options{})
		if _, err := w.contents(r.Local().Recent(t.Context(), enough, nil)); err != nil {
			t.Errorf("depth %d: %v", depth, err)
		}
		_, err := w.contents(r.Local().Recent(t.Context(), enough+1, nil))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("it holds %d of the last %d commits", enough, enough+1)) || !strings.Contains(fault.HintOf(err), "fetch-depth") {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
	whole, _ := w.open(w.clone(), repo.Options{})
	if _, err := w.contents(whole.Local().Recent(t.Context(), 100, nil)); err != nil {
		t.Error(err)
	}
}

// TestRecentRemoteFails when the branch is not there, or nobody answers.
func TestRecentRemoteFails(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.push(fstest.MapFS{"x.yaml": {Data: []byte("a: b\n")}})
	missing, _ := w.noCheckout(w.remote.URL, "nosuch")
	if _, err := w.contents(missing.Recent(t.Context(), 2, nil)); fault.KindOf(err) != fault.Usage {
		t.Error(err)
	}
	w.server.Close()
	down, _ := w.noCheckout(w.remote.URL, "main")
	if _, err := w.contents(down.Recent(t.Context(), 2, nil)); err == nil {
		t.Error("a server that is down was read")
	}
}
