package manifest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ksera524/imgbump/internal/imageref"
)

// Shape says how a site names its image.
type Shape string

const (
	Whole     Shape = "string"    // one value is the whole reference: image: nginx:1.27
	Kustomize Shape = "kustomize" // an entry of a kustomization's images: name, newName, newTag, digest
	Helm      Shape = "helm"      // a mapping: registry, repository, tag, digest
)

// Object is the Kubernetes object that a site belongs to; zero in files that are none, such as Helm values.
type Object struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name,omitempty"`
}

// Site is a place that names an image. Field is its path in document Doc (counted from 0), Line (from 1) and the byte
// range [Start,End) are those of the value that carries the version. Replaces is the name that a kustomization's entry
// looks for in the resources; it is Ref's repository elsewhere.
type Site struct {
	File       string
	Doc        int
	Field      string
	Line       int
	Start, End int
	Ref        imageref.Ref
	Replaces   imageref.Ref
	Shape      Shape
	Object     Object

	write writer
}

// writer makes the edits that let a site name want. With rename the repository is written too.
type writer interface {
	edits(want imageref.Ref, rename bool) ([]Edit, error)
}

// Set is the edits that make the site name want's tag and digest, and with rename its repository; none when it does.
// It is an error when the site's form has no place for what is wanted.
func (s Site) Set(want imageref.Ref, rename bool) ([]Edit, error) {
	edits, err := s.write.edits(want, rename)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Field, err)
	}
	return slices.DeleteFunc(edits, func(e Edit) bool { return e.Old == e.New }), nil
}

// unwritable is the writer of a site that can be read but not exactly located.
type unwritable struct{ err error }

func (u unwritable) edits(imageref.Ref, bool) ([]Edit, error) { return nil, u.err }

// whole is one scalar that is the reference.
type whole struct {
	src   *source
	value scalar
	ref   imageref.Ref
}

func (w whole) edits(want imageref.Ref, rename bool) ([]Edit, error) {
	ref := w.ref.With(want)
	if rename {
		ref = want
	}
	return []Edit{w.value.replace(w.src, ref.String())}, nil
}

// errNoDigestField is why a Helm map without a digest key cannot be pinned to a digest alone.
var errNoDigestField = errors.New("no digest key to write to: name a tag beside the digest, or add the key")

// helm is a mapping whose name (repository, or image) stands beside a registry, a tag and a digest, all but one optional.
type helm struct {
	mapping
	name, registry, tag, digest field
}

func (h helm) edits(want imageref.Ref, rename bool) ([]Edit, error) {
	if !h.name.present() && (rename || !h.tag.present()) {
		return nil, errors.New("its repository comes in through a merge key; change it where it is written")
	}
	var edits []Edit
	if rename {
		edits = h.rename(want)
	}
	tag := want.Tag
	switch {
	case h.digest.present():
		edits = append(edits, h.set(h.digest, want.Digest))
	case want.Digest != "" && tag == "":
		return nil, errNoDigestField
	case want.Digest != "":
		tag += "@" + want.Digest
	}
	switch {
	case h.tag.present():
		edits = append(edits, h.set(h.tag, tag))
	case tag != "":
		edits = append(edits, h.insert(h.name, pair{"tag", tag}))
	}
	return edits, nil
}

func (h helm) rename(want imageref.Ref) []Edit {
	if !h.registry.present() {
		return []Edit{h.set(h.name, want.Name())}
	}
	return []Edit{h.set(h.registry, want.Host()), h.set(h.name, want.Repository)}
}

// entry is one element of a kustomization's images.
type entry struct {
	mapping
	name, newName, newTag, digest field
}

// edits leave the values that `kustomize edit set image` would leave: newTag and digest exclude each other unless
// both are asked for.
func (k entry) edits(want imageref.Ref, rename bool) ([]Edit, error) {
	var edits []Edit
	var missing []pair
	edit := func(e Edit) { edits = append(edits, e) }
	put := func(f field, key, value string) {
		if f.present() {
			edit(k.set(f, value))
		} else {
			missing = append(missing, pair{key, value})
		}
	}
	if rename && (k.newName.present() || k.name.value.value != want.Name()) {
		put(k.newName, "newName", want.Name())
	}
	switch {
	case want.Digest == "":
		k.only(k.newTag, k.digest, pair{"newTag", want.Tag}, put, edit)
	case want.Tag == "":
		k.only(k.digest, k.newTag, pair{"digest", want.Digest}, put, edit)
	default:
		put(k.newTag, "newTag", want.Tag)
		put(k.digest, "digest", want.Digest)
	}
	if len(missing) > 0 {
		after := k.name
		if k.newName.present() {
			after = k.newName
		}
		edit(k.insert(after, missing...))
	}
	return edits, nil
}

// only writes p to keep and takes drop out of the entry. A key that would open the list element when it is dropped
// becomes the kept one instead, so that the element's dash stays where it is.
func (k entry) only(keep, drop field, p pair, put func(f field, key, value string), edit func(Edit)) {
	switch {
	case drop.present() && !keep.present():
		edit(k.rekey(drop, p))
	case drop.present() && k.first(drop):
		edit(k.rekey(drop, p))
		edit(k.remove(keep))
	case drop.present():
		edit(k.remove(drop))
		put(keep, p.key, p.value)
	default:
		put(keep, p.key, p.value)
	}
}
