package image_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/ksera524/imgbump/internal/image"
)

// packedArchive is an archive of one layer, which is compressed and should have the sum promised.
func packedArchive(t *testing.T, packed []byte, promised v1.Hash) string {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	entry(t, tw, "layer.tar.gz", packed)
	entry(t, tw, "config.json", []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["`+promised.String()+`"]}}`))
	entry(t, tw, "manifest.json", []byte(`[{"Config":"config.json","Layers":["layer.tar.gz"]}]`))
	must(t, tw.Close())
	path := filepath.Join(t.TempDir(), "archive.tar")
	write(t, path, buf.Bytes())
	return path
}

func gzipped(t *testing.T, content []byte, level int) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, level)
	must(t, err)
	_, err = zw.Write(content)
	must(t, errors.Join(err, zw.Close()))
	return buf.Bytes()
}

// layerOf opens the archive with the ledger, and is its layer.
func layerOf(t *testing.T, path string, ledger *image.Ledger) image.Pending {
	t.Helper()
	options := image.Options{Ledger: ledger}
	a, closer, err := options.Open(t.Context(), path)
	must(t, err)
	t.Cleanup(func() { closer.Close() })
	must(t, options.Apply(a))
	layers, err := a.(v1.Image).Layers()
	must(t, err)
	return layers[0].(image.Pending)
}

// TestPackedLayerIsChecked holds compressed layers of archives to the sums that the configuration promises. What was
// refused is not remembered, and what was remembered of one archive is not believed of another.
func TestPackedLayerIsChecked(t *testing.T) {
	right, wrong := bytes.Repeat([]byte("right"), 200_000), bytes.Repeat([]byte("wrong"), 200_000)
	ledger := image.OpenLedger(filepath.Join(t.TempDir(), "layers.json"))
	zipped := gzipped(t, right, 6)
	for name, packed := range map[string][]byte{
		"another's": gzipped(t, wrong, 6), "cut": zipped[:len(zipped)-10], "with more": append(bytes.Clone(zipped), "more"...),
		"spoiled": append(bytes.Clone(zipped[:len(zipped)-8]), 0, 0, 0, 0, 0, 0, 0, 0), "zstd without end": {0x28, 0xb5, 0x2f, 0xfd, 0},
	} {
		l := layerOf(t, packedArchive(t, packed, sum(t, right)), ledger)
		if err := l.Settle(); !errors.Is(err, image.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := l.Digest(); err == nil {
			t.Errorf("%s: it has a digest", name)
		}
	}
	first := layerOf(t, packedArchive(t, zipped, sum(t, right)), ledger)
	if _, _, guessed := first.Guess(); guessed {
		t.Error("a refused layer was remembered")
	}
	must(t, first.Settle())
	if digest, _ := first.Digest(); digest != sum(t, zipped) {
		t.Errorf("digest %s", digest)
	}
	if digest, _, ok := layerOf(t, packedArchive(t, zipped, sum(t, right)), ledger).Guess(); !ok || digest != sum(t, zipped) {
		t.Errorf("the same again: %s, %v", digest, ok)
	}
	if _, _, ok := layerOf(t, packedArchive(t, gzipped(t, right, 1), sum(t, right)), ledger).Guess(); ok {
		t.Error("the same content, compressed otherwise, was taken for it")
	}
}

// TestPackedLayerClosedEarly ends what unpacks a layer with its reader.
func TestPackedLayerClosedEarly(t *testing.T) {
	content := bytes.Repeat([]byte("content"), 1_000_000)
	l := layerOf(t, packedArchive(t, gzipped(t, content, 1), sum(t, content)), nil)
	r, err := l.Compressed()
	must(t, err)
	_, err = io.ReadFull(r, make([]byte, 10))
	must(t, err)
	must(t, r.Close())
	if err := l.Settle(); err != nil {
		t.Errorf("read again: %v", err)
	}
}

// nest is a layout of an index in an index, depth of them, each naming the one below so many times.
func nest(t *testing.T, depth, times int) string {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	config, layers := []byte(`{"rootfs":{"type":"layers","diff_ids":[]}}`), []v1.Descriptor{}
	entry(t, tw, "blobs/sha256/"+sum(t, config).Hex, config)
	raw, err := json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: layers,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: sum(t, config), Size: int64(len(config))}})
	must(t, err)
	mediaType := types.OCIManifestSchema1
	for range depth {
		digest := sum(t, raw)
		entry(t, tw, "blobs/sha256/"+digest.Hex, raw)
		index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
		for range times {
			index.Manifests = append(index.Manifests, v1.Descriptor{MediaType: mediaType, Digest: digest, Size: int64(len(raw))})
		}
		raw, err = json.Marshal(index)
		must(t, err)
		mediaType = types.OCIImageIndex
	}
	entry(t, tw, "blobs/sha256/"+sum(t, raw).Hex, raw)
	entry(t, tw, "index.json", fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, mediaType, sum(t, raw), len(raw)))
	must(t, tw.Close())
	path := filepath.Join(t.TempDir(), "nested.tar")
	write(t, path, buf.Bytes())
	return path
}

// TestOpenNested reads each index once, however often it is named, and none that is nested too deep.
func TestOpenNested(t *testing.T) {
	_, closer, err := image.Open(t.Context(), nest(t, image.MaxNesting, 2000))
	must(t, err)
	closer.Close()
	_, _, err = image.Open(t.Context(), nest(t, image.MaxNesting+1, 1))
	if !errors.Is(err, image.ErrNesting) || !strings.Contains(err.Error(), "nested.tar") {
		t.Errorf("%v", err)
	}
}
