package layerdir_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/layerdir"
)

func file(name string) tar.Header { return tar.Header{Name: name, Mode: 0o644} }

func dir(name string) tar.Header {
	return tar.Header{Name: name, Mode: 0o755, Typeflag: tar.TypeDir}
}

func symlink(name, target string) tar.Header {
	return tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}
}

func link(name, target string) tar.Header {
	return tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink}
}

// shape is what is in a directory: its names, with what they are where that is no plain file.
func shape(t *testing.T, top string) string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == top {
			return err
		}
		var st unix.Stat_t
		must(t, unix.Lstat(name, &st))
		said := name[len(top)+1:]
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			said += "/"
			if n, _ := unix.Lgetxattr(name, "user.overlay.opaque", make([]byte, 1)); n == 1 {
				said += "!"
			}
		case unix.S_IFLNK:
			target, err := os.Readlink(name)
			must(t, err)
			said += "->" + target
		case unix.S_IFCHR:
			if said += "?"; unix.Major(st.Rdev) != 0 {
				said += fmt.Sprint(st.Rdev)
			}
		default:
			if st.Nlink > 1 {
				said += fmt.Sprint("*", st.Nlink)
			}
		}
		all = append(all, said)
		return nil
	}))
	return strings.Join(all, " ")
}

// TestUnpack puts tars on each other, as a root filesystem, and the last of them alone, as a layer.
func TestUnpack(t *testing.T) {
	needRoot(t)
	noLeak(t)
	type tars [][]tar.Header
	for _, tt := range []struct {
		name         string
		tars         tars
		whole, layer string
	}{
		{"a whiteout removes, and hides below", tars{{file("a"), file("b/c")}, {file(".wh.a"), file("b/.wh.c")}}, "b/", "a? b/ b/c?"},
		{"a whiteout of a directory", tars{{file("a/b/c")}, {file(".wh.a")}}, "", "a?"},
		{"a whiteout of what is not there", tars{{file("a")}, {file("x/.wh.y")}}, "a", "x/ x/y?"},
		{"put in the place of a whiteout", tars{{file("a")}, {file(".wh.a"), file("a")}}, "a", "a"},
		{"a directory in the place of a whiteout hides what is below", tars{{file("a/b")}, {file(".wh.a"), dir("a")}}, "a/", "a/!"},
		{"and so does one that nobody describes", tars{{file("a/b")}, {file(".wh.a"), file("a/c/d")}}, "a/ a/c/ a/c/d", "a/! a/c/ a/c/d"},
		{"opaque hides earlier layers", tars{{file("a/b"), file("a/c/d")}, {file("a/c/e"), file("a/.wh..wh..opq"), file("a/f")}},
			"a/ a/c/ a/c/e a/f", "a/! a/c/ a/c/e a/f"},
		{"opaque keeps directories of its layer", tars{{file("a/b/x")}, {dir("a/b"), file("a/.wh..wh..opq")}}, "a/ a/b/", "a/! a/b/"},
		{"opaque where nothing is", tars{{file("x")}, {file("a/.wh..wh..opq")}}, "x", "a/!"},
		{"names of aufs", tars{{file("a")}, {dir(".wh..wh.plnk"), file(".wh..wh.aufs")}}, "a", ""},
		{"a file replaces a directory", tars{{file("a/b")}, {file("a")}}, "a", "a"},
		{"a directory replaces a file", tars{{file("a")}, {dir("a")}}, "a/", "a/"},
		{"a directory replaces a link", tars{{dir("a"), symlink("b", "a")}, {dir("b"), file("b/c")}}, "a/ b/ b/c", "b/ b/c"},
		{"a directory stays when it is named again", tars{{file("a/b")}, {dir("a")}}, "a/ a/b", "a/"},
		{"what is below a link is where that leads", tars{{dir("usr/lib"), symlink("lib", "usr/lib")}, {file("lib/a")}},
			"lib->usr/lib usr/ usr/lib/ usr/lib/a", "lib/ lib/a"},
		{"also where that is nothing yet", tars{{symlink("lib", "/usr/./lib")}, {file("lib/x/../a")}}, "lib->/usr/./lib usr/ usr/lib/ usr/lib/a", "lib/ lib/a"},
		{"a link that begins at the top", tars{{dir("d"), symlink("d/lib", "/usr/lib")}, {file("d/lib/a")}}, "d/ d/lib->/usr/lib usr/ usr/lib/ usr/lib/a", "d/ d/lib/ d/lib/a"},
		{"a directory that was hidden comes again", tars{{file("a/b/x")}, {file("a/b/.wh.x"), file("a/.wh..wh..opq"), file("a/b/c")}},
			"a/ a/b/ a/b/c", "a/! a/b/ a/b/c a/b/x?"},
		{"hard links", tars{{file("a"), link("b/c", "/a")}, {link("d", "a"), link("d", "d")}}, "a*3 b/ b/c*3 d*3", "error: hard link to a, which is no file"},
		{"a hard link through a link", tars{{file("x/a"), symlink("y", "x")}, {link("b", "y/a")}}, "b*2 x/ x/a*2 y->x", "error: it is a hard link to y/a"},
		{"a hard link replaces", tars{{file("a/b"), file("c")}, {link("a", "c")}}, "a*2 c*2", "error: no file"},
		{"a hard link to a directory", tars{{}, {dir("a"), link("b", "a")}}, "error: no file", "error: no file"},
		{"a hard link to what is hidden", tars{{}, {file(".wh.a"), link("b", "a")}}, "error: no file", "error: no file"},
		{"a file is no directory", tars{{file("a")}, {file("a/b")}}, "error: a is not a directory", "a/ a/b"},
		{"odd spellings", tars{{file("./a"), dir("./"), file("/b//c")}, {file("../../d"), file("b/../e")}}, "a b/ b/c d e", "d e"},
		{"devices", tars{{}, {{Name: "n", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}}, "n?259", "n?259"},
	} {
		check := func(want string, tars ...[]tar.Header) {
			t.Helper()
			var all []io.Reader
			for _, headers := range tars {
				all = append(all, tarOf(t, headers...))
			}
			top := filepath.Join(t.TempDir(), "top")
			err := layerdir.Unpack(t.Context(), top, all...)
			if text, ok := strings.CutPrefix(want, "error: "); ok {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("%s: %v, want %q in it", tt.name, err, text)
				}
				return
			}
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			} else if diff := cmp.Diff(want, shape(t, top)); diff != "" {
				t.Errorf("%s: %s", tt.name, diff)
			}
		}
		check(tt.whole, tt.tars...)
		check(tt.layer, tt.tars[len(tt.tars)-1])
	}
}

// TestHostile wants no tar to reach out of its directory, to take all there is, or to make Unpack wait.
func TestHostile(t *testing.T) {
	needRoot(t)
	noLeak(t)
	defer layerdir.SetMaxEntries(1000)()
	var many, around []tar.Header
	for i := range 1001 {
		many = append(many, file(fmt.Sprint(i)))
	}
	for i := range 300 {
		around = append(around, symlink(fmt.Sprintf("l%d", i), fmt.Sprintf("d/../l%d", i+1)))
	}
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	must(t, os.WriteFile(victim, []byte("!"), 0o600))
	for _, tt := range []struct {
		name, want string // want is an error
		tar        []tar.Header
	}{
		{"names upwards", "", []tar.Header{file("../../../../../.." + victim), file(".wh...x/../../.." + victim)}},
		{"a link to outside, and through it", "", []tar.Header{symlink("out", outside), file("out/victim"), file("out/.wh.victim")}},
		{"a link upwards", "", []tar.Header{symlink("up", strings.Repeat("../", 40)), file("up" + victim), dir("up" + outside)}},
		{"a file through a link to a file", "", []tar.Header{symlink("v", victim), file("v")}},
		{"the directory under a file swapped", "", []tar.Header{dir("d"), file("d/x"), file(".wh.d"), symlink("d", outside), file("d/victim")}},
		{"a hard link to outside", "which is no file", []tar.Header{link("v", "../../../../../.."+victim)}},
		{"a hard link through a link", "which is no file", []tar.Header{symlink("out", outside), dir(outside), link("v", "out/victim")}},
		{"whiteouts of what is above", "names nothing", []tar.Header{file(".wh...")}},
		{"of this directory", "names nothing", []tar.Header{file("d/.wh..")}},
		{"of nothing", "names nothing", []tar.Header{file(".wh.")}},
		{"links in a circle", "too many", []tar.Header{symlink("a", "b"), symlink("b", "a"), file("a/x")}},
		{"links without end", "too many", append(around, file("l0/x"))},
		{"many files", "there are more than 1000 files", many},
		{"a deep one", "256 directories", []tar.Header{file(strings.Repeat("d/", 300) + "f")}},
		{"a deep one through a link", "256 directories", []tar.Header{symlink("l", strings.Repeat("d/", 200)), file("l/" + strings.Repeat("d/", 100) + "f")}},
		{"a long one", "longer than 4096 bytes", []tar.Header{file(strings.Repeat(strings.Repeat("d", 200)+"/", 21) + "f")}},
		{"nobody's", "Linux cannot have", []tar.Header{{Name: "x", Uid: -1}}},
		{"nobody's either", "Linux cannot have", []tar.Header{{Name: "x", Gid: 1<<32 - 1}}},
		{"an unknown type", "the unknown type", []tar.Header{{Name: "x", Typeflag: 'Z'}}},
		{"a pipe in the way", "is not a directory", []tar.Header{{Name: "x", Typeflag: tar.TypeFifo}, file("x/y")}},
		{"marks of its own", "", []tar.Header{{Name: "d", Typeflag: tar.TypeDir, PAXRecords: map[string]string{
			"SCHILY.xattr.user.overlay.redirect": "/", "SCHILY.xattr.trusted.overlay.redirect": "/", "SCHILY.xattr.user.overlay.opaque": "y"}}}},
	} {
		top := filepath.Join(t.TempDir(), "top")
		err := layerdir.Unpack(t.Context(), top, tarOf(t, tt.tar...))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q in it", tt.name, err, tt.want)
		}
		if content, err := os.ReadFile(victim); err != nil || string(content) != "!" {
			t.Fatalf("%s: what is outside is %q now: %v", tt.name, content, err)
		}
		if st, err := os.Stat(victim); err != nil || st.Mode() != 0o600 {
			t.Fatalf("%s: what is outside has the mode %v now: %v", tt.name, st.Mode(), err)
		}
		if n, err := unix.Lgetxattr(filepath.Join(top, "d"), "user.overlay.redirect", nil); err == nil {
			t.Errorf("%s: an attribute of %d bytes", tt.name, n)
		}
	}
}

// TestEndlessHole wants a file that is but a hole without end to be refused.
func TestEndlessHole(t *testing.T) {
	needRoot(t)
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	must(t, tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Format: tar.FormatGNU}))
	must(t, tw.Close())
	raw := b.Bytes() // becomes an old GNU sparse file, whose real size is at 483
	raw[156] = tar.TypeGNUSparse
	copy(raw[483:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")
	copy(raw[386:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"+"00000000000\x00")
	copy(raw[148:], "        ")
	sum := 0
	for _, c := range raw[:512] {
		sum += int(c)
	}
	copy(raw[148:], fmt.Sprintf("%06o\x00", sum))
	err := layerdir.Unpack(t.Context(), filepath.Join(t.TempDir(), "top"), bytes.NewReader(raw))
	if err == nil || !strings.Contains(err.Error(), "there are more than 1099511627776 bytes") {
		t.Error(err)
	}
}

// TestAttributes wants everything that a header says of a file to be there, in spite of what the kernel clears.
func TestAttributes(t *testing.T) {
	needRoot(t)
	defer unix.Umask(unix.Umask(0o077))
	at := time.Unix(1500000000, 123456789)
	top := filepath.Join(t.TempDir(), "top")
	must(t, layerdir.Unpack(t.Context(), top, tarOf(t,
		tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o3777, Uid: 1, Gid: 2, ModTime: at, Format: tar.FormatPAX},
		tar.Header{Name: "d/f", Mode: 0o6711, Uid: 70000, Gid: 4, ModTime: at, Format: tar.FormatPAX,
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": string(capable), "SCHILY.xattr.user.mine": "x"}},
		tar.Header{Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "f", Uid: 5, Gid: 6, ModTime: at, Format: tar.FormatPAX},
		tar.Header{Name: "d/p", Typeflag: tar.TypeFifo, Mode: 0o666, ModTime: time.Unix(-5, 0), Format: tar.FormatPAX},
		tar.Header{Name: "made/x"},
	)))
	for name, want := range map[string]string{
		".": "40755 0:0", "d": "43777 1:2 1500000000.123456789", "d/f": "106711 70000:4 1500000000.123456789", "d/l": "120777 5:6 1500000000.123456789",
		"d/p": "10666 0:0 0.0", "made": "40755 0:0",
	} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(top, name), &st))
		have := fmt.Sprintf("%o %d:%d %d.%d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		if !strings.HasPrefix(have, want) {
			t.Errorf("%s: %s, want %s", name, have, want)
		}
	}
	buf := make([]byte, 64)
	if n, err := unix.Lgetxattr(filepath.Join(top, "d/f"), "security.capability", buf); err != nil || !bytes.Equal(buf[:n], capable) {
		t.Errorf("capability %x: %v", buf[:max(n, 0)], err)
	}
	if n, err := unix.Llistxattr(filepath.Join(top, "d/f"), buf); err != nil || strings.Contains(string(buf[:n]), "user.") {
		t.Errorf("attributes %q: %v", buf[:max(n, 0)], err)
	}
}

// TestSparse wants zeros to take no space, when they are unpacked and when they are copied.
func TestSparse(t *testing.T) {
	needRoot(t)
	content := make([]byte, 10<<20+1)
	copy(content[5<<20:], "in the middle")
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	must(t, tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: int64(len(content))}))
	_, err := tw.Write(content)
	must(t, err)
	must(t, tw.Close())
	layer := filepath.Join(t.TempDir(), "layer")
	must(t, layerdir.Unpack(t.Context(), layer, &b))
	for _, name := range []string{filepath.Join(layer, "f"), filepath.Join(composed(t, []string{layer}), "f")} {
		have, err := os.ReadFile(name)
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Stat(name, &st))
		if !bytes.Equal(have, content) || st.Blocks*512 > 1<<20 {
			t.Errorf("%s: %d bytes on %d blocks", name, len(have), st.Blocks)
		}
	}
}

// TestEnds wants a broken or endless tar, and a context that ends, to be an error.
func TestEnds(t *testing.T) {
	needRoot(t)
	whole, err := io.ReadAll(tarOf(t, file("a"), file("b")))
	must(t, err)
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	for _, tt := range []struct {
		ctx  context.Context
		r    io.Reader
		want string
	}{
		{t.Context(), bytes.NewReader(whole[:512]), "unexpected EOF"},
		{t.Context(), iotest.ErrReader(errors.New("the digest is another")), "the digest is another"},
		{t.Context(), io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(errors.New("at the end"))), "at the end"},
		{cancelled, bytes.NewReader(whole), "enough"},
	} {
		err := layerdir.Unpack(tt.ctx, filepath.Join(t.TempDir(), "top"), tt.r)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q in it", err, tt.want)
		}
	}
}
