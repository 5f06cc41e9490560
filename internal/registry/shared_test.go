package registry_test

import (
	"archive/tar"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestSharedLayer makes a layer once that the images of two platforms share, though nobody knows its digest before.
func TestSharedLayer(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	var made atomic.Int32
	shared := image.NewLayer(func(tw *tar.Writer) error {
		made.Add(1)
		return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "etc/"})
	})
	var images []v1.Image
	var platforms []*v1.Platform
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: arch})
		if err == nil {
			img, err = mutate.Append(img, mutate.Addendum{Layer: shared})
		}
		if err != nil {
			t.Fatal(err)
		}
		images, platforms = append(images, img), append(platforms, &v1.Platform{OS: "linux", Architecture: arch})
	}
	receipt, err := client(s).Push(t.Context(), image.JoinFor(images, platforms), []imageref.Ref{{Registry: s.Host, Repository: "sandbox/app", Tag: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	if made.Load() != 1 || len(receipt.Layers) != 1 || len(receipt.Platforms) != 2 {
		t.Errorf("made %d times, layers %v, platforms %v", made.Load(), receipt.Layers, receipt.Platforms)
	}
}
