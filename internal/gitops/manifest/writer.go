package manifest

import (
	"errors"
	"fmt"

	"github.com/ksera524/imgbump/internal/imageref"
)

// whole is one scalar that is the reference, behind a prefix that stays: docker://, or the NAME= of an override. What
// replaces another image without saying so gets the prefix when it is renamed.
type whole struct {
	src      *source
	value    scalar
	prefix   string
	ref      imageref.Ref
	replaces imageref.Ref // zero unless an override
}

func (w whole) edits(want imageref.Ref, rename bool) ([]Edit, error) {
	ref, prefix := w.ref.With(want), w.prefix
	if rename {
		ref = want
	}
	if w.replaces.Repository != "" && prefix == "" && ref.Bare() != w.replaces {
		prefix = w.replaces.String() + "="
	}
	return []Edit{w.value.replace(w.src, prefix+ref.String())}, nil
}

func (w whole) values() []scalar { return []scalar{w.value} }

// errNoDigestField is why a Helm map without a digest key cannot be pinned to a digest alone.
var errNoDigestField = errors.New("no digest key to write to: name a tag beside the digest, or add the key")

// spread is a reference whose name stands beside a registry, a tag and a digest, each optional. Without a name of its own
// it is the version of ref. A registry that is not written may come from the global one of Helm values.
type spread struct {
	ref                         imageref.Ref
	name, registry, tag, digest field
	tagKey                      string // where a missing tag goes, "" when nowhere
	global                      string
}

func (s *spread) edits(want imageref.Ref, rename bool) ([]Edit, error) {
	var edits []Edit
	if rename {
		var err error
		if edits, err = s.rename(want); err != nil {
			return nil, err
		}
	}
	tag := want.Tag
	switch {
	case s.digest.present():
		edits = append(edits, s.digest.set(want.Digest))
	case want.Digest != "" && tag == "":
		return nil, errNoDigestField
	case want.Digest != "":
		tag += "@" + want.Digest
	}
	switch {
	case s.tag.present():
		edits = append(edits, s.tag.set(tag))
	case tag == "":
	case s.tagKey == "" || !s.name.present():
		return nil, errors.New("no tag to write to: add one beside it")
	default:
		edits = append(edits, s.name.insert(pair{s.tagKey, tag}))
	}
	return edits, nil
}

func (s *spread) values() []scalar {
	return []scalar{s.name.value, s.registry.value, s.tag.value, s.digest.value}
}

func (s *spread) rename(want imageref.Ref) ([]Edit, error) {
	switch {
	case s.registry.present():
		return []Edit{s.registry.set(want.Host()), s.name.set(want.Repository)}, nil
	case s.name.present() && s.global == "":
		return []Edit{s.name.set(want.Name())}, nil
	case s.name.present() && s.global == want.Registry:
		return []Edit{s.name.set(want.Repository)}, nil
	case s.global != "":
		return nil, fmt.Errorf("its registry is %s, from global.imageRegistry: give it one of its own", s.global)
	case !s.ref.Same(want):
		return nil, errors.New("only its version is written here: change the repository where it stands")
	}
	return nil, nil
}

// entry is one element of a kustomization's images.
type entry struct{ name, newName, newTag, digest field }

// edits leave the values that `kustomize edit set image` would leave: newTag and digest exclude each other unless
// both are asked for.
func (k *entry) edits(want imageref.Ref, rename bool) ([]Edit, error) {
	var edits []Edit
	var missing []pair
	edit := func(e Edit) { edits = append(edits, e) }
	put := func(f field, key, value string) {
		if f.present() {
			edit(f.set(value))
		} else {
			missing = append(missing, pair{key, value})
		}
	}
	if rename && (k.newName.present() || k.name.value.value != want.Name()) {
		put(k.newName, "newName", want.Name())
	}
	switch {
	case !want.Versioned():
	case want.Digest == "":
		only(k.newTag, k.digest, pair{"newTag", want.Tag}, put, edit)
	case want.Tag == "":
		only(k.digest, k.newTag, pair{"digest", want.Digest}, put, edit)
	default:
		put(k.newTag, "newTag", want.Tag)
		put(k.digest, "digest", want.Digest)
	}
	if len(missing) > 0 {
		after := k.name
		if k.newName.present() {
			after = k.newName
		}
		edit(after.insert(missing...))
	}
	return edits, nil
}

func (k *entry) values() []scalar {
	return []scalar{k.name.value, k.newName.value, k.newTag.value, k.digest.value}
}

// only writes p to keep and takes drop out of the entry. A key that would open the list element when it is dropped
// becomes the kept one instead, so that the element's dash stays where it is.
func only(keep, drop field, p pair, put func(f field, key, value string), edit func(Edit)) {
	switch {
	case drop.present() && !keep.present():
		edit(drop.rekey(p))
	case drop.present() && drop.first():
		edit(drop.rekey(p))
		edit(keep.remove())
	case drop.present():
		edit(drop.remove())
		put(keep, p.key, p.value)
	default:
		put(keep, p.key, p.value)
	}
}
