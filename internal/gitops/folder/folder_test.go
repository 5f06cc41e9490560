package folder_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/folder"
)

// lay makes a folder with the files and opens it.
func lay(t *testing.T, files map[string]string) (*folder.Folder, string) {
	t.Helper()
	dir := t.TempDir()
	for p, content := range files {
		full := filepath.Join(dir, p)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := folder.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, dir
}

// content is what lies in dir, by path.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, p))
		files[p] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestFiles(t *testing.T) {
	f, dir := lay(t, map[string]string{"b/x.yaml": "x", "a.yaml": "a", ".git/config": "no", "b/c/y.yaml": "yy", "z/q.yaml": "q"})
	if err := os.Symlink("../a.yaml", filepath.Join(dir, "b", "link.yaml")); err != nil {
		t.Fatal(err)
	}
	list := func(under ...string) (lines []string) {
		for file, err := range f.Files(t.Context(), under) {
			if err != nil {
				t.Fatal(err)
			}
			line := file.Path
			if file.Skip != "" {
				line += " skipped"
			} else if data, err := file.Read(nil); err != nil || len(data) == 0 {
				t.Errorf("%s: %q, %v", file.Path, data, err)
			}
			lines = append(lines, line)
		}
		return lines
	}
	if diff := cmp.Diff([]string{"a.yaml", "b/c/y.yaml", "b/link.yaml skipped", "b/x.yaml", "z/q.yaml"}, list()); diff != "" {
		t.Errorf("all: %s", diff)
	}
	if diff := cmp.Diff([]string{"z/q.yaml", "b/c/y.yaml"}, list("z", "b/c/y.yaml")); diff != "" {
		t.Errorf("under: %s", diff)
	}
	for range f.Files(t.Context(), nil) {
		break // an iteration may end early
	}
}

func TestFilesStopsWithTheContext(t *testing.T) {
	f, _ := lay(t, map[string]string{"a.yaml": "a"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range f.Files(ctx, nil) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

func TestReadsFileThatGrewSinceItWasListed(t *testing.T) {
	f, dir := lay(t, map[string]string{"a.yaml": "a"})
	for file := range f.Files(t.Context(), nil) {
		longer := strings.Repeat("longer ", 10_000)
		if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(longer), 0o644); err != nil {
			t.Fatal(err)
		}
		if data, err := file.Read(nil); err != nil || string(data) != longer {
			t.Errorf("read %d bytes, %v", len(data), err)
		}
	}
}

func TestWrite(t *testing.T) {
	f, dir := lay(t, map[string]string{"a.yaml": "a", "b/c.yaml": "c", "other": "o"})
	owner := uint32(os.Getuid())
	if owner == 0 {
		owner = 4321 // only root can give files away
	}
	a := filepath.Join(dir, "a.yaml")
	if err := errors.Join(os.Chown(a, int(owner), -1), os.Chmod(a, 0o640|os.ModeSetgid), os.Chmod(filepath.Join(dir, "b", "c.yaml"), 0o666)); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(t.Context(), map[string][]byte{"a.yaml": []byte("A"), "b/c.yaml": []byte("C")}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a.yaml": "A", "b/c.yaml": "C", "other": "o"}, content(t, dir)); diff != "" {
		t.Error(diff)
	}
	if info, _ := os.Stat(a); info.Mode() != 0o640|os.ModeSetgid || info.Sys().(*syscall.Stat_t).Uid != owner {
		t.Errorf("mode is %v, owner %v", info.Mode(), info.Sys())
	}
	if info, _ := os.Stat(filepath.Join(dir, "b", "c.yaml")); info.Mode() != 0o666 {
		t.Errorf("mode is %v, whatever new files get", info.Mode())
	}
}

// TestWriteAllOrNothing lets the last file be unwritable: the first stays as it was, and nothing else is left.
func TestWriteAllOrNothing(t *testing.T) {
	before := map[string]string{"a.yaml": "a", "secret": "s"}
	f, dir := lay(t, before)
	if err := os.Symlink("secret", filepath.Join(dir, "z.yaml")); err != nil {
		t.Fatal(err)
	}
	err := f.Write(t.Context(), map[string][]byte{"a.yaml": []byte("A"), "z.yaml": []byte("Z")})
	if err == nil || !strings.Contains(err.Error(), "z.yaml: it is no longer a regular file") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(before, content(t, dir)); diff != "" {
		t.Error(diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Write(ctx, map[string][]byte{"a.yaml": []byte("A")}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(before, content(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestRefusals(t *testing.T) {
	if _, err := folder.Open(filepath.Join(t.TempDir(), "nowhere")); fault.KindOf(err) != fault.Usage {
		t.Errorf("Open: %v", err)
	}
	f, dir := lay(t, map[string]string{"d/a.yaml": "a"})
	if err := os.Symlink("d", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"nowhere", "link", "../" + filepath.Base(dir)} {
		var errs []error
		for _, err := range f.Files(t.Context(), []string{p}) {
			errs = append(errs, err)
		}
		if !slices.ContainsFunc(errs, func(err error) bool { return fault.KindOf(err) == fault.Usage }) {
			t.Errorf("%s: %v", p, errs)
		}
	}
}
