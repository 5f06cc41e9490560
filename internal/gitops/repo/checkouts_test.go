package repo_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// checkouts are the ways in which git makes one. Each leaves a checkout of main in the world's dir. A push brings it
// along, unless it says why it stays; a commit is made, unless it says why not.
var checkouts = []struct {
	name   string
	make   func(w *world) (dir string)
	stays  string // what the warning of a push says
	refuse string // what the error of a commit says
	hint   string // and what to do about it
}{
	{name: "plain", make: func(w *world) string { return w.clone() }},
	{name: "shallow", make: func(w *world) string { return w.clone("--depth=1") }},
	{name: "without blobs", make: func(w *world) string { return w.clone("--filter=blob:none") }},
	{name: "without trees", make: func(w *world) string { return w.clone("--filter=tree:0") }},
	{name: "without blobs, shallow", make: func(w *world) string { return w.clone("--filter=blob:none", "--depth=1") }},
	{name: "sparse", make: func(w *world) string { return w.sparse("--cone") }},
	{name: "sparse by patterns", make: func(w *world) string { return w.sparse("--no-cone") }},
	{name: "sparse index", make: func(w *world) string { return w.sparse("--cone", "--sparse-index") },
		stays:  "apps/b/dep.yaml: it lies in a folder that git's sparse index has as one",
		refuse: "apps/b/dep.yaml: it lies in a folder that git's sparse index has as one", hint: "git sparse-checkout reapply --no-sparse-index"},
	{name: "sparse, without blobs", make: func(w *world) string {
		dir := w.clone("--filter=blob:none", "--sparse")
		w.git(dir, "sparse-checkout", "set", "--cone", "apps/a")
		return dir
	}},
	{name: "split index", make: func(w *world) string { return w.after("update-index", "--split-index") },
		stays: "git's index is split", refuse: "git's index is split", hint: "git update-index --no-split-index"},
	{name: "index version 4", make: func(w *world) string { return w.after("update-index", "--index-version=4") }},
	{name: "untracked cache", make: func(w *world) string {
		dir := w.after("update-index", "--force-untracked-cache")
		w.git(dir, "status")
		return dir
	}},
	{name: "file system monitor", make: func(w *world) string {
		dir := w.clone()
		hook := filepath.Join(dir, ".git", "hooks", "monitor")
		w.check(os.WriteFile(hook, []byte("#!/bin/sh\nprintf 'token\\0'\n"), 0o755))
		w.git(dir, "config", "core.fsmonitor", hook)
		w.git(dir, "status")
		return dir
	}},
	{name: "detached", make: func(w *world) string { return w.after("checkout", "-q", "--detach") }, stays: "-"},
	{name: "linked worktree", make: func(w *world) string {
		main, dir := w.clone(), filepath.Join(w.TempDir(), "linked")
		w.git(main, "checkout", "-q", "--detach")
		w.git(main, "worktree", "add", "-q", dir, "main")
		return dir
	}},
	{name: "with a submodule", make: func(w *world) string {
		dir := w.clone()
		w.git(dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", w.remote.Dir, "module")
		w.git(dir, "commit", "-q", "-m", "submodule")
		w.git(dir, "push", "-q")
		return dir
	}},
	{name: "a submodule", make: func(w *world) string {
		outer := filepath.Join(w.TempDir(), "outer")
		w.git("", "init", "-q", outer)
		w.git(outer, "submodule", "--quiet", "add", "-b", "main", w.remote.URL, "inner")
		return filepath.Join(outer, "inner")
	}},
	{name: "autocrlf", make: func(w *world) string { return w.clone("-c", "core.autocrlf=true") }},
	{name: "eol attribute", make: func(w *world) string {
		w.push(fstest.MapFS{".gitattributes": {Data: []byte("*.yaml text eol=crlf\n")}})
		return w.clone()
	}},
	{name: "LFS", make: func(w *world) string {
		w.push(fstest.MapFS{
			".gitattributes": {Data: []byte("*.bin filter=lfs diff=lfs merge=lfs -text\n")},
			"model.bin":      {Data: []byte("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 12345\n")},
		})
		return w.clone()
	}},
	{name: "another's", make: func(w *world) string {
		dir := w.clone()
		w.check(os.Chown(dir, 12345, 12345))
		return dir
	}},
	{name: "alternates", make: func(w *world) string {
		dir := filepath.Join(w.TempDir(), "checkout")
		w.git("", "clone", "-q", "--shared", w.clone(), dir)
		w.git(dir, "remote", "set-url", "origin", w.remote.URL)
		return dir
	}},
	{name: "packed refs and a bitmap", make: func(w *world) string {
		dir := w.after("pack-refs", "--all")
		w.git(dir, "repack", "-adqb")
		return dir
	}},
	{name: "skipped hash", make: func(w *world) string {
		dir := w.clone()
		w.git(dir, "config", "feature.manyFiles", "true")
		w.git(dir, "update-index", "--force-write-index")
		return dir
	}},
	{name: "assumed unchanged elsewhere", make: func(w *world) string { return w.after("update-index", "--assume-unchanged", "README") }},
}

// sparse is a checkout of apps/a alone, and of what lies above it.
func (w *world) sparse(args ...string) string {
	dir := w.clone("--sparse")
	w.git(dir, append(append([]string{"sparse-checkout", "set"}, args...), "apps/a")...)
	return dir
}

// after is a clone in which git did something.
func (w *world) after(args ...string) string {
	dir := w.clone()
	w.git(dir, args...)
	return dir
}

// state is all that a failure must leave alone.
func (w *world) state(dir string) string {
	return w.judge(dir, "for-each-ref") + w.judge(dir, "rev-parse", "HEAD") + w.judge(dir, "status", "--porcelain", "--untracked-files=all") +
		w.judge(dir, "ls-files", "-s", "-v", "-t")
}

// judge asks git, which would not look into another's repository.
func (w *world) judge(dir string, args ...string) string {
	w.Helper()
	return w.git(dir, append([]string{"-c", "safe.directory=*"}, args...)...)
}

func (w *world) intact(dir string) {
	w.Helper()
	w.equal("index", w.judge(dir, "diff-index", "--cached", "HEAD"), "")
	w.equal("status", w.judge(dir, "status", "--porcelain"), "")
	w.judge(dir, "fsck", "--full", "--strict")
	w.check(w.remote.Fsck())
	if left, _ := filepath.Glob(filepath.Join(dir, ".git", "*.lock")); left != nil {
		w.Errorf("left %v", left)
	}
}

// A push works from any checkout, and any follows that can.
func TestPushFromCheckouts(t *testing.T) {
	t.Parallel()
	for _, tt := range checkouts {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			dir := tt.make(w)
			before := w.state(dir)
			b, told := w.openRemote(dir, repo.Options{Getenv: func(string) string { return "" }})
			commit, err := bump(t.Context(), b, "app:1", "app:2", "apps")
			w.check(err)
			tip, err := w.remote.Tip("main")
			w.check(err)
			w.equal("tip", tip, commit)
			w.intact(dir)
			warned := strings.Join(told.warnings, "\n")
			switch tt.stays {
			case "":
				w.equal("warnings", warned, "")
				w.equal("HEAD", w.judge(dir, "rev-parse", "HEAD"), commit)
				w.same(dir, "apps/a/dep.yaml")
			case "-": // of no concern
				w.equal("warnings", warned, "")
			default:
				if !strings.Contains(warned, tt.stays) {
					t.Errorf("warnings %q", warned)
				}
				w.judge(dir, "update-ref", "refs/remotes/origin/main", "HEAD")
				w.equal("state", w.state(dir), before)
			}
		})
	}
}

// A commit works in any checkout, or is refused and nothing has changed.
func TestCommitInCheckouts(t *testing.T) {
	t.Parallel()
	for _, tt := range checkouts {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			dir := tt.make(w)
			before := w.state(dir)
			r, told := w.open(dir, repo.Options{Getenv: func(string) string { return "" }})
			commit, err := bump(t.Context(), r.Local(), "app:1", "app:2", "apps")
			w.intact(dir)
			w.equal("warnings", told.warnings, []string(nil))
			if tt.refuse != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refuse) || tt.hint != "" && fault.HintOf(err) != tt.hint {
					t.Errorf("err %v, hint %q", err, fault.HintOf(err))
				}
				w.equal("state", w.state(dir), before)
				return
			}
			w.check(err)
			w.equal("HEAD", w.judge(dir, "rev-parse", "HEAD"), commit)
			w.same(dir, "apps/a/dep.yaml")
		})
	}
}

// same checks that a working file is what git itself would check out.
func (w *world) same(dir, file string) {
	w.Helper()
	got := w.read(dir, file)
	w.check(os.Remove(filepath.Join(dir, file)))
	w.judge(dir, "checkout", "--", file)
	w.equal(file, got, w.read(dir, file))
	if !strings.Contains(got, "app:2") {
		w.Errorf("%s: %q", file, got)
	}
}

// What go-git cannot read is refused with its name, before anything is touched.
func TestUnknownRepositories(t *testing.T) {
	w := &world{T: t}
	for format, config := range map[string][]string{
		"sha256": nil, "reftable": {"extensions.refStorage", "reftable"},
	} {
		dir := t.TempDir()
		object := "sha1"
		if config == nil {
			object = format
		}
		w.git(dir, "init", "-q", "--object-format="+object)
		if config != nil {
			w.git(dir, "config", "core.repositoryFormatVersion", "1")
			w.git(dir, append([]string{"config"}, config...)...)
		}
		_, err := repo.Open(dir, repo.Options{})
		w.equal(format, message(err), "open "+dir+": "+format+" repositories are not supported yet")
	}
}
