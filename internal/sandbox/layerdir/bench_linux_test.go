package layerdir_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ksera524/imgbump/internal/sandbox/layerdir"
)

// bulk is a tar of many files, in directories of 16.
func bulk(b *testing.B, files, size int) []byte {
	b.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	content := make([]byte, size)
	for i := range files {
		content[i%size]++
		hdr := tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("usr/share/%02x/%02x/%d", i>>12, i>>4&0xff, i), Mode: 0o644, Size: int64(size)}
		if err := tw.WriteHeader(&hdr); err != nil {
			b.Fatal(err)
		}
		if _, err := tw.Write(content); err != nil {
			b.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes()
}

// debian is the tar of a debootstrapped tree that LAYERDIR_TAR names, or one about as large.
func debian(b *testing.B) []byte {
	b.Helper()
	if name := os.Getenv("LAYERDIR_TAR"); name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	return bulk(b, 6500, 30_000)
}

// What the benchmarks make stays until their end: ext4 is slow to make files right after others were removed.

func BenchmarkUnpack(b *testing.B) {
	needRoot(b)
	data := debian(b)
	b.SetBytes(int64(len(data)))
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := layerdir.Unpack(b.Context(), name, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompose(b *testing.B) {
	needRoot(b)
	dir := b.TempDir()
	layer := filepath.Join(dir, "layer")
	if err := layerdir.Unpack(b.Context(), layer, bytes.NewReader(debian(b))); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := layerdir.Compose(b.Context(), name, layer); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDiff looks through 225,000 files and finds the one that has changed.
func BenchmarkDiff(b *testing.B) {
	needRoot(b)
	dir := b.TempDir()
	root := filepath.Join(dir, "root")
	if err := layerdir.Unpack(b.Context(), root, bytes.NewReader(bulk(b, 225_000, 1))); err != nil {
		b.Fatal(err)
	}
	before, err := layerdir.Look(b.Context(), root)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := os.WriteFile(filepath.Join(root, "new"), []byte{1}, 0o644); err != nil {
			b.Fatal(err)
		}
		if before, err = layerdir.Diff(b.Context(), root, before, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			b.Fatal(err)
		}
	}
}
