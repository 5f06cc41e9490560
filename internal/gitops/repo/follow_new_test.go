package repo_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// newFiles go to the start, the middle and the end of an index.
var newFiles = map[string][]byte{
	".a.yaml":                      []byte("image: a:1\n"),
	"apps/a/.argocd-source-x.yaml": []byte("image: b:1\n"),
	"apps/b/e.yaml":                []byte("image: c:1\n"),
	"apps/b/f.yaml":                []byte("image: d:1\n"),
	"apps/a/dep.yaml":              []byte("image: registry.example.com/app:2\n"), // which is none

	strings.Repeat("n", 200) + ".yaml": []byte("image: e:1\n"),
	"zzz.yaml":                         []byte("image: f:1\n"),
}

// give commits files as they are.
func give(ctx context.Context, b branch, files map[string][]byte) (string, error) {
	tip, err := b.Tip(ctx)
	if err != nil {
		return "", err
	}
	commit, err := b.Commit(ctx, tip, files, "new")
	if err == nil {
		_, err = b.Publish(ctx, tip, []string{commit})
	}
	return commit, err
}

// A checkout follows a commit with new files: they are in git's index as if git had added them.
func TestNewFiles(t *testing.T) {
	t.Parallel()
	names := []string{"plain", "index version 4", "untracked cache", "file system monitor", "sparse", "sparse index", "eol attribute", "linked worktree"}
	for _, tt := range checkouts {
		if !slices.Contains(names, tt.name) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			dir := tt.make(w)
			w.git(dir, "status")
			before := w.state(dir)
			r, _ := w.open(dir, repo.Options{})
			commit, err := give(t.Context(), r.Local(), newFiles)
			if tt.refuse != "" {
				if fault.HintOf(err) != tt.hint {
					t.Errorf("%v, hint %q", err, fault.HintOf(err))
				}
				w.equal("state", w.state(dir), before)
				return
			}
			w.check(err)
			w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), commit)
			w.equal("tree of the index", w.git(dir, "write-tree"), w.git(dir, "rev-parse", "HEAD^{tree}"))
			w.clean(dir)
			w.sound(dir)
			for name, data := range newFiles {
				if got := strings.ReplaceAll(w.read(dir, name), "\r", ""); got != string(data) {
					t.Errorf("%s: %q", name, got)
				}
			}
			if info, err := os.Stat(filepath.Join(dir, "zzz.yaml")); err != nil || info.Mode().Perm()&0o600 != 0o600 || info.Mode().Perm()&0o111 != 0 {
				t.Errorf("%v %v", info, err)
			}
			if tt.name == "file system monitor" { // this one tells of nothing
				return
			}
			w.write(dir, "zzz.yaml", "mine")
			w.write(dir, "apps/b/untracked", "mine")
			w.equal("status", w.git(dir, "status", "--porcelain"), " M zzz.yaml\n?? apps/b/untracked")
		})
	}
}

// What git remembers of changed files, by their place in the index, is not taken for others.
func TestNewFilesAmongChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	w.write(dir, "README", "mine")
	w.write(dir, "zzz", "mine")
	hook := filepath.Join(dir, ".git", "hooks", "monitor")
	w.check(os.WriteFile(hook, []byte("#!/bin/sh\nprintf 'token\\0'\n"), 0o755))
	w.git(dir, "config", "core.fsmonitor", hook)
	w.git(dir, "update-index", "--force-untracked-cache")
	w.git(dir, "status")
	w.git(dir, "status")
	r, _ := w.open(dir, repo.Options{})
	_, err := give(t.Context(), r.Local(), newFiles)
	w.check(err)
	w.equal("status", w.git(dir, "status", "--porcelain"), " M README\n?? zzz")
}

// A push brings new files along.
func TestPushedNewFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	b, told := w.openRemote(dir, repo.Options{})
	commit, err := give(t.Context(), b, newFiles)
	w.check(err)
	w.equal("warnings", told.warnings, []string(nil))
	w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), commit)
	w.clean(dir)
}

// What of the user's is in a new file's way stays.
func TestNewFilesInTheWay(t *testing.T) {
	t.Parallel()
	for want, prepare := range map[string]func(w *world, dir string){
		"apps/b/e.yaml: it is there already, and not in git": func(w *world, dir string) {
			w.write(dir, "apps/b/e.yaml", "mine")
		},
		"apps/b/e.yaml: it is in git's index already, and in no commit": func(w *world, dir string) {
			w.write(dir, "apps/b/e.yaml", "mine")
			w.git(dir, "add", "apps/b/e.yaml")
		},
		"apps/b/e.yaml: the folder that it goes to is a symbolic link": func(w *world, dir string) {
			w.check(os.RemoveAll(filepath.Join(dir, "apps/b")))
			w.check(os.Symlink(w.TempDir(), filepath.Join(dir, "apps/b")))
		},
		"add to the index zzz.yaml: git's index has zzz.yaml/x": func(w *world, dir string) {
			w.git(dir, "update-index", "--add", "--cacheinfo", "100644,"+w.git(dir, "hash-object", "-w", "README")+",zzz.yaml/x")
		},
	} {
		w := newWorld(t, gittest.Options{})
		dir := w.clone()
		prepare(w, dir)
		before, index := w.state(dir), w.read(dir, ".git/index")
		r, _ := w.open(dir, repo.Options{})
		_, err := give(t.Context(), r.Local(), newFiles)
		w.equal("error", message(err), want)
		w.equal("state", w.state(dir), before)
		w.equal("index", w.read(dir, ".git/index") == index, true)
		if left, _ := filepath.Glob(filepath.Join(dir, ".git", ".imgbump-*")); left != nil {
			t.Errorf("left %v", left)
		}
	}
}
