package stepcache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ConfigType is the media type of an entry's configuration, which tells what the artifact is.
const ConfigType types.MediaType = "application/vnd.imgbump.step.v1+json"

// emptyType is that of what stands where there is no layer (OCI image specification, "Guidance for an Empty Descriptor").
const emptyType types.MediaType = "application/vnd.oci.empty.v1+json"

// layerTypes are what layers are kept as.
var layerTypes = []types.MediaType{
	types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer, types.DockerUncompressedLayer,
	"application/vnd.docker.image.rootfs.diff.tar.zstd",
}

// Bounds of what a store may say of a step.
const (
	maxConfig = 1 << 20 // bytes
	maxLayer  = 1 << 40 // bytes
)

// config is all of an entry but the layer's bytes. It stands in the manifest too, so that one request is enough to read it.
type config struct {
	History string  `json:"history,omitempty"`
	Content string  `json:"content,omitempty"`
	DiffID  v1.Hash `json:"diff_id,omitzero"`
	Parts   []Part  `json:"parts"`
}

// Artifact is the entry as it is stored: an image whose layer is the step's, and whose configuration is the rest. Digest and
// manifest are known once the layer has been read.
func Artifact(e Entry) v1.Image { return &artifact{e} }

type artifact struct{ entry Entry }

func (a *artifact) Layers() ([]v1.Layer, error) {
	if a.entry.Layer == nil {
		return []v1.Layer{static.NewLayer([]byte("{}"), emptyType)}, nil
	}
	return []v1.Layer{a.entry.Layer}, nil
}

func (a *artifact) RawConfigFile() ([]byte, error) {
	c := config{History: a.entry.History, Content: a.entry.Content, Parts: a.entry.Parts}
	if a.entry.Layer != nil {
		var err error
		if c.DiffID, err = a.entry.Layer.DiffID(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(c)
}

func (a *artifact) Manifest() (*v1.Manifest, error) {
	raw, err := a.RawConfigFile()
	if err != nil {
		return nil, err
	}
	m := &v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: v1.Descriptor{MediaType: ConfigType, Size: int64(len(raw)), Data: raw}}
	if m.Config.Digest, err = a.ConfigName(); err != nil {
		return nil, err
	}
	layers, err := a.Layers()
	for _, l := range layers {
		d, err := partial.Descriptor(l)
		if err != nil {
			return nil, err
		}
		m.Layers = append(m.Layers, *d)
	}
	return m, err
}

func (a *artifact) RawManifest() ([]byte, error) {
	m, err := a.Manifest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

func (a *artifact) find(h v1.Hash, of func(v1.Layer) (v1.Hash, error)) (v1.Layer, error) {
	layers, err := a.Layers()
	for _, l := range layers {
		if got, err := of(l); err == nil && got == h {
			return l, nil
		}
	}
	return nil, errors.Join(err, fmt.Errorf("no layer %s", h))
}

func (a *artifact) MediaType() (types.MediaType, error)       { return types.OCIManifestSchema1, nil }
func (a *artifact) ConfigName() (v1.Hash, error)              { return partial.ConfigName(a) }
func (a *artifact) ConfigFile() (*v1.ConfigFile, error)       { return partial.ConfigFile(a) }
func (a *artifact) Digest() (v1.Hash, error)                  { return partial.Digest(a) }
func (a *artifact) Size() (int64, error)                      { return partial.Size(a) }
func (a *artifact) LayerByDigest(h v1.Hash) (v1.Layer, error) { return a.find(h, v1.Layer.Digest) }
func (a *artifact) LayerByDiffID(h v1.Hash) (v1.Layer, error) { return a.find(h, v1.Layer.DiffID) }

// Read is the entry that a manifest stores. Its layer's bytes are what open gives of a blob, and are held to its sums.
func Read(manifest []byte, open func(v1.Descriptor) (io.ReadCloser, error)) (*Entry, error) {
	m, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil {
		return nil, fmt.Errorf("it is no manifest: %w", err)
	}
	c := m.Config
	if c.MediaType != ConfigType || len(m.Layers) != 1 {
		return nil, fmt.Errorf("it is %q with %d layers, not what is kept of a step", c.MediaType, len(m.Layers))
	}
	if got, _, err := v1.SHA256(bytes.NewReader(c.Data)); err != nil || got != c.Digest || len(c.Data) > maxConfig {
		return nil, errors.New("its configuration is damaged")
	}
	var read config
	if err := json.Unmarshal(c.Data, &read); err != nil {
		return nil, fmt.Errorf("its configuration: %w", err)
	}
	e := &Entry{History: read.History, Content: read.Content, Parts: read.Parts}
	l := m.Layers[0]
	switch {
	case l.MediaType == emptyType:
	case !slices.Contains(layerTypes, l.MediaType) || l.Digest.Algorithm != "sha256" || read.DiffID.Algorithm != "sha256" || l.Size <= 0 || l.Size > maxLayer:
		return nil, fmt.Errorf("its layer is %q of %d bytes, with the digest %s and the sum %s", l.MediaType, l.Size, l.Digest, read.DiffID)
	default:
		e.Layer = &stored{of: v1.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}, diffID: read.DiffID, open: open}
	}
	return e, nil
}
