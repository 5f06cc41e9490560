package repo_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// A push that landed is reported, also when the time is up, or somebody interrupts us, while the server's hooks go on.
func TestLandedWhenTheTimeWasUp(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"http", "file"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			dir := w.clone()
			if way == "file" {
				w.git(dir, "remote", "set-url", "origin", w.remote.Dir)
			}
			pipe := filepath.Join(t.TempDir(), "pipe")
			w.check(syscall.Mkfifo(pipe, 0o600))
			w.check(w.remote.Hook("post-receive", "echo >"+pipe+"; sleep 2"))
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				os.ReadFile(pipe)
				cancel()
			}()
			b, l := w.openRemote(dir, repo.Options{})
			commit, err := bump(ctx, b, "app:1", "app:2")
			w.check(err)
			w.equal("warnings", l.warnings, []string(nil))
			w.followed(dir, commit)
			if _, err := bump(ctx, b, "app:2", "app:3"); err == nil {
				t.Error("pushed when the time was up")
			}
		})
	}
}

// Refusals that are no hook's are nobody's lack of a right.
func TestRefusedByGit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	work := filepath.Join(t.TempDir(), "work")
	w.git("", "clone", "-q", w.remote.Dir, work)
	for _, tt := range []struct{ name, branch, head, want, hint string }{
		{"checked out", "main", "", "refused: branch is currently checked out", "push to a bare one"},
		{"a name within a name", "main", "main/imgbump", "refused: ", "the server's own word"},
	} {
		b, _ := w.noCheckout(work, tt.branch)
		var err error
		if tt.head == "" {
			_, err = bump(t.Context(), b, "app:1", "app:2")
		} else {
			p, propose := b.Propose(tt.head, "")
			w.check(propose)
			_, err = bump(t.Context(), p, "app:1", "app:2")
		}
		if fault.KindOf(err) != fault.Failed || !strings.Contains(message(err), tt.want) || !strings.Contains(fault.HintOf(err), tt.hint) || strings.Contains(fault.HintOf(err), "hook") {
			t.Errorf("%s: kind %d, %v (%s)", tt.name, fault.KindOf(err), err, fault.HintOf(err))
		}
	}
}

// What a killed run left in git's folder goes with the next one; what is young may be a run's that is under way.
func TestLeftoversGo(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	w.write(dir, ".git", ".imgbump-1234", "left")
	w.write(dir, ".git", "imgbump-1234", "not ours")
	w.check(os.Mkdir(filepath.Join(dir, ".git", ".imgbump-folder"), 0o755))
	for i, later := range []time.Duration{time.Minute, time.Hour} {
		r, err := repo.Open(dir, repo.Options{Now: func() time.Time { return time.Now().Add(later) }})
		w.check(err)
		_, err = bump(t.Context(), r.Local(), "app:"+string(rune('1'+i)), "app:"+string(rune('2'+i)))
		w.check(err)
		w.check(r.Close())
		left, _ := filepath.Glob(filepath.Join(dir, ".git", ".imgbump-1234"))
		w.equal("left after "+later.String(), len(left), 1-i)
	}
	for _, name := range []string{"imgbump-1234", ".imgbump-folder"} {
		if _, err := os.Stat(filepath.Join(dir, ".git", name)); err != nil {
			t.Error(err)
		}
	}
}
