package layerdir_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/layerdir"
)

// layer is a layer directory of a tar.
func layer(t *testing.T, headers ...tar.Header) string {
	t.Helper()
	top := filepath.Join(t.TempDir(), "layer")
	must(t, layerdir.Unpack(t.Context(), top, tarOf(t, headers...)))
	return top
}

// TestEntries wants of a layer what it changes about those below.
func TestEntries(t *testing.T) {
	needRoot(t)
	noLeak(t)
	type tars [][]tar.Header
	private := tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o700}
	device := func(minor int64) tar.Header {
		return tar.Header{Name: "n", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: minor}
	}
	for _, tt := range []struct {
		name   string
		layers tars // the last is listed
		want   string
	}{
		{"in order, after what is above", tars{{file("b/c/d"), file("a.b/x"), file("a"), file("a-/y")}}, "a a-/ a-/y a.b/ a.b/x b/ b/c/ b/c/d"},
		{"hard links", tars{{file("b/x"), link("a", "b/x"), link("c", "a")}}, "a b/ b/x=a c=a"},
		{"what is the same below", tars{{file("d/a"), symlink("l", "a")}, {file("d/a"), symlink("l", "a")}}, ""},
		{"of the topmost of those below", tars{{file("a")}, {file(".wh.a")}, {file("a")}}, "a"},
		{"a directory like that below", tars{{dir("d")}, {dir("d"), file("d/x")}}, "d/ d/x"},
		{"a directory with another mode", tars{{dir("d")}, {private}}, "d/"},
		{"a link with another target", tars{{symlink("l", "aa")}, {symlink("l", "ab")}}, "l"},
		{"a device with another number", tars{{device(3)}, {device(5)}}, "n"},
		{"deletions", tars{{file("d/a"), file("e/b/c")}, {dir("d"), file("d/.wh.a"), dir("e"), file("e/.wh.b")}}, "d/ d/.wh.a e/ e/.wh.b"},
		{"a deletion of what is not there", tars{{dir("d")}, {dir("d"), file("d/.wh.a")}}, ""},
		{"of what is deleted already", tars{{file("a"), dir("d")}, {file(".wh.a")}, {file(".wh.a"), file("d/.wh..wh..opq")}}, ""},
		{"an opaque directory", tars{{file("d/a"), file("d/b"), file("d/e/f")}, {dir("d"), file("d/.wh..wh..opq"), file("d/b"), file("d/c")}},
			"d/ d/.wh.a d/c d/.wh.e"},
		{"below an opaque directory", tars{{file("d/e/f"), file("d/e/g")}, {file("d/.wh..wh..opq"), file("d/e/f")}}, "d/ d/e/ d/e/.wh.g"},
		{"an opaque directory hides from those above", tars{{file("d/a")}, {file("d/.wh..wh..opq"), file("d/b")}, {file("d/.wh..wh..opq")}}, "d/ d/.wh.b"},
		{"a file in the place of a directory", tars{{file("d/a")}, {file("d")}}, "d"},
		{"a directory in the place of a file", tars{{file("d")}, {file(".wh.d"), file("d/a")}}, "d/ d/a"},
	} {
		var layers []string
		for _, headers := range tt.layers {
			layers = append(layers, layer(t, headers...))
		}
		entries, err := layerdir.Entries(t.Context(), layers[len(layers)-1], layers[:len(layers)-1]...)
		must(t, err)
		var have []string
		for _, e := range entries {
			if e.Typeflag == tar.TypeLink {
				e.Name += "=" + e.Linkname
			}
			have = append(have, e.Name)
		}
		if diff := cmp.Diff(tt.want, strings.Join(have, " ")); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// TestContent wants a file to be told when only its bytes are others.
func TestContent(t *testing.T) {
	needRoot(t)
	below, above := layer(t, file("d/x")), layer(t, file("d/x"))
	for fraction := range 2 {
		at := time.Unix(1500000000, int64(fraction))
		must(t, os.WriteFile(filepath.Join(above, "d/x"), []byte("y/d"), 0o644))
		must(t, os.Chtimes(filepath.Join(below, "d/x"), at, at))
		must(t, os.Chtimes(filepath.Join(above, "d/x"), at, at))
		if _, entries := pack(t, above, below); fmt.Sprint(names(entries)) != "[d/ d/x]" {
			t.Errorf("%v", names(entries))
		}
	}
}

// TestHeaders wants entries as tars have them.
func TestHeaders(t *testing.T) {
	needRoot(t)
	top := t.TempDir()
	at := time.Unix(1500000000, 999999999)
	name := filepath.Join(top, "f")
	must(t, os.WriteFile(name, []byte("content"), 0o600))
	must(t, os.Chown(name, 7, 8))
	must(t, os.Chmod(name, 0o751|os.ModeSetuid))
	must(t, unix.Setxattr(name, "security.capability", capable, 0))
	must(t, unix.Setxattr(name, "user.overlay.origin", []byte("x"), 0))
	must(t, unix.Setxattr(name, "user.mine", []byte("x"), 0))
	must(t, os.Chtimes(name, at, at))
	must(t, unix.Mknod(filepath.Join(top, "b"), unix.S_IFBLK|0o640, int(unix.Mkdev(8, 300))))
	must(t, os.WriteFile(filepath.Join(top, ".wh.x"), nil, 0o600))
	must(t, os.Lchown(top, 9, 9))
	l, err := net.Listen("unix", filepath.Join(top, "s"))
	must(t, err)
	defer l.Close()
	_, entries := pack(t, top)
	for _, e := range entries {
		if e.Name == "b" {
			e.ModTime = time.Time{}
		}
	}
	want := []*tar.Header{
		{Typeflag: tar.TypeBlock, Name: "b", Mode: 0o640, Devmajor: 8, Devminor: 300, Format: tar.FormatPAX},
		{Typeflag: tar.TypeReg, Name: "f", Mode: 0o4751, Uid: 7, Gid: 8, Size: 7, ModTime: time.Unix(1500000000, 0), Format: tar.FormatPAX,
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": string(capable)}},
	}
	if diff := cmp.Diff(want, entries); diff != "" {
		t.Error(diff)
	}
	must(t, unix.Setxattr(top, "user.overlay.redirect", []byte("/x"), 0))
	if _, err := layerdir.Entries(t.Context(), filepath.Dir(top)); err == nil || !strings.Contains(err.Error(), "stands for another directory") {
		t.Error(err)
	}
}

// TestFile wants a file by its name, and nothing else.
func TestFile(t *testing.T) {
	needRoot(t)
	noLeak(t)
	top := layer(t, file("d/x"), symlink("l", "d/x"), symlink("e", "d"), symlink("out", "/etc"), tar.Header{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o644},
		tar.Header{Name: "n", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3})
	f, err := layerdir.File(top, "d/x")
	must(t, err)
	content, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	if string(content) != "d/x" {
		t.Errorf("%q", content)
	}
	for _, name := range []string{"l", "e/x", "out/passwd", "p", "n", "d", "", "none", "/etc/passwd", "../layer/d/x", "d/../../../../../../../etc/passwd"} {
		if f, err := layerdir.File(top, name); err == nil {
			f.Close()
			t.Errorf("%s can be opened", name)
		}
	}
}

// TestShrunk wants a file that has become shorter since it was listed to be an error, and one that has grown to be cut.
func TestShrunk(t *testing.T) {
	needRoot(t)
	top := layer(t, file("x"))
	_, entries := pack(t, top)
	must(t, os.WriteFile(filepath.Join(top, "x"), []byte("xy"), 0o644))
	must(t, layerdir.Write(t.Context(), top, entries, tar.NewWriter(&bytes.Buffer{})))
	must(t, os.WriteFile(filepath.Join(top, "x"), nil, 0o644))
	if err := layerdir.Write(t.Context(), top, entries, tar.NewWriter(&bytes.Buffer{})); err == nil || !strings.Contains(err.Error(), "/x: it has become shorter") {
		t.Error(err)
	}
}
