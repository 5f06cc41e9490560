package image

import (
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/imageref"
)

// Receipt tells what a push did: which references name the artifact now, and what became of each blob.
// Size is that of the manifest, BytesPushed that of all uploads, in bytes.
type Receipt struct {
	References  []imageref.Ref
	Digest      v1.Hash
	MediaType   string
	Size        int64
	Platforms   []string
	Layers      []LayerReceipt
	BytesPushed int64
	Attached    int // signatures and other artifacts that came along
}

// LayerReceipt is what became of one layer; Size is in bytes, compressed.
type LayerReceipt struct {
	Digest v1.Hash
	Size   int64
	Status Status
}

// Progress is how far a layer is on its way: while Status is "", Sent bytes of Size, which is 0 as long as it is not known.
type Progress struct {
	Layer int // numbers the layers of a push, from 1, in the order in which they start
	Sent  int64
	LayerReceipt
}

// Status is how a blob came to be in its repository.
type Status string

const (
	Pushed  Status = "pushed"  // it was uploaded
	Exists  Status = "exists"  // it was there
	Mounted Status = "mounted" // it was taken from another repository of the same registry
	Built   Status = "built"   // it was made, and pushed nowhere
)

// Describe completes the receipt with what the artifact says of itself, as far as its digests are known.
func (r *Receipt) Describe(a Artifact) error {
	raw, err := a.RawManifest()
	if err != nil {
		return err
	}
	r.Size = int64(len(raw))
	mediaType, err := a.MediaType()
	if err != nil {
		return err
	}
	r.MediaType = string(mediaType)
	if r.Digest, err = a.Digest(); err != nil {
		return err
	}
	r.Platforms, err = platforms(a)
	return err
}

// platforms are those that the artifact's images run on, in their order, each once.
func platforms(a Artifact) ([]string, error) {
	all := []string{}
	add := func(p *v1.Platform) {
		if p != nil && p.OS != "" && p.OS != unknown && !slices.Contains(all, p.String()) {
			all = append(all, p.String())
		}
	}
	switch a := a.(type) {
	case v1.Image:
		manifest, err := a.Manifest()
		if err != nil || !manifest.Config.MediaType.IsConfig() { // of something else than a container
			return all, err
		}
		config, err := a.ConfigFile()
		if err != nil {
			return nil, err
		}
		add(config.Platform())
	case v1.ImageIndex:
		index, err := a.IndexManifest()
		if err != nil {
			return nil, err
		}
		for _, m := range index.Manifests {
			add(m.Platform)
		}
	}
	return all, nil
}

// unknown is the operating system of what BuildKit keeps beside the images of an index: attestations.
const unknown = "unknown"
