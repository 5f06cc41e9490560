package image_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/ksera524/imgbump/internal/image"
)

// TestRecall opens an archive that is compressed as a whole a second time: it is not unpacked before a layer is read, and
// is what it was.
func TestRecall(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.tar")
	must(t, image.WriteArchive(whole, testImage(t), nil))
	for name, archive := range map[string]string{"layers to compress": plainArchive(t, dir), "compressed layers": whole} {
		t.Run(name, func(t *testing.T) {
			path := compress(t, archive, gzipWriter)
			ledger := image.OpenLedger(filepath.Join(t.TempDir(), "layers.json"))
			open := func() v1.Image {
				t.Helper()
				options := image.Options{Ledger: ledger}
				a, closer, err := options.Open(t.Context(), path)
				must(t, err)
				t.Cleanup(func() { closer.Close() })
				must(t, options.Apply(a))
				return a.(v1.Image)
			}
			first := open()
			must(t, image.Settle(first))
			want, err := first.Digest()
			must(t, err)
			t.Setenv("TMPDIR", "/nowhere/at/all") // where it would be unpacked to
			again := open()
			layers, err := again.Layers()
			must(t, err)
			for _, l := range layers {
				if _, _, ok := l.(image.Pending).Guess(); !ok {
					t.Error("a layer is not known")
				}
				if err := l.(image.Pending).Settle(); err == nil {
					t.Error("it was read from nowhere")
				}
			}
			t.Setenv("TMPDIR", t.TempDir())
			must(t, image.Settle(again))
			if err := validate.Image(again); err != nil {
				t.Error(err)
			}
			if got, err := again.Digest(); err != nil || got != want {
				t.Errorf("%s, %v; was %s", got, err, want)
			}
		})
	}
}

// TestRecallOfAnother replaces an archive by another of the same size and age, before it is opened again and after.
func TestRecallOfAnother(t *testing.T) {
	dir := t.TempDir()
	zipped := func(name string) []byte {
		archive := filepath.Join(dir, "archive.tar")
		must(t, image.WriteArchive(archive, imageOf(t, name), nil))
		data, err := os.ReadFile(compress(t, archive, gzipWriter))
		must(t, err)
		return data
	}
	path := filepath.Join(dir, "zipped")
	options := image.Options{Ledger: image.OpenLedger(filepath.Join(dir, "layers.json"))}
	put := func(name string) {
		t.Helper()
		write(t, path, zipped(name))
		old := time.Unix(1_700_000_000, 0)
		must(t, os.Chtimes(path, old, old))
	}
	id := func() (v1.Image, string) {
		t.Helper()
		a, closer, err := options.Open(t.Context(), path)
		must(t, err)
		t.Cleanup(func() { closer.Close() })
		name, err := a.(v1.Image).ConfigName()
		must(t, err)
		return a.(v1.Image), name.String()
	}
	put("a")
	_, first := id()
	put("b")
	if _, second := id(); second == first {
		t.Error("another archive was taken for the one before")
	}
	recalled, _ := id()
	put("c")
	if err := image.Settle(recalled); !errors.Is(err, image.ErrCorrupt) && !errors.Is(err, image.ErrChanged) {
		t.Errorf("a layer of another archive: %v", err)
	}
}
