package image_test

import (
	"archive/tar"
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// compressed is an image of one layer, made with a compression and not read yet.
func compressed(t *testing.T, algorithm string, level int, content string) v1.Image {
	t.Helper()
	c, err := image.ParseCompression(algorithm, level)
	must(t, err)
	img, err := mutate.AppendLayers(empty.Image, image.NewLayer(func(tw *tar.Writer) error {
		must(t, tw.WriteHeader(&tar.Header{Name: "file", Size: int64(len(content)), Mode: 0o644}))
		_, err := io.WriteString(tw, content)
		return err
	}))
	must(t, err)
	must(t, image.Options{Compression: c}.Apply(img))
	return img
}

// TestCompressionIsStable holds each compression to its bytes, on any number of cores. Where these digests change, count up
// the constant encoding: ledgers know layers by what they were compressed to.
func TestCompressionIsStable(t *testing.T) {
	content := strings.Repeat("harbor push "+strings.Repeat("0123456789", 20), 12_000) // several blocks
	for _, tt := range []struct {
		algorithm       string
		level           int
		mediaType, want string
	}{
		{"", 0, "tar+gzip", "4bb0db40"}, {"gzip", 9, "tar+gzip", "6e3ab638"}, {"zstd", 0, "tar+zstd", "a167a8ee"}, {"zstd", 19, "tar+zstd", "573dbfcc"}, {"none", 0, "layer.v1.tar", "b2e04b13"},
	} {
		var first []byte
		for _, cores := range []int{1, 2, 7} {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			img := compressed(t, tt.algorithm, tt.level, content)
			layers, err := img.Layers()
			must(t, err)
			data := drain(t, layers[0])
			if first == nil {
				first = data
			}
			if !bytes.Equal(first, data) {
				t.Errorf("%s %d: other bytes on %d cores", tt.algorithm, tt.level, cores)
			}
			mediaType, _ := layers[0].MediaType()
			diffID, _ := layers[0].DiffID()
			if got := sum(t, plain(t, data)); got != diffID || !strings.HasSuffix(string(mediaType), tt.mediaType) {
				t.Errorf("%s %d: %s, %s instead of %s", tt.algorithm, tt.level, mediaType, got, diffID)
			}
		}
		if got := sum(t, first).Hex[:8]; got != tt.want {
			t.Errorf("%s %d: %s, was %s", tt.algorithm, tt.level, got, tt.want)
		}
	}
}

func plain(t *testing.T, data []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(data)
	var err error
	switch {
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		r, err = gzip.NewReader(r)
	case bytes.HasPrefix(data, []byte{0x28, 0xb5}):
		r, err = zstd.NewReader(r)
	}
	must(t, err)
	out, err := io.ReadAll(r)
	must(t, err)
	return out
}

// TestPlain holds what Plain reads to what layers say themselves, and to failing where they are damaged.
func TestPlain(t *testing.T) {
	for _, algorithm := range []string{"gzip", "zstd", "none"} {
		layers, err := compressed(t, algorithm, 0, strings.Repeat("harbor", 100_000)).Layers()
		must(t, err)
		want, err := layers[0].Uncompressed()
		must(t, err)
		bytesWanted, err := io.ReadAll(want)
		must(t, err)
		r, err := image.Plain(layers[0])
		must(t, err)
		got, err := io.ReadAll(r)
		must(t, err)
		must(t, r.Close())
		if !bytes.Equal(got, bytesWanted) {
			t.Errorf("%s: %d bytes, want %d", algorithm, len(got), len(bytesWanted))
		}
	}
	packed := drain(t, layerIn(t, "gzip"))
	r, err := image.Plain(static.NewLayer(packed[:len(packed)-4], types.OCILayer))
	must(t, err)
	if _, err := io.ReadAll(r); err == nil {
		t.Error("a layer that is cut short is read without an error")
	}
}

func layerIn(t *testing.T, algorithm string) v1.Layer {
	t.Helper()
	layers, err := compressed(t, algorithm, 0, "harbor").Layers()
	must(t, err)
	return layers[0]
}

func TestParseCompression(t *testing.T) {
	for _, tt := range []struct {
		algorithm string
		level     int
		part      string
	}{
		{"brotli", 0, `--compression "brotli"`}, {"gzip", 10, "--compression-level 10"}, {"", -1, "--compression-level -1"},
		{"none", 1, "none has no such level"}, {"zstd", 23, "--compression-level 23"},
	} {
		if _, err := image.ParseCompression(tt.algorithm, tt.level); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), tt.part) || fault.HintOf(err) == "" {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// TestRecompress makes the layers anew that are compressed otherwise, of an image and of an index; IDs stay.
func TestRecompress(t *testing.T) {
	img := compressed(t, "gzip", 0, "content")
	must(t, image.Settle(img))
	annotated := mutate.Annotations(img, map[string]string{"kept": "yes"}).(v1.Image)
	o := image.Options{Compression: image.Compression{Algorithm: image.Zstd}}
	again, err := o.Recompress(annotated)
	must(t, err)
	got := again.(v1.Image)
	must(t, image.Settle(got))
	manifest, err := got.Manifest()
	must(t, err)
	want, _ := img.ConfigName()
	if id, _ := got.ConfigName(); id != want || !strings.HasSuffix(string(manifest.Layers[0].MediaType), "zstd") || manifest.Annotations["kept"] != "yes" {
		t.Errorf("ID %s, want %s; manifest %+v", id, want, manifest)
	}
	if same, err := o.Recompress(got); err != nil || same != again {
		t.Errorf("what is compressed so was made anew: %v", err)
	}

	platform := &v1.Platform{OS: "linux", Architecture: "amd64"}
	config, _ := img.ConfigFile()
	config.OS, config.Architecture = platform.OS, platform.Architecture
	child, err := mutate.ConfigFile(img, config)
	must(t, err)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: child, Descriptor: v1.Descriptor{Platform: platform}})
	again, err = o.Recompress(index)
	must(t, err)
	must(t, image.Settle(again.(*image.Joined).Images[0]))
	if manifest, err := again.(v1.ImageIndex).IndexManifest(); err != nil || !cmp.Equal(manifest.Manifests[0].Platform, platform) {
		t.Errorf("%+v, %v", manifest, err)
	}
	attested := mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}})
	if _, err := o.Recompress(attested); err == nil || !strings.Contains(err.Error(), "attestations") {
		t.Errorf("an attested index: %v", err)
	}
}

// TestJoin makes an index whose images are not read yet.
func TestJoin(t *testing.T) {
	of := func(architecture string) v1.Image {
		config, err := empty.Image.ConfigFile()
		must(t, err)
		config = config.DeepCopy()
		config.OS, config.Architecture = "linux", architecture
		base, err := mutate.ConfigFile(empty.Image, config)
		must(t, err)
		layers, err := compressed(t, "", 0, architecture).Layers()
		must(t, err)
		img, err := mutate.AppendLayers(base, layers...)
		must(t, err)
		must(t, image.Settle(img))
		return img
	}
	index, err := image.Join([]v1.Image{of("amd64"), of("arm64")})
	must(t, err)
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	for part, images := range map[string][]v1.Image{"two images are for linux/arm64": {of("arm64"), of("arm64")}, "which platform": {of("amd64"), empty.Image}} {
		if _, err := image.Join(images); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %q", err, part)
		}
	}
}
