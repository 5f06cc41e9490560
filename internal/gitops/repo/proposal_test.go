package repo_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// commitTo is somebody's commit to a branch, which begins at main.
func (w *world) commitTo(branch, message string) {
	w.Helper()
	if _, err := w.remote.Tip(branch); err != nil {
		w.git(w.remote.Dir, "update-ref", "refs/heads/"+branch, "main")
	}
	_, err := w.remote.Commit(branch, message, fstest.MapFS{"notes": {Data: []byte(branch + message)}})
	w.check(err)
}

// mergeInto merges a branch into another, as GitHub's buttons do.
func (w *world) mergeInto(into, branch string) {
	w.Helper()
	made := w.git(w.remote.Dir, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-p", into, "-p", branch, "-m", "Merge branch "+branch, branch+"^{tree}")
	w.git(w.remote.Dir, "update-ref", "refs/heads/"+into, made)
}

// Who commits to the branch of a pull request has their work there; the button "Update branch" is no work.
func TestProposalReplacesOurOwn(t *testing.T) {
	const ours = "ours\n\nImgbump: v1"
	for _, tt := range []struct {
		name string
		make func(w *world)
		last string // of the commits that are not replaced
	}{
		{"ours", func(w *world) { w.commitTo("head", ours) }, ""},
		{"a fixup", func(w *world) { w.commitTo("head", ours); w.commitTo("head", "fixup") }, "fixup"},
		{"our commit upon theirs", func(w *world) { w.commitTo("head", "theirs"); w.commitTo("head", ours) }, ""},
		{"a branch of theirs", func(w *world) { w.commitTo("head", "theirs"); w.commitTo("head", "theirs too") }, "theirs too"},
		{"the base itself", func(w *world) { w.git(w.remote.Dir, "update-ref", "refs/heads/head", "main") }, ""},
		{"an old commit of the base", func(w *world) {
			w.git(w.remote.Dir, "update-ref", "refs/heads/head", "main")
			w.commitTo("main", "next")
		}, ""},
		{"the base was merged into it, twice", func(w *world) {
			w.commitTo("head", ours)
			for range 2 {
				w.commitTo("main", "next")
				w.mergeInto("head", "main")
			}
			w.commitTo("main", "after that")
		}, ""},
		{"another branch was merged into it", func(w *world) {
			w.commitTo("head", ours)
			w.commitTo("feature", "theirs")
			w.mergeInto("head", "feature")
		}, "Merge branch feature"},
	} {
		for _, filters := range []string{"true", "false"} {
			t.Run(tt.name+", filters "+filters, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, gittest.Options{})
				w.git(w.remote.Dir, "config", "uploadpack.allowFilter", filters)
				early := w.clone("--depth=1")
				tt.make(w)
				before, err := w.remote.Tip("head")
				w.check(err)
				local, _ := w.openRemote(early, repo.Options{})
				remote, _ := w.noCheckout(w.remote.URL, "main")
				for _, b := range []*repo.Remote{local, remote} {
					p, err := b.Propose("head", "")
					w.check(err)
					_, err = bump(t.Context(), p, "app:1", "app:2")
					now, lost := w.remote.Tip("head")
					w.check(lost)
					switch {
					case tt.last == "" && (err != nil || now == before):
						t.Errorf("it stays: %v", err)
					case tt.last != "":
						w.equal("head", now, before)
						w.equal("error", message(err), "replace head of "+w.remote.URL+": somebody else's commits are on it, the last is "+before[:7]+` "`+tt.last+`"`)
						if fault.KindOf(err) != fault.Failed || !strings.Contains(fault.HintOf(err), "--pr-branch") {
							t.Errorf("kind %d, hint %q", fault.KindOf(err), fault.HintOf(err))
						}
					}
					w.git(w.remote.Dir, "update-ref", "refs/heads/head", before)
				}
			})
		}
	}
}
