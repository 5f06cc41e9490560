package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

func TestLocalCommit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		prepare [][]string
	}{
		{"branch", nil},
		{"packed branch", [][]string{{"pack-refs", "--all"}}},
		{"branch with slashes", [][]string{{"checkout", "-q", "-b", "feature/one"}, {"pack-refs", "--all"}}},
		{"detached", [][]string{{"checkout", "-q", "--detach"}}},
		{"no reflog", [][]string{{"config", "core.logAllRefUpdates", "false"}, {"reflog", "expire", "--expire=now", "--all"}}},
		{"CRLF", [][]string{{"config", "core.autocrlf", "true"}, {"rm", "-rq", "--cached", "."}, {"reset", "-q", "--hard"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			dir := w.clone()
			for _, args := range tt.prepare {
				w.git(dir, args...)
			}
			before := w.git(dir, "rev-parse", "HEAD")
			ref, _ := gittest.Git(dir, "symbolic-ref", "-q", "HEAD")
			r, _ := w.open(dir, repo.Options{})
			b := r.Local()
			commit, err := bump(t.Context(), b, "app:1", "app:2")
			w.check(err)
			w.followed(dir, commit)
			w.equal("parent", w.git(dir, "rev-parse", "HEAD^"), before)
			after, _ := gittest.Git(dir, "symbolic-ref", "-q", "HEAD")
			w.equal("HEAD", after, ref)
			w.equal("name", b.Name(), strings.TrimPrefix(strings.TrimSpace(ref), "refs/heads/"))
			w.equal("mode", w.git(dir, "ls-files", "-s", "run.sh")[:6], "100755")
			if tt.name == "CRLF" {
				w.equal("working file", w.read(dir, "apps/b/dep.yaml"), "image: registry.example.com/app:2\r\n")
				w.equal("blob", w.git(dir, "cat-file", "blob", "HEAD:apps/b/dep.yaml"), "image: registry.example.com/app:2")
			}
			if tt.name == "branch" {
				w.equal("reflog", w.git(dir, "log", "-g", "-1", "--format=%gs"), "commit: bump app:2")
				w.equal("reflog of the branch", w.git(dir, "log", "-g", "-1", "--format=%gs", "main"), "commit: bump app:2")
			}
			w.equal("remote", w.git(w.remote.Dir, "log", "--format=%s", "main"), "somebody's commit")
		})
	}
}

// A file of the user's in the way is refused before anything is written; other changes of the user's stay as they are.
func TestLocalRefusesDirtyFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, path, status, want string
		stage                    bool
	}{
		{"unstaged", "apps/b/dep.yaml", " M apps/b/dep.yaml", "apps/b/dep.yaml: it has uncommitted changes", false},
		{"staged", "apps/b/dep.yaml", "M  apps/b/dep.yaml", "apps/b/dep.yaml: it has staged changes", true},
		{"unrelated", "README", " M README", "", false},
		{"unrelated staged", "README", "M  README", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			dir := w.clone()
			before := w.git(dir, "rev-parse", "HEAD")
			w.write(dir, tt.path, "mine")
			if tt.stage {
				w.git(dir, "add", tt.path)
			}
			objects := w.git(dir, "count-objects")
			r, _ := w.open(dir, repo.Options{})
			commit, err := bump(t.Context(), r.Local(), "app:1", "app:2")
			w.equal("error", message(err), tt.want)
			if err != nil && !strings.HasPrefix(fault.HintOf(err), "commit or stash") {
				t.Errorf("hint %q", fault.HintOf(err))
			}
			w.equal("status", w.git(dir, "status", "--porcelain"), tt.status)
			w.equal("dirty file", w.read(dir, tt.path), "mine")
			if err != nil {
				w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), before)
				w.equal("objects", w.git(dir, "count-objects"), objects)
				return
			}
			w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), commit)
			w.equal("log --stat", w.git(dir, "log", "-1", "--stat", "--format="), stat)
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Somebody commits in the same checkout between our look and our commit.
func TestLocalRace(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	r, _ := w.open(dir, repo.Options{})
	b := r.Local()
	tip, err := b.Tip(t.Context())
	w.check(err)
	commit, err := b.Commit(t.Context(), tip, map[string][]byte{"README": []byte("ours")}, "ours")
	w.check(err)
	w.git(dir, "commit", "-q", "--allow-empty", "-m", "theirs")
	theirs := w.git(dir, "rev-parse", "HEAD")
	_, err = b.Publish(t.Context(), tip, []string{commit})
	w.equal("kind", fault.KindOf(err), fault.Conflict)
	w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), theirs)
	w.clean(dir)
}

// A branch that git itself is writing is waited for.
func TestBranchLocked(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	w.write(dir, ".git/refs/heads/main.lock", "")
	r, _ := w.open(dir, repo.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := r.Local()
	tip, err := b.Tip(ctx)
	w.check(err)
	commit, err := b.Commit(t.Context(), tip, map[string][]byte{"README": []byte("ours")}, "ours")
	w.check(err)
	_, err = b.Publish(ctx, tip, []string{commit})
	w.equal("error", message(err), context.Canceled.Error())
	w.equal("file", w.read(dir, "README"), "read me\n")
	w.clean(dir)
}

// With index.skipHash git leaves the checksum of its index zero; a wrong one is a damaged index.
func TestIndexChecksum(t *testing.T) {
	for fill, want := range map[byte]string{0: "", 1: "git's index is damaged"} {
		w := newWorld(t, gittest.Options{})
		dir := w.clone()
		data := []byte(w.read(dir, ".git/index"))
		copy(data[len(data)-20:], bytes.Repeat([]byte{fill}, 20))
		w.write(dir, ".git/index", string(data))
		r, _ := w.open(dir, repo.Options{})
		commit, err := bump(t.Context(), r.Local(), "app:1", "app:2")
		if want == "" {
			w.check(err)
			w.followed(dir, commit)
		} else if !strings.HasSuffix(message(err), want) {
			t.Errorf("err = %v", err)
		}
	}
}

func TestFiles(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	module := filepath.Join(t.TempDir(), "module")
	w.git("", "clone", "-q", w.remote.URL, module)
	w.git(dir, "update-index", "--add", "--cacheinfo", "160000,"+w.git(dir, "rev-parse", "HEAD")+",apps/module")
	w.git(dir, "commit", "-q", "-m", "submodule")
	r, _ := w.open(dir, repo.Options{})
	b := r.Local()
	tip, err := b.Tip(t.Context())
	w.check(err)
	for _, tt := range []struct {
		under []string
		want  []string
	}{
		{nil, []string{"README", "apps/a-b.yaml", "apps/a/dep.yaml", "apps/a/link.yaml (symbolic link)", "apps/b/dep.yaml", "apps/module (submodule)", "run.sh"}},
		{[]string{"apps/a"}, []string{"apps/a/dep.yaml", "apps/a/link.yaml (symbolic link)"}},
		{[]string{"apps/b/dep.yaml", "apps/b", "README"}, []string{"README", "apps/b/dep.yaml"}},
		{[]string{"nowhere"}, nil},
	} {
		var got []string
		for file, err := range b.Files(t.Context(), tip, tt.under) {
			w.check(err)
			name := file.Path
			if file.Skip != "" {
				name += " (" + file.Skip + ")"
			}
			got = append(got, name)
		}
		w.equal(fmt.Sprint(tt.under), got, tt.want)
	}
	for range b.Files(t.Context(), tip, nil) {
		break // a consumer may stop
	}
}

// What a partial clone does not have comes from the remote that has it. Without that it is skipped, and the rest is done.
func TestLocalPartialClone(t *testing.T) {
	for _, tt := range []struct {
		name, origin, skip, warning string
	}{
		{"fetched", "", "", ""},
		{"no server", "/gone.git", "not in this partial clone", "this partial clone stays without 1 files that may name images: reach "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			dir := w.clone("--filter=blob:none", "--sparse")
			w.git(dir, "sparse-checkout", "set", "--cone", "apps/b")
			if tt.origin != "" {
				w.git(dir, "remote", "set-url", "origin", w.server.URL+tt.origin)
			}
			r, told := w.open(dir, repo.Options{})
			b := r.Local()
			tip, err := b.Tip(t.Context())
			w.check(err)
			skipped := map[string]string{}
			for file, err := range b.Files(t.Context(), tip, []string{"apps/a", "apps/b"}) {
				w.check(err)
				skipped[file.Path] = file.Skip
			}
			w.equal("skipped", skipped, map[string]string{
				"apps/a/dep.yaml": tt.skip, "apps/a/link.yaml": "symbolic link", "apps/b/dep.yaml": "",
			})
			if got := strings.Join(told.warnings, "\n"); !strings.HasPrefix(got, tt.warning) || (got == "") != (tt.warning == "") {
				t.Errorf("warnings %q", got)
			}
			commit, err := bump(t.Context(), b, "app:1", "app:2", "apps")
			w.check(err)
			w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), commit)
			files := " apps/a/dep.yaml | 2 +-\n apps/b/dep.yaml | 2 +-\n 2 files changed, 2 insertions(+), 2 deletions(-)"
			if tt.skip != "" {
				w.git(dir, "remote", "set-url", "origin", w.remote.URL) // git needs it to tell what changed
				files = " apps/b/dep.yaml | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)"
			}
			w.equal("files", w.git(dir, "show", "--stat", "--format="), files)
			w.clean(dir)
			w.git(dir, "fsck")
		})
	}
}

func TestCommitRefuses(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	r, _ := w.open(w.clone(), repo.Options{})
	b := r.Local()
	tip, err := b.Tip(t.Context())
	w.check(err)
	for path, want := range map[string]string{
		"new/new.yaml":     "new is not in it",
		"apps/a/link.yaml": "apps/a/link.yaml is a 0120000",
		"apps/a":           "apps/a is a 0040000",
		"README/x":         "README is a 0100644",
	} {
		_, err := b.Commit(t.Context(), tip, map[string][]byte{path: []byte("x")}, "m")
		w.equal(path, message(err), "make a commit on "+tip[:7]+": "+want)
	}
	same, err := b.Commit(t.Context(), tip, map[string][]byte{"README": []byte("read me\n")}, "m")
	w.check(err)
	w.equal("no change, no commit", same, tip)
	_, err = b.Publish(t.Context(), tip, []string{same})
	w.check(err)
}

func TestAuthorAndMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	const format = "%an <%ae>|%cn <%ce>|%at|%B"
	for _, tt := range []struct {
		name    string
		config  [2]string
		options repo.Options
		want    string
	}{
		{"fallback", [2]string{}, repo.Options{}, "imgbump <imgbump@localhost>|imgbump <imgbump@localhost>|1800000000|bump app:2\n\nImgbump: v1"},
		{"workflow", [2]string{}, repo.Options{Getenv: workflow}, "github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com>|github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com>|1800000000|bump app:3\n\nImgbump: v1"},
		{"git's", [2]string{"Ann", "ann@example.com"}, repo.Options{SignOff: true}, "Ann <ann@example.com>|Ann <ann@example.com>|1800000000|bump app:4\n\nImgbump: v1\nSigned-off-by: Ann <ann@example.com>"},
		{"asked for", [2]string{"Ann", "ann@example.com"}, repo.Options{Author: repo.Signature{Name: "Bob", Email: "b@example.com"}}, "Bob <b@example.com>|Bob <b@example.com>|1800000000|bump app:5\n\nImgbump: v1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{t, w.server, w.remote}
			if tt.config[0] != "" {
				w.git(dir, "config", "user.name", tt.config[0])
				w.git(dir, "config", "user.email", tt.config[1])
			}
			r, _ := w.open(dir, tt.options)
			n := int(tt.want[strings.Index(tt.want, "app:")+4] - '0')
			_, err := bump(t.Context(), r.Local(), fmt.Sprint("app:", n-1), fmt.Sprint("app:", n))
			w.check(err)
			w.equal("commit", w.git(dir, "log", "-1", "--format="+format), tt.want)
		})
	}
}

func TestSigningIsNotSupportedYet(t *testing.T) {
	for value, warns := range map[string]int{"true": 1, "On": 1, "false": 0, "": 0} {
		w := newWorld(t, gittest.Options{})
		dir := w.clone()
		w.git(dir, "config", "commit.gpgSign", value)
		r, l := w.open(dir, repo.Options{})
		for i := range 2 {
			_, err := bump(t.Context(), r.Local(), fmt.Sprint("app:", i+1), fmt.Sprint("app:", i+2))
			w.check(err)
		}
		w.equal("warnings for "+value, strings.Count(strings.Join(l.warnings, "\n"), "not signed"), warns)
	}
}

func workflow(name string) string {
	if name == "GITHUB_ACTIONS" {
		return "true"
	}
	return os.Getenv(name)
}

func TestOpenRefuses(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	sha256 := filepath.Join(t.TempDir(), "sha256")
	w.git("", "init", "-q", "--object-format=sha256", sha256)
	for dir, want := range map[string]string{
		t.TempDir():                      "no git repository here or above",
		w.remote.Dir:                     "it is a bare repository, without files to change",
		sha256:                           "sha256 repositories are not supported yet",
		filepath.Join(t.TempDir(), "no"): "no such file or directory",
	} {
		if _, err := repo.Open(dir, repo.Options{}); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	unborn := filepath.Join(t.TempDir(), "unborn")
	w.git("", "init", "-q", unborn)
	r, _ := w.open(unborn, repo.Options{})
	_, err := r.Local().Tip(t.Context())
	w.equal("unborn", message(err), "read HEAD of "+r.Root()+": refs/heads/main: it has no commit yet")
	w.equal("unborn", fault.HintOf(err), "make a first commit with git")
	_, err = r.Prefix(t.TempDir())
	w.equal("outside", fault.KindOf(err), fault.Usage)
}

// A change of the user's that git can tell only by looking into the file, because it has the size and the time of the
// file before it, is still seen when the index has been replaced.
func TestFollowKeepsRacyFilesVisible(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	w.git(dir, "config", "core.trustctime", "false")
	then := time.Unix(1_700_000_000, 0)
	touch := func(name string) { w.check(os.Chtimes(filepath.Join(dir, name), then, then)) }
	content := w.read(dir, "README")
	touch("README")
	w.git(dir, "update-index", "--refresh")
	touch(".git/index")
	r, _ := w.open(dir, repo.Options{})
	commit, err := bump(t.Context(), r.Local(), "app:1", "app:2")
	w.check(err)
	w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), commit)
	w.write(dir, "README", strings.Repeat("x", len(content)))
	touch("README")
	w.equal("status", w.git(dir, "status", "--porcelain"), " M README")
}
