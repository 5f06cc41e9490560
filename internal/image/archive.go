package image

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// archive is the image of a docker-save archive. Its configuration stands as it is, so the image ID stays; its
// manifest is made here, once the digests of the layers are known.
type archive struct {
	config []byte
	layers []v1.Layer
}

var _ v1.Image = (*archive)(nil)

func readArchive(f files, data []byte) (Artifact, error) {
	var saved []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := decode("manifest.json", data, &saved); err != nil {
		return nil, err
	}
	switch len(saved) {
	case 0:
		return nil, errors.New("manifest.json names no image")
	case 1:
	default:
		several := severalError{images: len(saved)}
		for _, s := range saved {
			several.names = append(several.names, strings.Join(append(s.RepoTags, s.Config)[:max(1, len(s.RepoTags))], " "))
		}
		return nil, &several
	}
	raw, err := readFile(f, saved[0].Config)
	if err != nil {
		return nil, err
	}
	var config v1.ConfigFile
	if err := decode(saved[0].Config, raw, &config); err != nil {
		return nil, err
	}
	if len(config.RootFS.DiffIDs) != len(saved[0].Layers) {
		return nil, fmt.Errorf("%w: the configuration has %d layers, manifest.json %d", ErrCorrupt, len(config.RootFS.DiffIDs), len(saved[0].Layers))
	}
	a := &archive{config: raw}
	for i, name := range saved[0].Layers {
		l, err := archivedLayer(f, name, config.RootFS.DiffIDs[i])
		if err != nil {
			return nil, err
		}
		a.layers = append(a.layers, l)
	}
	return a, nil
}

// archivedLayer compresses the layer called name in one pass, unless it is compressed already.
func archivedLayer(f files, name string, diffID v1.Hash) (v1.Layer, error) {
	r, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head := make([]byte, len(zstdMagic))
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	open := func() (io.ReadCloser, error) {
		r, _, err := f.open(name)
		return r, err
	}
	switch compressionOf(head[:n]) {
	case compressedGzip:
		return partial.CompressedToLayer(&packed{from: open, size: size, mediaType: types.OCILayer, diffID: diffID})
	case compressedZstd:
		return partial.CompressedToLayer(&packed{from: open, size: size, mediaType: types.OCILayerZStd, diffID: diffID})
	}
	return &layer{diffID: diffID, write: func(w io.Writer) error {
		r, err := open()
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(w, r)
		return err
	}}, nil
}

// packed is a layer that is compressed already; its digest is found by reading it once.
type packed struct {
	from      func() (io.ReadCloser, error)
	size      int64
	mediaType types.MediaType
	diffID    v1.Hash

	once   sync.Once
	digest v1.Hash
	err    error
}

func (p *packed) Digest() (v1.Hash, error) {
	p.once.Do(func() {
		r, err := p.from()
		if err != nil {
			p.err = err
			return
		}
		defer r.Close()
		h := sha256.New()
		_, p.err = io.Copy(h, r)
		p.digest = sum256(h)
	})
	return p.digest, p.err
}

func (p *packed) DiffID() (v1.Hash, error)            { return p.diffID, nil }
func (p *packed) Size() (int64, error)                { return p.size, nil }
func (p *packed) MediaType() (types.MediaType, error) { return p.mediaType, nil }
func (p *packed) Compressed() (io.ReadCloser, error)  { return p.from() }

func (a *archive) Manifest() (*v1.Manifest, error) {
	config, err := a.ConfigName()
	if err != nil {
		return nil, err
	}
	m := &v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(a.config)), Digest: config},
		Layers:        []v1.Descriptor{},
	}
	for _, l := range a.layers {
		d, err := partial.Descriptor(l)
		if err != nil {
			return nil, err
		}
		m.Layers = append(m.Layers, *d)
	}
	return m, nil
}

func (a *archive) RawManifest() ([]byte, error) {
	m, err := a.Manifest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

func (a *archive) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if config, err := a.ConfigName(); err != nil || config == h {
		return partial.ConfigLayer(a)
	}
	return a.find(h, v1.Layer.Digest)
}

func (a *archive) LayerByDiffID(h v1.Hash) (v1.Layer, error) { return a.find(h, v1.Layer.DiffID) }

func (a *archive) find(h v1.Hash, of func(v1.Layer) (v1.Hash, error)) (v1.Layer, error) {
	for _, l := range a.layers {
		if got, err := of(l); err == nil && got == h {
			return l, nil
		} else if err != nil && !errors.Is(err, stream.ErrNotComputed) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no layer %s", h)
}

func (a *archive) RawConfigFile() ([]byte, error)      { return a.config, nil }
func (a *archive) Layers() ([]v1.Layer, error)         { return a.layers, nil }
func (a *archive) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (a *archive) ConfigName() (v1.Hash, error)        { return partial.ConfigName(a) }
func (a *archive) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(a) }
func (a *archive) Digest() (v1.Hash, error)            { return partial.Digest(a) }
func (a *archive) Size() (int64, error)                { return partial.Size(a) }
