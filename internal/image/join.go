package image

import (
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Joined is an index of images for several platforms, made here. Its manifest is known once those of its images are.
type Joined struct {
	Images      []v1.Image
	Annotations map[string]string
	platforms   []*v1.Platform
}

var _ v1.ImageIndex = (*Joined)(nil)

// JoinFor makes an index of images for platforms, in their order.
func JoinFor(images []v1.Image, platforms []*v1.Platform) *Joined {
	return &Joined{Images: images, platforms: platforms}
}

// Join makes an index of images that say themselves which platform they are for, each another one, in their order.
func Join(images []v1.Image) (*Joined, error) {
	joined, seen := &Joined{Images: images}, map[string]bool{}
	for _, img := range images {
		config, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		p := config.Platform()
		switch {
		case p == nil || p.OS == "" || p.Architecture == "":
			return nil, fmt.Errorf("an image does not say which platform it is for")
		case seen[p.String()]:
			return nil, fmt.Errorf("two images are for %s", p)
		}
		seen[p.String()] = true
		joined.platforms = append(joined.platforms, p)
	}
	return joined, nil
}

func (j *Joined) IndexManifest() (*v1.IndexManifest, error) {
	m := &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}, Annotations: j.Annotations}
	for i, img := range j.Images {
		d, err := partial.Descriptor(img)
		if err != nil {
			return nil, err
		}
		d.Platform, d.ArtifactType = j.platforms[i], "" // which is of artifacts
		m.Manifests = append(m.Manifests, *d)
	}
	return m, nil
}

func (j *Joined) RawManifest() ([]byte, error) {
	m, err := j.IndexManifest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

func (j *Joined) Image(h v1.Hash) (v1.Image, error) {
	for _, img := range j.Images {
		if digest, err := img.Digest(); err != nil || digest == h {
			return img, err
		}
	}
	return nil, fmt.Errorf("no image %s", h)
}

func (j *Joined) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	return nil, fmt.Errorf("no index %s", h)
}
func (j *Joined) MediaType() (types.MediaType, error) { return types.OCIImageIndex, nil }
func (j *Joined) Digest() (v1.Hash, error)            { return partial.Digest(j) }
func (j *Joined) Size() (int64, error)                { return partial.Size(j) }

// Choose is the image of an index that suits a platform best, the first of several.
func Choose(index *v1.IndexManifest, platform v1.Platform) (v1.Hash, error) {
	var have []string
	var chosen v1.Hash
	best := -1
	for _, m := range index.Manifests {
		if m.Platform == nil || !m.MediaType.IsImage() || m.Platform.OS == unknown {
			continue
		}
		if better, ok := Suits(*m.Platform, platform); ok && better > best {
			chosen, best = m.Digest, better
		}
		have = append(have, m.Platform.String())
	}
	if best >= 0 {
		return chosen, nil
	}
	return v1.Hash{}, fmt.Errorf("it has no image for %s, only for %s", platform, strings.Join(have, ", "))
}
