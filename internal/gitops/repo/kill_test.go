package repo_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// TestKilledBump is what TestKill starts and kills.
func TestKilledBump(t *testing.T) {
	dir := os.Getenv("KILLED_BUMP")
	if dir == "" {
		t.Skip("TestKill runs this")
	}
	w := &world{T: t}
	b, _ := w.openRemote(dir, repo.Options{})
	var target interface {
		branch
		filer
	} = b
	if os.Getenv("KILLED_PUSH") == "" {
		r, _ := w.open(dir, repo.Options{})
		target = r.Local()
	}
	fmt.Println("ready")
	_, err := bump(t.Context(), target, os.Getenv("KILLED_FROM"), os.Getenv("KILLED_TO"), "apps")
	w.check(err)
}

// However a bump is killed, both repositories stay sound, each file is the old or the new one, and what the user changed
// is there. Locks that stay are those that git would leave. IMGBUMP_KILLS says how many times, more than a usual run has
// the time for.
func TestKill(t *testing.T) {
	t.Parallel()
	times := 60
	if more, err := strconv.Atoi(os.Getenv("IMGBUMP_KILLS")); err == nil {
		times = more
	}
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	patience, locked, outcomes := 300*time.Millisecond, 0, map[string]int{}
	for i := range times {
		from, to := fmt.Sprintf("app:%d", i+1), fmt.Sprintf("app:%d", i+2)
		w.write(dir, "README", "mine")
		w.write(dir, "notes", "mine too")
		took := w.kill(dir, i%2 == 0, from, to, rand.N(patience))
		patience = max((patience*9+2*took)/10, 5*time.Millisecond)

		for _, lock := range []string{"index.lock", "refs/heads/main.lock", "refs/remotes/origin/main.lock"} {
			if err := os.Remove(filepath.Join(dir, ".git", lock)); err == nil {
				locked++
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		w.equal("README", w.read(dir, "README"), "mine")
		w.equal("notes", w.read(dir, "notes"), "mine too")
		w.git(dir, "fsck", "--strict")
		w.eventually(w.remote.Fsck)
		for _, file := range []string{"apps/a/dep.yaml", "apps/b/dep.yaml"} {
			if content := w.read(dir, file); !strings.HasSuffix(content, from+"\n") && !strings.HasSuffix(content, to+"\n") {
				t.Fatalf("%s: %q", file, content)
			}
		}
		head := w.git(dir, "show", "HEAD:apps/b/dep.yaml")
		status := w.git(dir, "status", "--porcelain")
		if outcomes[status]++; strings.HasSuffix(head, to) && status != " M README\n?? notes" {
			t.Fatalf("the commit is there, and the files are not as it says:\n%s", status)
		}
		w.restart(dir, to)
	}
	t.Logf("%d locks stayed; what git status said: %v", locked, outcomes)
}

// kill starts a bump and kills it after a while, and tells how long it lived since it was ready.
func (w *world) kill(dir string, push bool, from, to string, after time.Duration) time.Duration {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), os.Args[0], "-test.run=^TestKilledBump$")
	cmd.Env = append(os.Environ(), "KILLED_BUMP="+dir, "KILLED_FROM="+from, "KILLED_TO="+to)
	if push {
		cmd.Env = append(cmd.Env, "KILLED_PUSH=yes")
	}
	out, err := cmd.StdoutPipe()
	w.check(err)
	w.check(cmd.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	w.check(err)
	start, done := time.Now(), make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(after):
		cmd.Process.Kill()
		<-done
	}
	return time.Since(start)
}

// restart brings the checkout and the server to the version that the bump was for.
func (w *world) restart(dir, to string) {
	w.Helper()
	w.eventually(func() error {
		w.git(dir, "fetch", "-q")
		w.git(dir, "reset", "-q", "--hard", "origin/main")
		for _, file := range []string{"apps/a/dep.yaml", "apps/b/dep.yaml"} {
			content := w.read(dir, file)
			w.write(dir, file, content[:strings.LastIndex(content, "app:")]+to+"\n")
		}
		if w.git(dir, "status", "--porcelain", "apps") == "" {
			return nil
		}
		w.git(dir, "commit", "-q", "-m", "restart", "apps")
		_, err := gittest.Git(dir, "push", "-q")
		return err
	})
}

// eventually waits for the server to get over a push whose sender is gone: it may be at work on it still.
func (w *world) eventually(try func() error) {
	w.Helper()
	for deadline := time.After(10 * time.Second); ; {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			w.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
