package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// assembled is an image whose configuration stands as it is, so that the image ID stays; its manifest is made here, once
// the digests of the layers are known.
type assembled struct {
	config      []byte
	layers      []v1.Layer
	docker      bool // its media types are Docker's
	annotations map[string]string
}

var _ v1.Image = (*assembled)(nil)

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
	a := &assembled{config: raw}
	for i, name := range saved[0].Layers {
		l, err := archivedLayer(f, name, config.RootFS.DiffIDs[i])
		if err != nil {
			return nil, err
		}
		a.layers = append(a.layers, l)
	}
	return a, nil
}

// archivedLayer is the layer called name, which is compressed in one pass unless it is compressed already.
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
	if packed := compressionOf(head[:n]); packed != None {
		return &layer{diffID: diffID, packed: open, packedSize: size, compression: Compression{Algorithm: packed}}, nil
	}
	return &layer{diffID: diffID, write: from(open)}, nil
}

// WithConfig is img with another configuration, and without the annotations of its manifest, which tell of the image as it
// was.
func WithConfig(img v1.Image, config *v1.ConfigFile) (v1.Image, error) {
	a, ok := img.(*assembled)
	if !ok {
		return mutate.ConfigFile(Unannotated(img), config)
	}
	raw, err := json.Marshal(config)
	return &assembled{config: raw, layers: a.layers, docker: a.docker}, err // its layers need not be known yet
}

// Unannotated is img without the annotations of its manifest: they tell of that image, its revision and when it was made,
// not of one that is made of it.
func Unannotated(img v1.Image) v1.Image { return unannotated{img} }

type unannotated struct{ v1.Image }

func (u unannotated) Manifest() (*v1.Manifest, error) {
	m, err := u.Image.Manifest()
	if err != nil {
		return nil, err
	}
	m = m.DeepCopy()
	m.Annotations = nil
	return m, nil
}

// from writes a tar that is there.
func from(open func() (io.ReadCloser, error)) func(io.Writer) error {
	return func(w io.Writer) error {
		r, err := open()
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(w, r)
		return err
	}
}

func (a *assembled) Manifest() (*v1.Manifest, error) {
	config, err := a.ConfigName()
	if err != nil {
		return nil, err
	}
	kind, configKind := types.OCIManifestSchema1, types.OCIConfigJSON
	if a.docker {
		kind, configKind = types.DockerManifestSchema2, types.DockerConfigJSON
	}
	m := &v1.Manifest{
		SchemaVersion: 2,
		MediaType:     kind,
		Config:        v1.Descriptor{MediaType: configKind, Size: int64(len(a.config)), Digest: config},
		Layers:        []v1.Descriptor{},
		Annotations:   a.annotations,
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

func (a *assembled) RawManifest() ([]byte, error) {
	m, err := a.Manifest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

func (a *assembled) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if config, err := a.ConfigName(); err != nil || config == h {
		return partial.ConfigLayer(a)
	}
	return a.find(h, v1.Layer.Digest)
}

func (a *assembled) LayerByDiffID(h v1.Hash) (v1.Layer, error) { return a.find(h, v1.Layer.DiffID) }

func (a *assembled) find(h v1.Hash, of func(v1.Layer) (v1.Hash, error)) (v1.Layer, error) {
	for _, l := range a.layers {
		if got, err := of(l); err == nil && got == h {
			return l, nil
		} else if err != nil && !errors.Is(err, stream.ErrNotComputed) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no layer %s", h)
}

func (a *assembled) MediaType() (types.MediaType, error) {
	if a.docker {
		return types.DockerManifestSchema2, nil
	}
	return types.OCIManifestSchema1, nil
}

func (a *assembled) RawConfigFile() ([]byte, error)      { return a.config, nil }
func (a *assembled) Layers() ([]v1.Layer, error)         { return a.layers, nil }
func (a *assembled) ConfigName() (v1.Hash, error)        { return partial.ConfigName(a) }
func (a *assembled) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(a) }
func (a *assembled) Digest() (v1.Hash, error)            { return partial.Digest(a) }
func (a *assembled) Size() (int64, error)                { return partial.Size(a) }
