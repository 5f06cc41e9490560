package manifest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/ksera524/imgbump/internal/imageref"
)

// Target is a place that a file is to name an image at, whether or not it does so already. What is missing is made, and
// nothing else changes. With Replaces the image is an entry of a kustomization for what the resources call so. Else Spec is
// the key of Helm values that holds the whole reference, or Name and Tag are those of the repository and the version: a path
// with dots, "[0]" for an element. In an Override, what overrides an Argo CD Application, the entry is one of
// kustomize.images, and keys are names of helm.parameters.
type Target struct {
	Override        bool
	Image           imageref.Ref // the repository
	Replaces        imageref.Ref
	Name, Tag, Spec string
}

// Site is what the file names there, the image without a version where it does not name it. The site cannot be set.
func (t Target) Site(path string, data []byte) (Site, error) {
	var site Site
	var err error
	if t.Replaces.Repository != "" {
		site, err = t.entry(path, data)
	} else {
		site, err = t.values(path, data)
	}
	return Site{
		File: path, Field: site.Field, Line: site.Line, Start: site.Start, End: site.End,
		Ref: site.Ref, Replaces: t.Replaces, Shape: site.Shape, Hold: site.Hold,
	}, err
}

// Set is the file in which the target names want. It is an error when the file's form has no place for that; then it is to
// be left alone.
func (t Target) Set(path string, data []byte, want imageref.Ref) ([]byte, error) {
	for range maxSteps {
		edits, err := t.next(path, data, want)
		if err != nil {
			return nil, err
		}
		if len(edits) == 0 {
			return data, nil
		}
		after, err := Apply(data, edits)
		if grown := func(e Edit) bool { return e.Old == "" }; err == nil && (slices.ContainsFunc(edits, grown) || bytes.IndexByte(data, '&') >= 0) {
			err = keeps(path, data, after, edits)
		}
		if err != nil {
			return nil, err
		}
		data = after
	}
	return nil, errors.New("it does not become what it should be; please report the form of this file")
}

// maxSteps is how many keys are set one after the other, at most.
const maxSteps = 8

// next are the edits that come next, none when the file names want.
func (t Target) next(path string, data []byte, want imageref.Ref) ([]Edit, error) {
	if t.Replaces.Repository == "" {
		return t.nextValue(path, data, want)
	}
	site, err := t.entry(path, data)
	if err != nil {
		return nil, err
	}
	switch {
	case site.write != nil:
		rename := !want.Same(site.Ref)
		if !rename && site.Ref.With(want) == site.Ref {
			return nil, nil
		}
		return site.Set(want, rename)
	case site.Shape == Kustomize:
		return AddImage(path, data, t.Replaces.Bare().With(want))
	}
	text := want.String()
	if !t.Replaces.Same(want) {
		text = t.Replaces.Name() + "=" + text
	}
	return grow(path, data, []string{"kustomize", "images"}, []string{text})
}

// entry is the site in a kustomization's images, or an override's; without a writer when it is not there.
func (t Target) entry(p string, data []byte) (Site, error) {
	shape, field, as := Kustomize, "images", p
	if t.Override {
		shape, field, as = Override, "kustomize.images", path.Join(path.Dir(p), ".argocd-source.yaml")
	}
	sites, err := Find(as, data, Rules{})
	if err != nil {
		return Site{}, err
	}
	for _, site := range sites {
		if site.Shape == shape && site.Replaces.Same(t.Replaces) {
			site.File = p
			return site, nil
		}
	}
	return Site{Field: field, Shape: shape, Ref: t.Image.Bare()}, nil
}

// values is the site in Helm's values, or an override's parameters.
func (t Target) values(path string, data []byte) (Site, error) {
	h, err := t.read(path, data)
	if err != nil {
		return Site{}, err
	}
	version := h[len(h)-1]
	site := Site{Field: version.key, Shape: Helm, Ref: t.Image.Bare()}
	if v := version.value; v.present() {
		site.Start, site.End, site.Line = v.value.start, v.value.end, v.key.Line
	}
	holds, _ := newSource(path, data).notes()
	for _, v := range h {
		if v.value.present() {
			site.Hold = cmp.Or(site.Hold, holds[v.value.key.Line].text)
		}
	}
	if ref, ok := t.names(h); ok {
		site.Ref = ref
	}
	return site, nil
}

// names is what the values name, as far as it is the image.
func (t Target) names(h []helmValue) (imageref.Ref, bool) {
	if t.Spec != "" {
		ref, err := imageref.Parse(h[0].text())
		return ref, err == nil && ref.Same(t.Image)
	}
	if t.Name != "" && !t.isName(h[0].text()) {
		return imageref.Ref{}, false
	}
	ref, err := imageref.Parse(t.Image.Name() + ":" + h[len(h)-1].text())
	return ref, err == nil
}

// isName reports whether a value is the image's repository, with its registry or without.
func (t Target) isName(value string) bool {
	ref, err := imageref.Parse(value)
	return err == nil && !ref.Versioned() && (ref.Same(t.Image) || value == t.Image.Repository)
}

// helmValue is a key with its value, absent when the file has none.
type helmValue struct {
	key   string
	value field
}

func (v helmValue) text() string {
	if !v.value.present() {
		return ""
	}
	return v.value.value.value
}

// read locates the values, the version last.
func (t Target) read(path string, data []byte) (all []helmValue, err error) {
	root, err := onlyMapping(newSource(path, data))
	if err != nil {
		return nil, err
	}
	for _, key := range t.keys() {
		v := helmValue{key: key}
		if t.Override {
			v.value, err = parameter(root, key)
		} else {
			v.value, _, _, err = dotted(root, key)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// keys are those of the values, that of the version last.
func (t Target) keys() []string {
	switch {
	case t.Spec != "":
		return []string{t.Spec}
	case t.Name != "":
		return []string{t.Name, t.Tag}
	}
	return []string{t.Tag}
}

// nextValue are the edits for the first key that does not say what it should.
func (t Target) nextValue(path string, data []byte, want imageref.Ref) ([]Edit, error) {
	all, err := t.read(path, data)
	if err != nil {
		return nil, err
	}
	version := strings.TrimPrefix(strings.TrimPrefix(imageref.Ref{Repository: "x"}.With(want).String(), "x"), ":")
	for i, v := range all {
		text := version
		switch {
		case t.Spec != "":
			text = want.String()
			if old, err := imageref.Parse(v.text()); err == nil && old.Same(want) {
				text = old.With(want).String()
			}
		case i < len(all)-1:
			text = want.Name()
			if t.isName(v.text()) {
				text = v.text()
			}
		}
		switch {
		case v.value.present() && v.text() == text:
			continue
		case v.value.present():
			return []Edit{v.value.set(text)}, nil
		case t.Override:
			return grow(path, data, []string{"helm", "parameters"}, []string{"name: " + v.key, "value: " + plain(text), "forcestring: true"})
		}
		return growValue(path, data, v.key, text)
	}
	return nil, nil
}

// plain is a value as it is written, in quotes where it must be.
func plain(value string) string {
	if !plainSafe(value) {
		return quoted(value, '"')
	}
	return value
}

// onlyMapping is the file's document, without a node when there is none yet.
func onlyMapping(src *source) (mapping, error) {
	docs, err := src.documents()
	switch {
	case err != nil:
		return mapping{}, err
	case len(docs) > 1:
		return mapping{}, errors.New("it has several documents")
	case len(docs) == 0 || len(docs[0].Content) == 0 || docs[0].Content[0].Tag == "!!null":
		return mapping{src: src}, nil
	}
	root := docs[0].Content[0]
	if root.Kind != yaml.MappingNode {
		return mapping{}, errors.New("it is no mapping")
	}
	return mapping{src, root}, nil
}

// parameter is the value of a parameter in an override, absent when there is none of that name.
func parameter(root mapping, name string) (field, error) {
	list, err := listAt(root, "helm", "parameters")
	if err != nil || list == nil {
		return field{}, err
	}
	for _, element := range list.Content {
		if m := (mapping{root.src, element}); element.Kind == yaml.MappingNode && m.text("name") == name {
			return m.field("value")
		}
	}
	return field{}, nil
}

// listAt is the list below keys, nil when there is none.
func listAt(m mapping, keys ...string) (*yaml.Node, error) {
	for i, key := range keys {
		if m.node == nil {
			return nil, nil
		}
		_, value := m.find(key)
		switch {
		case value == nil || value.Tag == "!!null":
			return nil, nil
		case i == len(keys)-1 && value.Kind == yaml.SequenceNode:
			return value, nil
		case i == len(keys)-1 || value.Kind != yaml.MappingNode:
			return nil, fmt.Errorf("%s is not what it is in an override", key)
		}
		m = mapping{m.src, value}
	}
	return nil, nil
}
