package registry

import (
	"errors"
	"fmt"
	"iter"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/image"
)

// child is what an index names, opened on demand. Its digest is zero as long as it is not known.
type child struct {
	digest v1.Hash
	open   func() (image.Artifact, error)
}

func children(artifact image.Artifact) (all []child) {
	if joined, ok := artifact.(*image.Joined); ok { // which has no manifest before its images have theirs
		for _, img := range joined.Images {
			all = append(all, child{open: func() (image.Artifact, error) { return img, nil }})
		}
		return all
	}
	failed := func(err error) []child {
		return []child{{open: func() (image.Artifact, error) { return nil, err }}}
	}
	index, ok := artifact.(v1.ImageIndex)
	if !ok {
		return failed(fmt.Errorf("push: %T is no image", artifact))
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return failed(err)
	}
	for _, d := range manifest.Manifests {
		all = append(all, child{d.Digest, func() (image.Artifact, error) {
			switch {
			case d.MediaType.IsImage():
				return index.Image(d.Digest)
			case d.MediaType.IsIndex():
				return index.ImageIndex(d.Digest)
			}
			return nil, fmt.Errorf("the index names a %s, which cannot be pushed yet", d.MediaType)
		}})
	}
	return all
}

// images are those of an artifact, each once, as far as they can be read.
func images(artifact image.Artifact) iter.Seq[v1.Image] {
	return func(yield func(v1.Image) bool) {
		if img, ok := artifact.(v1.Image); ok {
			yield(img)
			return
		}
		_ = descend(artifact, map[v1.Hash]bool{}, func(a image.Artifact) error {
			if img, ok := a.(v1.Image); ok && !yield(img) {
				return errEnough
			}
			return nil
		})
	}
}

var errEnough = errors.New("that is enough")

// descend visits what an index names, at any depth, those that have a digest already each once. What was seen is not
// visited.
func descend(index image.Artifact, seen map[v1.Hash]bool, visit func(image.Artifact) error) error {
	for _, c := range children(index) {
		if seen[c.digest] {
			continue
		}
		seen[c.digest] = c.digest != v1.Hash{}
		a, err := c.open()
		if err == nil {
			err = visit(a)
		}
		if _, isIndex := a.(v1.ImageIndex); isIndex && err == nil {
			err = descend(a, seen, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
