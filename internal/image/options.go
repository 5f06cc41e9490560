package image

import (
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Options say how layers are made that are not there yet.
type Options struct {
	Compression Compression
	Ledger      *Ledger
}

// Apply has the layers of an artifact that are still to be made made so. It comes before they are read.
func (o Options) Apply(a Artifact) error {
	ours, err := unread(a)
	for _, l := range ours {
		o.ApplyTo(l)
	}
	return err
}

// ApplyTo is Apply for one layer.
func (o Options) ApplyTo(l v1.Layer) {
	ours, ok := l.(*layer)
	if !ok {
		return
	}
	ours.ledger = o.Ledger
	if ours.packed == nil {
		ours.compression = o.Compression
	}
}

// Compresses reports whether a push of the artifact has layers to compress.
func Compresses(a Artifact) bool {
	ours, _ := unread(a)
	return slices.ContainsFunc(ours, func(l *layer) bool { return l.packed == nil })
}

// unread are the layers of an artifact that need not be known before they are read.
func unread(a Artifact) (all []*layer, err error) {
	for _, img := range Parts(a) {
		layers, err := img.Layers()
		if err != nil {
			return nil, err
		}
		for _, l := range layers {
			if l, ok := l.(*layer); ok {
				all = append(all, l)
			}
		}
	}
	return all, nil
}

// ForDocker gives a layer that is still to be made the media type that belongs into a manifest of Docker's family.
func ForDocker(l v1.Layer) v1.Layer {
	if l, ok := l.(*layer); ok {
		l.docker = true
	}
	return l
}

// Recompress is a with its layers compressed as the options say, also those that are compressed otherwise; the images keep
// their IDs. What is compressed so already stays as it is.
func (o Options) Recompress(a Artifact) (Artifact, error) {
	switch a := a.(type) {
	case v1.Image:
		return o.recompressed(a)
	case v1.ImageIndex:
		return o.recompressedIndex(a)
	}
	return nil, fmt.Errorf("%T is no image", a)
}

func (o Options) recompressed(img v1.Image) (v1.Image, error) {
	raw, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	var config v1.ConfigFile // a configuration of something else has no sums, and no layers for us
	if err := decode("its configuration", raw, &config); err != nil {
		return nil, err
	}
	family, err := img.MediaType()
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	made := &assembled{config: raw, docker: family == types.DockerManifestSchema2}
	changed := false
	for i, l := range layers {
		again, err := o.recompressedLayer(l, config.RootFS.DiffIDs[min(i, len(config.RootFS.DiffIDs)):], made.docker)
		if err != nil {
			return nil, err
		}
		changed = changed || again != l
		made.layers = append(made.layers, again)
	}
	if !changed {
		return img, nil
	}
	if _, fresh := img.(*assembled); !fresh { // one that is made here has neither annotations nor a subject
		m, err := img.Manifest()
		if err != nil {
			return nil, err
		}
		if m.Subject != nil {
			return nil, errors.New("it is attached to another image, and would not be any more")
		}
		made.annotations = m.Annotations
	}
	if err := o.Apply(made); err != nil {
		return nil, err
	}
	return forZstd(made)
}

// recompressedLayer is l, or is made from it; the sum of its tar is the first of diffIDs, to which it is held when it is read.
func (o Options) recompressedLayer(l v1.Layer, diffIDs []v1.Hash, docker bool) (v1.Layer, error) {
	mediaType, err := l.MediaType()
	if err != nil {
		return nil, err
	}
	if is := algorithmOf(mediaType); is == "" || is == o.Compression.named() {
		return l, nil
	}
	if len(diffIDs) == 0 {
		return nil, fmt.Errorf("%w: the configuration has fewer layers than the manifest", ErrCorrupt)
	}
	return &layer{diffID: diffIDs[0], docker: docker, write: from(l.Uncompressed)}, nil
}

func (o Options) recompressedIndex(index v1.ImageIndex) (Artifact, error) {
	images, err := imagesOf(index)
	if err != nil {
		return nil, err
	}
	changed := false
	for i, img := range images {
		if images[i], err = o.recompressed(img); err != nil {
			return nil, err
		}
		changed = changed || images[i] != img
	}
	if !changed {
		return index, nil
	}
	return Join(images)
}

// imagesOf are the images of an index for platforms, and of nothing else.
func imagesOf(index v1.ImageIndex) ([]v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var images []v1.Image
	for _, d := range manifest.Manifests {
		if !d.MediaType.IsImage() || d.Platform == nil || d.Platform.OS == unknown {
			return nil, errors.New("its index holds more than images for platforms, such as attestations, which are for the images as they are")
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	return images, nil
}
