package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// TestPlaces writes to each kind of place that a person may name, twice, and reads the image back.
func TestPlaces(t *testing.T) {
	layout := func(dir string, img v1.Image, names []string) error { return image.WriteLayout(dir, img, names) }
	for place, write := range map[string]func(string, v1.Image, []string) error{
		"new/deep/out": layout, "new/slash/": layout, ".": layout, "link": layout,
		"new/out.tar": image.WriteArchive, "link.tar": image.WriteArchive,
	} {
		t.Run(place, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if place != "." {
				must(t, os.Symlink(t.TempDir(), "link"))
				must(t, os.Symlink(filepath.Join(t.TempDir(), "file"), "link.tar"))
				must(t, os.WriteFile("link.tar", nil, 0o644))
			}
			for _, content := range []string{"old", "new"} {
				must(t, write(place, imageOf(t, content), []string{"app:1"}))
				_, closer, err := image.Open(t.Context(), place)
				must(t, err)
				closer.Close()
			}
			if stat, err := os.Lstat(place); strings.HasPrefix(place, "link") && (err != nil || stat.Mode()&fs.ModeSymlink == 0) {
				t.Errorf("the link became %v, %v", stat, err)
			}
			must(t, filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
				if stat, _ := d.Info(); d.Type().IsRegular() && stat.Mode() != 0o644 {
					t.Errorf("%s has mode %v", name, stat.Mode())
				}
				return err
			}))
		})
	}
}

// imageOf has one layer with one file.
func imageOf(t *testing.T, name string) v1.Image {
	t.Helper()
	img, err := mutate.Append(empty.Image, mutate.Addendum{Layer: image.NewLayer(writeFile(name, 10))})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestArchiveReplacesFilesOnly keeps a device, or a folder, from being renamed over.
func TestArchiveReplacesFilesOnly(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	for _, place := range []string{pipe, t.TempDir()} {
		err := image.WriteArchive(place, imageOf(t, "a"), nil)
		if err == nil || !strings.Contains(err.Error(), place+": what is there is no file") {
			t.Errorf("%s: %v", place, err)
		}
	}
}

// TestOpenSeveralNames takes one image under two names for one image, and two images for two.
func TestOpenSeveralNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "oci")
	must(t, image.WriteLayout(dir, testImage(t), []string{"app:1", "app:latest"}))
	_, closer, err := image.Open(t.Context(), dir)
	must(t, err)
	closer.Close()

	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	must(t, err)
	at := bytes.LastIndex(index, []byte("sha256:")) + len("sha256:")
	index[at] = map[bool]byte{true: '1', false: '0'}[index[at] == '0']
	write(t, filepath.Join(dir, "index.json"), index)
	_, _, err = image.Open(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "it holds 2 images") || !strings.Contains(fault.HintOf(err), "app:1, app:latest") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}

// TestOpenIncomplete wants what a layout or an archive lacks to be told when it is opened, and not to be taken for a wrong path.
func TestOpenIncomplete(t *testing.T) {
	img := testImage(t)
	for name, tt := range map[string]struct {
		spoil func(blob string)
		part  string
	}{
		"missing": {func(blob string) { must(t, os.Remove(blob)) }, " is missing"},
		"short":   {func(blob string) { must(t, os.Truncate(blob, 5)) }, " has 5 bytes instead of "},
		"a pipe":  {func(blob string) { must(t, errors.Join(os.Remove(blob), syscall.Mkfifo(blob, 0o600))) }, " is no file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "oci")
			must(t, image.WriteLayout(dir, img, nil))
			layers, _ := img.Layers()
			digest, _ := layers[0].Digest()
			tt.spoil(filepath.Join(dir, "blobs/sha256", digest.Hex))
			_, _, err := image.Open(t.Context(), dir)
			if err == nil || !strings.Contains(err.Error(), digest.Hex+tt.part) {
				t.Errorf("%v", err)
			}
		})
	}
	archive := filepath.Join(t.TempDir(), "archive.tar")
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	entry(t, tw, "config.json", []byte(`{"rootfs":{"diff_ids":["sha256:`+strings.Repeat("a", 64)+`"]}}`))
	entry(t, tw, "manifest.json", []byte(`[{"Config":"config.json","Layers":["layer.tar"]}]`))
	tw.Close()
	write(t, archive, buf.Bytes())
	_, _, err := image.Open(t.Context(), archive)
	if err == nil || !strings.Contains(err.Error(), "layer.tar is missing") || !strings.Contains(fault.HintOf(err), "incomplete") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}

func TestOpenWhatIsNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	for path, hint := range map[string]string{pipe: "standard input", "nosuch": "name an archive"} {
		_, _, err := image.Open(t.Context(), path)
		if err == nil || !strings.Contains(fault.HintOf(err), hint) {
			t.Errorf("%s: %v, hint %q", path, err, fault.HintOf(err))
		}
	}
}

// TestEndsWithContext wants nothing to be read or written any more once the context has ended.
func TestEndsWithContext(t *testing.T) {
	dir := t.TempDir()
	archive := plainArchive(t, dir)
	zipped := compress(t, archive, gzipWriter)
	must(t, os.Truncate(zipped, 1000)) // which is not noticed when it is not read
	ctx, cancel := context.WithCancel(t.Context())
	a, closer, err := image.Open(ctx, archive)
	must(t, err)
	defer closer.Close()
	cancel()
	out := filepath.Join(dir, "out")
	for name, err := range map[string]error{
		"settle":  image.Settle(a.(v1.Image)),
		"layout":  image.WriteLayout(filepath.Join(out, "oci"), a.(v1.Image), nil),
		"archive": image.WriteArchive(filepath.Join(out, "tar"), a.(v1.Image), nil),
		"open":    openError(ctx, zipped),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func openError(ctx context.Context, path string) error {
	_, _, err := image.Open(ctx, path)
	return err
}
