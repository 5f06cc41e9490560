package image_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ksera524/imgbump/internal/image"
)

// BenchmarkLayer makes a layer of 64 MiB of half random text.
func BenchmarkLayer(b *testing.B) {
	var text bytes.Buffer
	for random := rand.New(rand.NewPCG(1, 2)); text.Len() < 64<<20; {
		fmt.Fprintf(&text, "registry %x repository %x ", random.Uint32(), random.Uint32())
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		r, err := image.NewLayer(func(tw *tar.Writer) error {
			if err := tw.WriteHeader(&tar.Header{Name: "text", Size: int64(text.Len()), Mode: 0o644}); err != nil {
				return err
			}
			_, err := tw.Write(text.Bytes())
			return err
		}).Compressed()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}
