package manifest

import (
	"errors"
	"path"
	"strings"

	"github.com/ksera524/imgbump/internal/imageref"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// images finds the sites in the images: of a kustomization: entries, and in Argo CD's Applications the strings that
// `kustomize edit set image` takes.
func (f *finder) images(list *yaml.Node, at *trail) {
	if list.Kind != yaml.SequenceNode {
		return
	}
	for i, element := range list.Content {
		element = resolved(element)
		switch at := at.element(i, element); element.Kind {
		case yaml.MappingNode:
			f.entry(mapping{f.src, element}, at)
		case yaml.ScalarNode:
			f.override(mapping{f.src, list}, element, at)
		}
	}
}

// entry is the site of {name, newName, newTag, digest}.
func (f *finder) entry(m mapping, at *trail) {
	replaces, err := imageref.Parse(m.text("name"))
	if err != nil || replaces.Versioned() {
		return
	}
	name := m.text("newName")
	if name == "" {
		name = m.text("name")
	}
	k := entry{}
	site := Site{Replaces: replaces.Bare(), Shape: Kustomize, write: &k}
	var apart bool
	if site.Ref, apart = joined("", name, m.text("newTag"), m.text("digest")); !apart {
		if site.Ref, err = imageref.Parse(name); err != nil || !site.Ref.Versioned() {
			return // a name or a tag that is none, such as a template's
		}
	}
	of := func(key string, to *field) place { return place{part{mapping: m, at: at, key: key}, to} }
	lines := locate(&site, at, m.node.Line, of("name", &k.name), of("newName", &k.newName), of("digest", &k.digest), of("newTag", &k.newTag))
	switch {
	case apart:
	case k.newTag.present() || k.digest.present():
		site.write = unwritable{errors.New("newName carries a version, and so does a key beside it: leave one of them")}
	default:
		site.write = &whole{src: m.src, ref: site.Ref, value: k.newName.value}
	}
	f.add(site, lines...)
}

// override is the site of [NAME=]IMAGE[:TAG][@DIGEST] (Argo CD, spec.source.kustomize.images).
func (f *finder) override(list mapping, value *yaml.Node, at *trail) {
	w := &whole{src: f.src}
	name, image, renamed := strings.Cut(value.Value, "=")
	if renamed {
		w.prefix = name + "="
	} else {
		image = name
	}
	ref, err := imageref.Parse(image)
	if err != nil {
		return
	}
	w.ref, w.replaces = ref, ref.Bare()
	if renamed {
		if w.replaces, err = imageref.Parse(name); err != nil || w.replaces.Versioned() {
			return
		}
	}
	f.scalar(list, value, at, Site{Ref: ref, Replaces: w.replaces, Shape: Override}, w)
}

// resourceKeys are the keys of a kustomization that name files and folders which its images: apply to.
var resourceKeys = []string{"resources", "bases", "components", "patchesStrategicMerge"}

// Resources are the local files and folders that the kustomization at p builds from, relative to the root.
// URLs and inline patches are left out, and so is everything when the file is no YAML.
func Resources(p string, data []byte) []string {
	src := newSource(p, data)
	docs, err := src.documents()
	if err != nil {
		return nil
	}
	var found []string
	for _, doc := range docs {
		for _, root := range doc.Content {
			if root.Kind == yaml.MappingNode {
				found = append(found, resources(mapping{src, root}, path.Dir(p))...)
			}
		}
	}
	return found
}

func resources(root mapping, dir string) []string {
	var found []string
	add := func(node *yaml.Node) {
		if node != nil && node.Kind == yaml.ScalarNode && !strings.ContainsAny(node.Value, ":?\n") {
			found = append(found, path.Join(dir, node.Value))
		}
	}
	for _, key := range resourceKeys {
		if _, list := root.find(key); list != nil {
			for _, element := range list.Content {
				add(resolved(element))
			}
		}
	}
	if _, list := root.find("patches"); list != nil {
		for _, element := range list.Content {
			if element.Kind == yaml.MappingNode {
				_, file := (mapping{root.src, element}).find("path")
				add(file)
			}
		}
	}
	return found
}
