package repo_test

import (
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

func TestParent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	first, err := w.remote.Commit("main", "first", fstest.MapFS{"a": {Data: []byte("1")}})
	w.check(err)
	second, err := w.remote.Commit("main", "second", fstest.MapFS{"a": {Data: []byte("2")}})
	w.check(err)
	for _, clone := range [][]string{{}, {"--depth=1"}} {
		r, _ := w.open(w.clone(clone...), repo.Options{})
		b, err := r.Remote("origin", "main")
		w.check(err)
		root, err := b.Parent(t.Context(), first)
		w.check(err)
		before, err := b.Parent(t.Context(), second)
		w.check(err)
		if before != first || first == second || root == first {
			t.Errorf("%v: the parent of %s is %s, want %s; that of %s is %q", clone, second, before, first, first, root)
		}
	}
}
