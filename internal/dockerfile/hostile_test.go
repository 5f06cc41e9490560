package dockerfile_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
)

// fromLayer builds text with a base that has one layer.
func fromLayer(t *testing.T, text string, write func(*tar.Writer) error) (v1.Image, error) {
	t.Helper()
	f, err := dockerfile.Parse("Dockerfile", []byte(text), dockerfile.Options{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Created: created})
	must(t, err)
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: func(context.Context, string, v1.Platform) (v1.Image, error) {
		return oneLayer{empty.Image, image.NewLayer(write)}, nil
	}}, nil)
}

// oneLayer is an image whose layer is made while it is read.
type oneLayer struct {
	v1.Image
	layer v1.Layer
}

func (o oneLayer) Layers() ([]v1.Layer, error) { return []v1.Layer{o.layer}, nil }

// TestHostileBase wants no layer of a base to take all memory or time, or to lead outside.
func TestHostileBase(t *testing.T) {
	defer dockerfile.SetMaxEntries(1000)()
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
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, image.ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
	}
}
