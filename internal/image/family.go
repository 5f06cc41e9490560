package image

import (
	"encoding/json"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ForZstd is an artifact that is made here, in which images of Docker's family that have layers of zstd are of OCI's, as
// BuildKit has it: Docker's has no media type for them that everybody reads. It comes after Apply.
func ForZstd(a Artifact) (Artifact, error) {
	switch a := a.(type) {
	case v1.Image:
		return forZstd(a)
	case *Joined:
		joined := *a
		joined.Images = slices.Clone(a.Images)
		for i, img := range joined.Images {
			var err error
			if joined.Images[i], err = forZstd(img); err != nil {
				return nil, err
			}
		}
		return &joined, nil
	}
	return a, nil
}

func forZstd(img v1.Image) (v1.Image, error) {
	family, err := img.MediaType()
	if err != nil || family != types.DockerManifestSchema2 {
		return img, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		kind, err := l.MediaType()
		if err != nil {
			return nil, err
		}
		if algorithmOf(kind) == Zstd {
			return ofOCI{img}, nil
		}
	}
	return img, nil
}

// ofOCI is an image of Docker's family as one of OCI's: the bytes of layers and configuration are the same.
type ofOCI struct{ v1.Image }

// inOCI are the media types that differ.
var inOCI = map[types.MediaType]types.MediaType{
	types.DockerConfigJSON:        types.OCIConfigJSON,
	types.DockerLayer:             types.OCILayer,
	types.DockerUncompressedLayer: types.OCIUncompressedLayer,
	types.DockerForeignLayer:      types.OCIRestrictedLayer,
	dockerZstd:                    types.OCILayerZStd,
}

func (o ofOCI) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func (o ofOCI) Manifest() (*v1.Manifest, error) {
	m, err := o.Image.Manifest()
	if err != nil {
		return nil, err
	}
	m = m.DeepCopy()
	m.MediaType = types.OCIManifestSchema1
	translate(&m.Config)
	for i := range m.Layers {
		translate(&m.Layers[i])
	}
	return m, nil
}

func translate(d *v1.Descriptor) {
	if of, ok := inOCI[d.MediaType]; ok {
		d.MediaType = of
	}
}

func (o ofOCI) RawManifest() ([]byte, error) {
	m, err := o.Manifest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

func (o ofOCI) Digest() (v1.Hash, error) { return partial.Digest(o) }
func (o ofOCI) Size() (int64, error)     { return partial.Size(o) }
