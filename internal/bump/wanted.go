package bump

import (
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// wanted is what a search looks for: the sites of images, all sites without any. With label, version labels follow the tag.
type wanted struct {
	names
	images []Image
	asked  index
	label  bool
}

func (j Job) wanted(images []Image) wanted {
	return wanted{names: namesOf(images), images: images, asked: newIndex(images), label: j.VersionLabel}
}

// proposal is what makes a site name one of the images, which was found for it, and what it names then. Err is why its form
// has no place for that.
type proposal struct {
	image  int // its place among those asked for
	ref    imageref.Ref
	edits  []manifest.Edit
	labels []manifest.Edit // of the version labels beside it
	err    error
}

// propose is nil when the site names none of the images.
func (w wanted) propose(site manifest.Site) *proposal {
	at, matches := w.asked.find(site)
	if !matches {
		return nil
	}
	image := w.images[at]
	p := &proposal{image: at, ref: site.Ref.With(image.Ref)}
	renames := image.Rename && (site.Ref.Same(image.Old) || site.Replaces.Same(image.Old))
	if renames {
		p.ref = image.Ref
	}
	p.edits, p.err = site.Set(image.Ref, renames)
	if w.label && len(p.edits) > 0 {
		p.labels = site.SetVersionLabel(image.Ref.Tag)
	}
	return p
}
