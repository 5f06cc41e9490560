package repo_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

func TestMain(m *testing.M) {
	os.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	for _, name := range []string{"GITHUB_ACTIONS", "GITHUB_REPOSITORY", "GITHUB_HEAD_REF", "GITHUB_REF_TYPE", "GITHUB_REF_NAME", "GIT_SSL_CAINFO"} {
		os.Unsetenv(name)
	}
	code := m.Run()
	if template.server != nil {
		template.server.Close()
	}
	os.Exit(code)
}

// template is what every world begins as, made once.
var template struct {
	once   sync.Once
	server *gittest.Server
	remote *gittest.Repository
	err    error
}

func makeTemplate() {
	if template.server, template.err = gittest.Start(gittest.Options{}); template.err != nil {
		return
	}
	if template.remote, template.err = template.server.Create("app.git"); template.err == nil {
		_, template.err = template.remote.Commit("main", "somebody's commit", tree())
	}
}

// tree is what most tests begin with.
func tree() fstest.MapFS {
	return fstest.MapFS{
		"README":           {Data: []byte("read me\n")},
		"apps/a-b.yaml":    {Data: []byte("image: x:1\n")},
		"apps/a/dep.yaml":  {Data: []byte("kind: Deployment\nimage: registry.example.com/app:1\n")},
		"apps/a/link.yaml": {Data: []byte("dep.yaml"), Mode: fs.ModeSymlink | 0o777},
		"apps/b/dep.yaml":  {Data: []byte("image: registry.example.com/app:1\n")},
		"run.sh":           {Data: []byte("#!/bin/sh\n# image: registry.example.com/app:1\n"), Mode: 0o755},
	}
}

// world is a git server with one repository, "org/app.git", with tree on main.
type world struct {
	*testing.T
	server *gittest.Server
	remote *gittest.Repository
}

func newWorld(t *testing.T, options gittest.Options) *world {
	t.Helper()
	w := &world{T: t}
	var err error
	if w.server, err = gittest.Start(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.server.Close() })
	template.once.Do(makeTemplate)
	w.check(template.err)
	w.remote, err = w.server.Copy("org/app.git", template.remote)
	w.check(err)
	return w
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("%v (hint: %s)", err, fault.HintOf(err))
	}
}

// push is somebody else's commit.
func (w *world) push(files fs.FS) string {
	w.Helper()
	commit, err := w.remote.Commit("main", "somebody's commit", files)
	w.check(err)
	return commit
}

func (w *world) git(dir string, args ...string) string {
	w.Helper()
	out, err := gittest.Git(dir, args...)
	w.check(err)
	return strings.TrimRight(out, "\n")
}

// clone makes a checkout with git itself, on the short way: past the server.
func (w *world) clone(args ...string) string {
	w.Helper()
	dir := filepath.Join(w.TempDir(), "checkout")
	from := "file://" + w.remote.Dir
	w.git("", append(append([]string{"clone", "-q"}, args...), from, dir)...)
	w.write(dir, ".git", "config", strings.ReplaceAll(w.read(dir, ".git", "config"), from+"\n", w.remote.URL+"\n"))
	return dir
}

func (w *world) write(elem ...string) {
	w.Helper()
	content := elem[len(elem)-1]
	w.check(os.WriteFile(filepath.Join(elem[:len(elem)-1]...), []byte(content), 0o644))
}

func (w *world) read(elem ...string) string {
	w.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	w.check(err)
	return string(data)
}

// told collects warnings and masks.
type told struct{ warnings, masks []string }

func (w *world) open(dir string, options repo.Options) (*repo.Repo, *told) {
	w.Helper()
	l := &told{}
	options.Now = func() time.Time { return time.Unix(1800000000, 0).UTC() }
	options.Warn = func(s string) { l.warnings = append(l.warnings, s) }
	options.Mask = func(s string) { l.masks = append(l.masks, s) }
	r, err := repo.Open(dir, options)
	w.check(err)
	w.Cleanup(func() { r.Close() })
	return r, l
}

func (w *world) openRemote(dir string, options repo.Options) (*repo.Remote, *told) {
	w.Helper()
	r, l := w.open(dir, options)
	branch, err := r.Remote("origin", "")
	w.check(err)
	return branch, l
}

// branch is what the bump pipeline knows of us.
type branch interface {
	Tip(ctx context.Context) (string, error)
	Commit(ctx context.Context, parent string, files map[string][]byte, message string) (string, error)
	Publish(ctx context.Context, parent string, commits []string) ([]string, error)
}

var _ = []branch{(*repo.Local)(nil), (*repo.Remote)(nil)}

// bump does once what the pipeline repeats: in every file, from is replaced by to.
func bump(ctx context.Context, b interface {
	branch
	filer
}, from, to string, under ...string) (string, error) {
	tip, err := b.Tip(ctx)
	if err != nil {
		return "", err
	}
	files := map[string][]byte{}
	for file, err := range b.Files(ctx, tip, under) {
		if err != nil {
			return "", err
		}
		if file.Skip != "" {
			continue
		}
		data, err := file.Read(nil)
		if err != nil {
			return "", err
		}
		if changed := bytes.ReplaceAll(data, []byte(from), []byte(to)); !bytes.Equal(changed, data) {
			files[file.Path] = changed
		}
	}
	commit, err := b.Commit(ctx, tip, files, "bump "+to+"\n\nImgbump: v1")
	if err != nil {
		return "", err
	}
	_, err = b.Publish(ctx, tip, []string{commit})
	return commit, err
}

const stat = " apps/a/dep.yaml | 2 +-\n apps/b/dep.yaml | 2 +-\n run.sh          | 2 +-\n 3 files changed, 3 insertions(+), 3 deletions(-)"

// followed checks that a commit has the three files, and that the checkout agrees with it.
func (w *world) followed(dir, commit string) {
	w.Helper()
	if got := w.git(dir, "rev-parse", "HEAD"); got != commit {
		w.Errorf("HEAD is %s, not %s", got, commit)
	}
	if got := w.git(dir, "log", "-1", "--stat", "--format="); got != stat {
		w.Errorf("log --stat:\n%s", got)
	}
	w.equal("tree of the index", w.git(dir, "write-tree"), w.git(dir, "rev-parse", "HEAD^{tree}"))
	w.clean(dir)
	w.sound(dir)
}

func (w *world) clean(dir string) {
	w.Helper()
	if got := w.git(dir, "diff-index", "HEAD"); got != "" { // before status, which mends stat data
		w.Errorf("the index's stat data is wrong:\n%s", got)
	}
	if got := w.git(dir, "status", "--porcelain"); got != "" {
		w.Errorf("status:\n%s", got)
	}
	if _, err := os.Stat(filepath.Join(dir, ".git", "index.lock")); err == nil {
		w.Error("index.lock stays")
	}
}

func (w *world) sound(dir string) {
	w.Helper()
	w.git(dir, "fsck", "--full", "--strict")
	w.check(w.remote.Fsck())
}

func (w *world) equal(what string, got, want any) {
	w.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
