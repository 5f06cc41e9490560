package dockerfile_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
)

// fromLayer builds text with a base that has the layers.
func fromLayer(t *testing.T, text string, writes ...func(*tar.Writer) error) (v1.Image, error) {
	t.Helper()
	base := layered{Image: empty.Image}
	for _, write := range writes {
		base.layers = append(base.layers, image.NewLayer(write))
	}
	f, err := dockerfile.Parse("Dockerfile", []byte(text), dockerfile.Options{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Created: created})
	must(t, err)
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: func(context.Context, string, v1.Platform) (v1.Image, error) {
		return base, nil
	}}, nil)
}

// layered is an image whose layers are made while they are read.
type layered struct {
	v1.Image
	layers []v1.Layer
}

func (l layered) Layers() ([]v1.Layer, error) { return l.layers, nil }

// TestHostileBase wants no layer of a base to take all memory or time, or to lead outside.
func TestHostileBase(t *testing.T) {
	defer dockerfile.SetMaxEntries(1000, 100<<10)()
	deep := strings.Repeat("d/", 300) + "f"
	for want, write := range map[string]func(*tar.Writer) error{
		"there are more than 1000 files": func(tw *tar.Writer) error {
			for i := range 1001 {
				if err := tw.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeReg}); err != nil {
					return err
				}
			}
			return nil
		},
		"are longer than 102400 bytes in all": func(tw *tar.Writer) error {
			for i := range 100 {
				if err := tw.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("x", 1200)}); err != nil {
					return err
				}
			}
			return nil
		},
		"f has capabilities of 25 bytes": func(tw *tar.Writer) error {
			return tw.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": strings.Repeat("x", 25)}})
		},
		"is longer than 4096 bytes or 256 directories": func(tw *tar.Writer) error {
			return tw.WriteHeader(&tar.Header{Name: deep, Typeflag: tar.TypeReg})
		},
		"leads through too many symbolic links": func(tw *tar.Writer) error {
			return errors.Join(tw.WriteHeader(&tar.Header{Name: "w", Linkname: "v", Typeflag: tar.TypeSymlink}),
				tw.WriteHeader(&tar.Header{Name: "v", Linkname: "w", Typeflag: tar.TypeSymlink}))
		},
		"has the unknown type": func(tw *tar.Writer) error {
			return tw.WriteHeader(&tar.Header{Name: "x", Typeflag: 'Z'})
		},
		"is no file": func(tw *tar.Writer) error {
			return tw.WriteHeader(&tar.Header{Name: "x", Linkname: "../../../../etc/passwd", Typeflag: tar.TypeLink})
		},
	} {
		if _, err := fromLayer(t, "FROM a\nWORKDIR /w/x", write); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}

// TestReplacedNames wants names that go away again, in the layer or with the next one, not to count.
func TestReplacedNames(t *testing.T) {
	defer dockerfile.SetMaxEntries(20, 1000)()
	fill := func(hide string) func(*tar.Writer) error {
		return func(tw *tar.Writer) error {
			err := errors.Join(tw.WriteHeader(&tar.Header{Name: hide, Typeflag: tar.TypeReg}), tw.WriteHeader(&tar.Header{Name: "d/in", Typeflag: tar.TypeDir}))
			if err != nil {
				return err
			}
			for n := range 10 {
				if err := tw.WriteHeader(&tar.Header{Name: fmt.Sprint("d/in/", n), Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("x", 50)}); err != nil {
					return err
				}
			}
			return tw.WriteHeader(&tar.Header{Name: "d/in", Typeflag: tar.TypeReg})
		}
	}
	for _, hide := range []string{"x", "d/.wh..wh..opq", ".wh.d"} {
		if _, err := fromLayer(t, "FROM a\nWORKDIR /w/x", slices.Repeat([]func(*tar.Writer) error{fill(hide)}, 20)...); err != nil {
			t.Errorf("%s: %v", hide, err)
		}
	}
}

// TestManyHardLinks wants all links of an archive to a file to be of the last one's mode.
func TestManyHardLinks(t *testing.T) {
	c := withFiles(t, "FROM debian:12\nADD a /", map[string][]byte{"a": hardLinks(t, "usr/bin/bash", 10)})
	got := describe(t, c.build(t))
	for _, line := range []string{"f 777 0:0 many/0 ", "h 777 0:0 many/9 -> many/0", "f 777 0:0 of-image/0 ", "h 777 0:0 usr/bin/bash -> of-image/0", "f 644 0:0 swapped "} {
		if !strings.Contains(got, line) {
			t.Errorf("%s is not in\n%s", line, got)
		}
	}
}

// hardLinks is an archive of links to one file of its own and to another one, each of another mode than the one before,
// beside a directory that is replaced again and again.
func hardLinks(t testing.TB, other string, n int) []byte {
	var all bytes.Buffer
	tw := tar.NewWriter(&all)
	put := func(name string, kind byte, target string, mode int64) {
		must(t, tw.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Linkname: target, Mode: mode}))
	}
	put("many/0", tar.TypeReg, "", 0o644)
	for i := range n {
		put(fmt.Sprintf("many/%d", i+1), tar.TypeLink, "many/0", 0o777-int64(i+1)%2)
		put(fmt.Sprintf("of-image/%d", i), tar.TypeLink, other, 0o777-int64(i+1)%2)
		put("swapped", tar.TypeDir, "", 0o755)
		put("swapped/in", tar.TypeReg, "", 0o755)
		put("swapped", tar.TypeReg, "", 0o644)
	}
	must(t, tw.Close())
	return all.Bytes()
}

// BenchmarkHardLinks takes as long for each of many links as for each of few.
func BenchmarkHardLinks(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			name := filepath.Join(b.TempDir(), "a")
			must(b, os.WriteFile(name, hardLinks(b, "many/0", n), 0o644))
			for b.Loop() {
				f, err := os.Open(name)
				must(b, err)
				_, err = dockerfile.Archive(b.Context(), f)
				must(b, err)
				must(b, f.Close())
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/link")
		})
	}
}

// TestDevices wants a device of a base to be copied as what it is, and to be opened by nobody.
func TestDevices(t *testing.T) {
	img, err := fromLayer(t, "FROM a AS b\nFROM scratch\nCOPY --from=b /disk /", func(tw *tar.Writer) error {
		return tw.WriteHeader(&tar.Header{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8, Mode: 0o600})
	})
	must(t, err)
	must(t, image.Settle(img))
	layers, err := img.Layers()
	must(t, err)
	r, err := layers[0].Uncompressed()
	must(t, err)
	defer r.Close()
	hdr, err := tar.NewReader(r).Next()
	must(t, err)
	if hdr.Typeflag != tar.TypeBlock || hdr.Devmajor != 8 {
		t.Errorf("%+v", hdr)
	}
}

// TestSwapped wants a file of the context that is swapped after it was seen, for a link to what is ignored or for a pipe, to
// fail the push rather than to be followed or waited for.
func TestSwapped(t *testing.T) {
	for name, swap := range map[string]func(string) error{
		"link": func(x string) error { return os.Symlink("secret", x) },
		"pipe": func(x string) error { return syscall.Mkfifo(x, 0o644) },
		"file": func(x string) error { return os.WriteFile(x, []byte("xx"), 0o644) },
	} {
		c := withFiles(t, "FROM scratch\nCOPY x /", map[string][]byte{"x": []byte("xx"), "secret": []byte("!!"), "kept": nil})
		img := c.build(t)
		x := filepath.Join(c.dir, "x")
		must(t, os.Rename(x, filepath.Join(c.dir, "away"))) // so that its inode stays taken
		must(t, swap(x))
		layers, err := img.Layers()
		must(t, err)
		r, err := layers[0].Compressed()
		must(t, err)
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, image.ErrChanged) || !strings.HasPrefix(err.Error(), "Dockerfile:2: ") {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
	}
}

// TestSpecialText wants a Dockerfile or ignore file that is a pipe, too large or a link out of the context to be refused at once.
func TestSpecialText(t *testing.T) {
	dir := t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "out")))
	must(t, os.WriteFile(filepath.Join(dir, "large"), nil, 0o644))
	must(t, os.Truncate(filepath.Join(dir, "large"), 16<<20+1))
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	for name, want := range map[string]string{"pipe": "no regular file", "large": "of at most 16 MiB", "out": "escapes", "none": "no such file"} {
		if text, err := dockerfile.Folder(root).ReadFile(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %.20q, %v", name, text, err)
		}
	}
}

// TestDatedParents wants the same files to make the same layer at another time, also below a directory that an instruction
// made then.
func TestDatedParents(t *testing.T) {
	build := func(at time.Time) v1.Hash {
		c := withFiles(t, "FROM scratch\nWORKDIR /made\nCOPY x in/it", map[string][]byte{"x": []byte("x")})
		c.opts.Created = at
		img := c.build(t)
		must(t, image.Settle(img))
		layers, err := img.Layers()
		must(t, err)
		id, err := layers[1].DiffID()
		must(t, err)
		return id
	}
	if now, later := build(created), build(created.Add(time.Hour)); now != later {
		t.Errorf("%s, then %s", now, later)
	}
}
