package image_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// writeFile is a layer's content of one file of size bytes.
func writeFile(name string, size int) func(*tar.Writer) error {
	return func(tw *tar.Writer) error {
		if err := tw.WriteHeader(&tar.Header{Name: name, Size: int64(size), Mode: 0o644}); err != nil {
			return err
		}
		_, err := io.Copy(tw, io.LimitReader(pattern{}, int64(size)))
		return err
	}
}

// pattern is endless and compresses badly enough to cross every buffer.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	x := uint32(len(p))
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return len(p), nil
}

func drain(t *testing.T, l v1.Layer) []byte {
	t.Helper()
	r, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLayerIsKnownOnceRead(t *testing.T) {
	l := image.NewLayer(writeFile("a", 3<<20))
	if _, err := l.Digest(); !errors.Is(err, stream.ErrNotComputed) {
		t.Errorf("digest before reading: %v", err)
	}
	data := drain(t, l)
	if size, err := l.Size(); err != nil || size != int64(len(data)) {
		t.Errorf("size %d, %v; read %d", size, err, len(data))
	}
	if digest, err := l.Digest(); err != nil || digest != sum(t, data) {
		t.Errorf("digest %v, %v", digest, err)
	}
	if err := validate.Layer(l); err != nil {
		t.Error(err)
	}
	if again := drain(t, image.NewLayer(writeFile("a", 3<<20))); !bytes.Equal(data, again) {
		t.Error("the same input gave other bytes")
	}
}

func sum(t *testing.T, data []byte) v1.Hash {
	t.Helper()
	h, _, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestLayerFails(t *testing.T) {
	broken := errors.New("disk on fire")
	l := image.NewLayer(func(*tar.Writer) error { return broken })
	r, _ := l.Compressed()
	if _, err := io.ReadAll(r); !errors.Is(err, broken) {
		t.Errorf("reading: %v", err)
	}
	if _, err := l.Digest(); !errors.Is(err, stream.ErrNotComputed) {
		t.Errorf("digest of a broken layer: %v", err)
	}

	size := 10
	l = image.NewLayer(func(tw *tar.Writer) error { size++; return writeFile("a", size)(tw) })
	drain(t, l)
	r, _ = l.Compressed()
	if _, err := io.ReadAll(r); !errors.Is(err, image.ErrChanged) {
		t.Errorf("a file that changed: %v", err)
	}
}

// TestLayerClosedEarly holds that an abandoned upload ends the stages behind it.
func TestLayerClosedEarly(t *testing.T) {
	ended := make(chan error)
	l := image.NewLayer(func(tw *tar.Writer) error {
		err := writeFile("a", 64<<20)(tw)
		ended <- err
		return err
	})
	r, _ := l.Compressed()
	r.Read(make([]byte, 10))
	r.Close()
	if err := <-ended; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the writer ended with %v", err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	img := testImage(t)
	archive := filepath.Join(dir, "archive.tar")
	if err := image.WriteArchive(archive, img, []string{"example.com/team/app:1"}); err != nil {
		t.Fatal(err)
	}
	oci := filepath.Join(dir, "oci")
	if err := image.WriteLayout(oci, img, []string{"1"}); err != nil {
		t.Fatal(err)
	}
	ociTar := tarOf(t, oci)
	for name, path := range map[string]string{
		"docker archive":            archive,
		"docker archive, gzip":      compress(t, archive, gzipWriter),
		"docker archive, zstd":      compress(t, archive, zstdWriter),
		"docker archive, plain tar": plainArchive(t, dir),
		"layout":                    oci,
		"layout, tar":               ociTar,
		"layout, tar.gz":            compress(t, ociTar, gzipWriter),
	} {
		t.Run(name, func(t *testing.T) {
			a, closer, err := image.Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer closer.Close()
			got, ok := a.(v1.Image)
			if !ok {
				t.Fatalf("%T is no image", a)
			}
			if err := image.Settle(got); err != nil {
				t.Fatal(err)
			}
			if err := validate.Image(got); err != nil {
				t.Error(err)
			}
			wantID, _ := img.ConfigName()
			if id, _ := got.ConfigName(); id != wantID {
				t.Errorf("image ID %s, want %s", id, wantID)
			}
			if want, _ := img.Digest(); strings.HasPrefix(name, "layout") {
				if digest, _ := got.Digest(); digest != want {
					t.Errorf("digest %s, want %s", digest, want)
				}
			}
		})
	}
}

func gzipWriter(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }

func zstdWriter(w io.Writer) io.WriteCloser {
	zw, _ := zstd.NewWriter(w)
	return zw
}

// testImage has a streaming layer; its digests are known only once it is written.
func testImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := mutate.Append(empty.Image,
		mutate.Addendum{Layer: image.NewLayer(writeFile("bin/app", 300_000))},
		mutate.Addendum{Layer: image.NewLayer(writeFile("etc/app", 10))})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// plainArchive is testImage as Docker saves it: layers not compressed, and one of them a link.
func plainArchive(t *testing.T, dir string) string {
	t.Helper()
	img := testImage(t)
	if err := image.Settle(img); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	layers, _ := img.Layers()
	for i, l := range layers {
		r, _ := l.Uncompressed()
		data, _ := io.ReadAll(r)
		entry(t, tw, fmt.Sprintf("store/%d/layer.tar", i), data)
	}
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "abc/layer.tar", Linkname: "../store/0/layer.tar"}); err != nil {
		t.Fatal(err)
	}
	config, _ := img.RawConfigFile()
	entry(t, tw, "config.json", config)
	entry(t, tw, "manifest.json", []byte(`[{"Config":"config.json","RepoTags":null,"Layers":["abc/layer.tar","store/1/layer.tar"]}]`))
	tw.Close()
	path := filepath.Join(dir, "plain.tar")
	write(t, path, buf.Bytes())
	return path
}

func entry(t *testing.T, tw *tar.Writer, name string, data []byte) {
	t.Helper()
	if err := tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(data); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func tarOf(t *testing.T, dir string) string {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	if err := tw.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	tw.Close()
	write(t, dir+".tar", buf.Bytes())
	return dir + ".tar"
}

func compress(t *testing.T, path string, with func(io.Writer) io.WriteCloser) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := with(&buf)
	w.Write(data)
	w.Close()
	out := filepath.Join(t.TempDir(), "compressed")
	write(t, out, buf.Bytes())
	return out
}

func TestOpenIndex(t *testing.T) {
	index, err := random.Index(100, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	a, closer, err := image.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	got, ok := a.(v1.ImageIndex)
	if !ok {
		t.Fatalf("%T is no index", a)
	}
	if err := validate.Index(got); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.tar")
	if err := image.WriteArchive(whole, testImage(t), nil); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(whole)
	zipped, _ := os.ReadFile(compress(t, whole, gzipWriter))
	for name, tt := range map[string]struct {
		data       []byte
		part, hint string
	}{
		"truncated":      {data[:len(data)/2], "unexpected EOF", "ends too early"},
		"truncated gzip": {zipped[:len(zipped)/2], "unexpected EOF", "ends too early"},
		"no archive":     {bytes.Repeat([]byte("no tar "), 200), "invalid tar header", "docker save"},
		"empty":          {nil, "neither manifest.json", "docker save"},
		"several": {archiveOf(t, `[{"Config":"a","RepoTags":["app:1"],"Layers":[]},{"Config":"b","RepoTags":["db:2"],"Layers":[]}]`),
			"holds 2 images", "app:1, db:2"},
		"broken manifest": {archiveOf(t, `[{`), "manifest.json: unexpected end", ""},
		"missing config":  {archiveOf(t, `[{"Config":"nosuch.json","Layers":[]}]`), "nosuch.json is missing", "incomplete"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image.tar")
			write(t, path, tt.data)
			_, _, err := image.Open(t.Context(), path)
			if err == nil || !strings.Contains(err.Error(), tt.part) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q", err, tt.part)
			}
			if hint := fault.HintOf(err); !strings.Contains(hint, tt.hint) {
				t.Errorf("hint %q, want %q", hint, tt.hint)
			}
		})
	}
}

func archiveOf(t *testing.T, manifest string) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	entry(t, tw, "manifest.json", []byte(manifest))
	tw.Close()
	return buf.Bytes()
}

// TestCorruptLayer holds a saved layer to the sum that the configuration promises.
func TestCorruptLayer(t *testing.T) {
	path := plainArchive(t, t.TempDir())
	data, _ := os.ReadFile(path)
	data[2000]++ // inside the first layer's file
	write(t, path, data)
	a, closer, err := image.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if err := image.Settle(a.(v1.Image)); !errors.Is(err, image.ErrCorrupt) {
		t.Errorf("settling a corrupt archive: %v", err)
	}
}

func TestWriteLayoutLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "notes.txt"), []byte("mine"))
	if err := image.WriteLayout(dir, testImage(t), nil); err == nil || !strings.Contains(err.Error(), "holds other files") {
		t.Errorf("error %v", err)
	}
	oci := filepath.Join(t.TempDir(), "oci")
	if err := image.WriteLayout(oci, imageOf(t, "old"), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(oci, ".incoming"), 0o755); err != nil { // left behind by a process that was killed
		t.Fatal(err)
	}
	if err := image.WriteLayout(oci, testImage(t), nil); err != nil {
		t.Fatal(err)
	}
	if blobs, _ := os.ReadDir(filepath.Join(oci, "blobs/sha256")); len(blobs) != 4 {
		t.Errorf("an image of two layers is in %d blobs", len(blobs))
	}
	broken := errors.New("disk on fire")
	img, _ := mutate.Append(empty.Image, mutate.Addendum{Layer: image.NewLayer(func(*tar.Writer) error { return broken })})
	if err := image.WriteLayout(oci, img, nil); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	a, closer, err := image.Open(t.Context(), oci)
	if err != nil {
		t.Fatalf("the layout did not survive a failed write: %v", err)
	}
	defer closer.Close()
	if err := validate.Image(a.(v1.Image)); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(oci); len(left) != 3 {
		t.Errorf("left behind: %v", left)
	}
}
