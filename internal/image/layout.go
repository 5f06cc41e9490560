package image

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// annotationName is where an OCI layout's index keeps an image's tag (OCI image specification, annotations).
const annotationName = "org.opencontainers.image.ref.name"

func readLayout(f files, data []byte) (Artifact, error) {
	top, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	if len(top.Manifests) == 0 {
		return nil, errors.New("index.json names no image")
	}
	images, several := map[v1.Hash]bool{}, severalError{}
	for _, d := range top.Manifests { // one image may have several names
		images[d.Digest] = true
		several.names = append(several.names, cmp.Or(d.Annotations[annotationName], d.Digest.String()))
	}
	if several.images = len(images); several.images > 1 {
		return nil, &several
	}
	d := top.Manifests[0]
	switch {
	case d.MediaType.IsIndex():
		return (&blobs{f}).index(d.Digest)
	case d.MediaType.IsImage():
		return (&blobs{f}).image(d.Digest)
	}
	return nil, fmt.Errorf("index.json: %s is no image", d.MediaType)
}

// blobs is the blob store of an OCI layout. What is read whole is held to its digest here; a layer is held to its size,
// and to its digest by the registry that receives it.
type blobs struct{ files files }

func (l *blobs) blob(h v1.Hash) (io.ReadCloser, error) {
	r, _, err := l.files.open(blobName(h))
	return r, err
}

func blobName(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

func (l *blobs) document(h v1.Hash) ([]byte, error) {
	data, err := readFile(l.files, blobName(h))
	if err != nil {
		return nil, err
	}
	if got, _, err := v1.SHA256(bytes.NewReader(data)); err != nil || got != h {
		return nil, fmt.Errorf("%s: %w", blobName(h), ErrCorrupt)
	}
	return data, nil
}

func (l *blobs) image(h v1.Hash) (v1.Image, error) {
	raw, err := l.document(h)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", blobName(h), err)
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if err := l.check(d); err != nil {
			return nil, err
		}
	}
	return partial.CompressedToImage(&stored{blobs: l, raw: raw, manifest: m})
}

// check holds a blob to its size. One that may not be distributed need not be there.
func (l *blobs) check(d v1.Descriptor) error {
	if !d.MediaType.IsDistributable() {
		return nil
	}
	r, size, err := l.files.open(blobName(d.Digest))
	if err != nil {
		return err
	}
	r.Close()
	if size != d.Size {
		return fmt.Errorf("%w: %s has %d bytes instead of %d", ErrCorrupt, blobName(d.Digest), size, d.Size)
	}
	return nil
}

// stored is what partial needs to make a v1.Image of an image in a layout.
type stored struct {
	blobs    *blobs
	raw      []byte
	manifest *v1.Manifest
}

func (s *stored) RawManifest() ([]byte, error) { return s.raw, nil }

func (s *stored) RawConfigFile() ([]byte, error) { return s.blobs.document(s.manifest.Config.Digest) }

func (s *stored) MediaType() (types.MediaType, error) {
	if s.manifest.MediaType == "" {
		return types.OCIManifestSchema1, nil
	}
	return s.manifest.MediaType, nil
}

func (s *stored) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range append([]v1.Descriptor{s.manifest.Config}, s.manifest.Layers...) {
		if d.Digest == h {
			return &storedLayer{blobs: s.blobs, of: d}, nil
		}
	}
	return nil, fmt.Errorf("no layer %s", h)
}

type storedLayer struct {
	blobs *blobs
	of    v1.Descriptor
}

func (l *storedLayer) Digest() (v1.Hash, error)            { return l.of.Digest, nil }
func (l *storedLayer) Size() (int64, error)                { return l.of.Size, nil }
func (l *storedLayer) MediaType() (types.MediaType, error) { return l.of.MediaType, nil }
func (l *storedLayer) Compressed() (io.ReadCloser, error)  { return l.blobs.blob(l.of.Digest) }

// index reads an index and all that it names: what cannot be pushed is told before anything is.
func (l *blobs) index(h v1.Hash) (v1.ImageIndex, error) {
	return l.nested(h, 1, map[v1.Hash]bool{})
}

// MaxNesting is how deep an index may name indexes. Builders nest none.
const MaxNesting = 8

// ErrNesting is the cause when they are nested deeper.
var ErrNesting = fmt.Errorf("indexes that name indexes are nested deeper than %d", MaxNesting)

// nested is an index at some depth; what was seen need not be read again.
func (l *blobs) nested(h v1.Hash, depth int, seen map[v1.Hash]bool) (*storedIndex, error) {
	if depth > MaxNesting {
		return nil, ErrNesting
	}
	raw, err := l.document(h)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", blobName(h), err)
	}
	for _, d := range m.Manifests {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		switch {
		case d.MediaType.IsIndex():
			_, err = l.nested(d.Digest, depth+1, seen)
		case d.MediaType.IsImage():
			_, err = l.image(d.Digest)
		}
		if err != nil {
			return nil, err
		}
	}
	return &storedIndex{blobs: l, raw: raw, manifest: m}, nil
}

type storedIndex struct {
	blobs    *blobs
	raw      []byte
	manifest *v1.IndexManifest
}

func (i *storedIndex) RawManifest() ([]byte, error)                { return i.raw, nil }
func (i *storedIndex) IndexManifest() (*v1.IndexManifest, error)   { return i.manifest.DeepCopy(), nil }
func (i *storedIndex) Digest() (v1.Hash, error)                    { return partial.Digest(i) }
func (i *storedIndex) Size() (int64, error)                        { return partial.Size(i) }
func (i *storedIndex) Image(h v1.Hash) (v1.Image, error)           { return i.blobs.image(h) }
func (i *storedIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) { return i.blobs.index(h) }

func (i *storedIndex) MediaType() (types.MediaType, error) {
	if i.manifest.MediaType == "" {
		return types.OCIImageIndex, nil
	}
	return i.manifest.MediaType, nil
}
