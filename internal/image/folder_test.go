package image_test

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/image"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func folderOf(headers ...tar.Header) func(*tar.Writer) error {
	return func(tw *tar.Writer) error {
		for _, h := range headers {
			h.ModTime = noon
			if h.Typeflag == tar.TypeReg {
				h.Size = 4
			}
			if err := tw.WriteHeader(&h); err != nil {
				return err
			}
			if h.Typeflag == tar.TypeReg {
				if _, err := tw.Write([]byte("text")); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func reg(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Uid: os.Getuid(), Gid: os.Getgid()}
}

func dir(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: os.Getuid(), Gid: os.Getgid()}
}

// TestWriteFolder puts files among others: modes, times and links arrive, what was there stays.
func TestWriteFolder(t *testing.T) {
	at := t.TempDir()
	must(t, os.Mkdir(filepath.Join(at, "d"), 0o755))
	write(t, filepath.Join(at, "d/mine"), []byte("mine"))
	must(t, os.Symlink("mine", filepath.Join(at, "d/a"))) // which is replaced
	must(t, image.WriteFolder(at, folderOf(dir("d", 0o750), reg("d/a", 0o4711), dir("d/locked", 0o555), reg("d/locked/b", 0o600),
		tar.Header{Typeflag: tar.TypeLink, Name: "d/c", Linkname: "d/a"}, tar.Header{Typeflag: tar.TypeSymlink, Name: "way", Linkname: "/etc"})))
	for name, want := range map[string]fs.FileMode{"d": fs.ModeDir | 0o750, "d/a": fs.ModeSetuid | 0o711, "d/locked": fs.ModeDir | 0o555, "d/locked/b": 0o600,
		"d/mine": 0o644, "way": fs.ModeSymlink | 0o777} {
		stat, err := os.Lstat(filepath.Join(at, name))
		must(t, err)
		if stat.Mode() != want || name != "way" && name != "d/mine" && !stat.ModTime().Equal(noon) {
			t.Errorf("%s: %v of %v, want %v", name, stat.Mode(), stat.ModTime(), want)
		}
	}
	a, err := os.Stat(filepath.Join(at, "d/a"))
	must(t, err)
	if c, err := os.Stat(filepath.Join(at, "d/c")); err != nil || !os.SameFile(a, c) {
		t.Errorf("d/c is not d/a: %v", err)
	}
	if mine, err := os.ReadFile(filepath.Join(at, "d/mine")); err != nil || string(mine) != "mine" {
		t.Errorf("mine is %q, %v", mine, err)
	}
	if left, _ := os.ReadDir(at); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
}

// TestWriteFolderStaysInside writes nothing outside of the folder, and nothing at all when something is wrong.
func TestWriteFolderStaysInside(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, tt := range map[string]struct {
		write func(*tar.Writer) error
		part  string
	}{
		"up":          {folderOf(reg("a", 0o644), reg("../up", 0o644)), ".. is no folder"},
		"link":        {folderOf(tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: ".."}, reg("l/a", 0o644)), "l is no folder"},
		"hard link":   {folderOf(tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "../../secret"}), "path escapes"},
		"device":      {folderOf(reg("a", 0o644), tar.Header{Typeflag: tar.TypeChar, Name: "null"}), "a device or pipe"},
		"over folder": {folderOf(reg("a", 0o644), reg("kept", 0o644)), "kept is a folder there"},
		"late error":  {func(tw *tar.Writer) error { return errors.Join(folderOf(reg("a", 0o644))(tw), broken) }, "disk on fire"},
	} {
		top := t.TempDir()
		write(t, filepath.Join(top, "secret"), []byte("secret"))
		at := filepath.Join(top, "at")
		must(t, os.MkdirAll(filepath.Join(at, "kept"), 0o755))
		if err := image.WriteFolder(at, tt.write); err == nil || !strings.Contains(err.Error(), tt.part) {
			t.Errorf("%s: %v", name, err)
		}
		inside, _ := os.ReadDir(at)
		outside, _ := os.ReadDir(top)
		if len(inside) != 1 || len(outside) != 2 {
			t.Errorf("%s: inside %v, outside %v", name, inside, outside)
		}
	}
	none := filepath.Join(t.TempDir(), "new", "deep")
	if err := image.WriteFolder(none, func(*tar.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Dir(none)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder was left behind: %v", err)
	}
}

// TestWriteFolderReplacesLinks does not follow a link of the folder.
func TestWriteFolderReplacesLinks(t *testing.T) {
	top := t.TempDir()
	at, outside := filepath.Join(top, "at"), filepath.Join(top, "outside")
	must(t, errors.Join(os.Mkdir(at, 0o755), os.Mkdir(outside, 0o755), os.Symlink(outside, filepath.Join(at, "d")), os.Symlink(outside, filepath.Join(at, "f"))))
	must(t, image.WriteFolder(at, folderOf(dir("d", 0o755), reg("d/a", 0o644), reg("f", 0o644))))
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("a link was followed: %v", left)
	}
	if _, err := os.Lstat(filepath.Join(at, "d", "a")); err != nil {
		t.Error(err)
	}
}
