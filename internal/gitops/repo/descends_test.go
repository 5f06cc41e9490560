package repo_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// TestDescends asks how commits stand to each other, in checkouts that know more and less of them.
func TestDescends(t *testing.T) {
	t.Parallel()
	for _, clone := range [][]string{{}, {"--depth=1"}, {"--filter=blob:none"}, nil} {
		t.Run(strings.Join(clone, " "), func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			add := func(branch, content string) string {
				id, err := w.remote.Commit(branch, "change "+content, fstest.MapFS{"app/x.yaml": {Data: []byte(content)}})
				w.check(err)
				return id
			}
			before, at := add("main", "1"), add("main", "2")
			options, remote := repo.Options{}, w.remote.URL
			var r *repo.Repo
			var err error
			if clone == nil {
				r, err = repo.NoCheckout(options)
				w.check(err)
				t.Cleanup(func() { r.Close() })
			} else {
				r, _ = w.open(w.clone(clone...), options)
				remote = "origin"
			}
			b, err := r.Remote(remote, "main")
			w.check(err)
			expect := func(what, commit, from string, yes, known bool) {
				t.Helper()
				gotYes, gotKnown, err := b.Descends(t.Context(), commit, from)
				if err != nil || gotYes != yes || gotKnown != known {
					t.Errorf("%s: %t (known: %t), %v", what, gotYes, gotKnown, err)
				}
			}
			expect("itself", at, at, true, true)
			after := add("main", "3")
			last := add("main", "4")
			expect("two later", last, at, true, true)
			expect("one later", after, at, true, true)
			expect("one earlier, the other way round", at, before, true, true)
			w.git(w.remote.Dir, "update-ref", "refs/heads/main", before)
			other := add("main", "5")
			expect("pushed over", other, at, false, true)
			expect("nobody's", strings.Repeat("a", 40), at, false, false)
		})
	}
}

// TestChanged lists what a commit changes: files that are new, other, gone, or folders now.
func TestChanged(t *testing.T) {
	t.Parallel()
	for _, clone := range [][]string{{}, {"--depth=1"}, {"--filter=blob:none", "--depth=1"}} {
		w := newWorld(t, gittest.Options{})
		_, err := w.remote.Commit("main", "before", fstest.MapFS{"a/same": {Data: []byte("1")}, "a/other": {Data: []byte("1")}, "b/gone": {Data: []byte("1")}, "c": {Data: []byte("1")}})
		w.check(err)
		dir := w.clone()
		w.git(dir, "rm", "-q", "-r", "b", "c")
		w.write(dir, "a/other", "2")
		w.check(os.Mkdir(filepath.Join(dir, "c"), 0o755))
		w.write(dir, "c/inner", "1")
		w.write(dir, "new", "1")
		w.git(dir, "add", "-A")
		w.git(dir, "commit", "-qm", "after")
		w.git(dir, "push", "-q")
		tip := strings.TrimSpace(w.git(dir, "rev-parse", "HEAD"))
		r, _ := w.open(w.clone(clone...), repo.Options{})
		b, err := r.Remote("origin", "main")
		w.check(err)
		changed, err := b.Changed(t.Context(), tip)
		w.check(err)
		w.equal(strings.Join(clone, " "), strings.Join(changed, " "), "a/other b/gone c c/inner new")
	}
}
