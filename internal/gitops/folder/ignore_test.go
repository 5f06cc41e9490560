package folder_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/gitops/folder"
	"github.com/ksera524/imgbump/internal/gittest"
)

// listed are the paths of the files below root, with the reason of those that are skipped.
func listed(t *testing.T, root string, withIgnored bool, under ...string) (lines []string) {
	t.Helper()
	f, err := folder.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WithIgnored = withIgnored
	for file, err := range f.Files(t.Context(), under) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSuffix(file.Path+": "+file.Skip, ": "))
	}
	return lines
}

var ignoring = map[string]string{
	".gitignore": "*.gen.yaml\n/out/\n!keep.gen.yaml\nsub/deep/b.yaml\n",
	"a.yaml":     "", "a.gen.yaml": "", "keep.gen.yaml": "", "out/a.yaml": "", "out/keep.gen.yaml": "",
	"sub/.gitignore": "!b.gen.yaml\n/local.yaml\ntmp\n!deep/b.yaml\n",
	"sub/a.gen.yaml": "", "sub/b.gen.yaml": "", "sub/local.yaml": "", "sub/out/a.yaml": "", "sub/tmp/a.yaml": "",
	"sub/deep/local.yaml": "", "sub/deep/b.yaml": "", "sub/deep/a.gen.yaml": "", "sub/deep/.gitignore": "*\n!*.gen.yaml\n",
	"subway/local.yaml": "", "subway/tmp": "",
	"sub/deep/er/a.gen.yaml": "", "sub/deep/er/b.yaml": "",
}

// TestGitignoreAsGit compares with what git would add, seen from each folder.
func TestGitignoreAsGit(t *testing.T) {
	_, dir := lay(t, ignoring)
	if _, err := gittest.Git(dir, "init", "-q"); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{".", "sub", "sub/deep", "subway"} {
		out, err := gittest.Git(filepath.Join(dir, root), "ls-files", "-z", "--others", "--exclude-standard")
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Split(strings.Trim(out, "\x00\n"), "\x00")
		slices.Sort(want)
		got := listed(t, filepath.Join(dir, root), false)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -git +ours:\n%s", root, diff)
		}
	}
	if got := len(listed(t, dir, true)); got != len(ignoring) {
		t.Errorf("with what is ignored: %d files", got)
	}
	want := []string{"out/a.yaml", "out/keep.gen.yaml", "a.gen.yaml", "sub/deep/.gitignore"}
	if diff := cmp.Diff(want, listed(t, dir, false, "out", "a.gen.yaml", "sub/deep/.gitignore")); diff != "" {
		t.Errorf("a path that is named counts: %s", diff)
	}
	if diff := cmp.Diff([]string{"sub/deep/a.gen.yaml"}, listed(t, dir, false, "sub/deep")); diff != "" {
		t.Errorf("rules from above a path: %s", diff)
	}
}

// TestGitignoreOutsideOfGit: a .gitignore counts below the root, one above it does not.
func TestGitignoreOutsideOfGit(t *testing.T) {
	_, dir := lay(t, map[string]string{".gitignore": "*", "root/.gitignore": "b.yaml\n.gitignore", "root/a.yaml": "", "root/b.yaml": ""})
	if diff := cmp.Diff([]string{"a.yaml"}, listed(t, filepath.Join(dir, "root"), false)); diff != "" {
		t.Error(diff)
	}
}

// TestGitignoreLink is not followed, as git does not.
func TestGitignoreLink(t *testing.T) {
	_, dir := lay(t, map[string]string{"rules": "*.yaml", "a.yaml": ""})
	if err := os.Symlink("rules", filepath.Join(dir, ".gitignore")); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, dir, false); !slices.Contains(got, "a.yaml") {
		t.Errorf("got %q", got)
	}
}

func TestWhatIsNoFile(t *testing.T) {
	_, dir := lay(t, map[string]string{"a.yaml": ""})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // a socket's path is short
	socket, err := net.Listen("unix", "socket.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := os.Mkdir("sealed", 0); err != nil {
		t.Fatal(err)
	}
	want := []string{"a.yaml", "pipe.yaml: a named pipe", "sealed/: cannot be read: permission denied", "socket.yaml: a socket"}
	if os.Geteuid() == 0 {
		want = slices.Delete(want, 2, 3) // the administrator reads everything
	}
	if diff := cmp.Diff(want, listed(t, dir, false)); diff != "" {
		t.Error(diff)
	}
}
