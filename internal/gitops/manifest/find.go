package manifest

import (
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/imageref"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Find is every site in the file, in the order of the file. The error is a *SyntaxError when it is no YAML.
func Find(path string, data []byte) ([]Site, error) {
	src := newSource(path, data)
	docs, err := src.documents()
	if err != nil {
		return nil, err
	}
	f := &finder{src: src, seen: map[place]bool{}}
	for n, doc := range docs {
		f.doc = n
		f.document(doc)
	}
	return f.sites, nil
}

// finder walks the documents of one file and collects its sites.
type finder struct {
	src    *source
	doc    int
	object Object
	sites  []Site
	seen   map[place]bool
}

// place tells sites apart: a value that several aliases name is one site, unless the keys beside it make it another image.
type place struct {
	start int
	ref   imageref.Ref
}

func (f *finder) document(doc *yaml.Node) {
	f.object = Object{}
	for _, root := range doc.Content {
		m := mapping{f.src, root}
		object := root.Kind == yaml.MappingNode && objectOf(m).Kind != "" && objectOf(m).APIVersion != ""
		kustomization := root.Kind == yaml.MappingNode && isKustomization(f.src.path, m)
		if kustomization {
			f.kustomization(m)
		}
		if object || kustomization || !objectsOnly(f.src.path) {
			f.visit(root, "", "")
		}
	}
}

// isKustomization follows kustomize, which goes by the file's name, and accepts the kind where a file has one.
func isKustomization(path string, root mapping) bool {
	if version := root.text("apiVersion"); version != "" {
		return strings.HasPrefix(version, "kustomize.config.k8s.io/")
	}
	return IsKustomization(path)
}

func objectOf(m mapping) Object {
	o := Object{APIVersion: m.text("apiVersion"), Kind: m.text("kind")}
	if _, v := m.find("metadata"); v != nil && v.Kind == yaml.MappingNode {
		meta := mapping{m.src, v}
		o.Namespace, o.Name = meta.text("namespace"), meta.text("name")
	}
	return o
}

// visit walks node, which stands under key; the elements of a list stand under the list's key.
func (f *finder) visit(node *yaml.Node, key, field string) {
	switch node.Kind {
	case yaml.MappingNode:
		f.mapping(mapping{f.src, node}, key, field)
	case yaml.SequenceNode:
		for i, element := range node.Content {
			f.visit(element, key, field+"["+strconv.Itoa(i)+"]")
		}
	}
}

func (f *finder) mapping(m mapping, key, field string) {
	if o := objectOf(m); o.APIVersion != "" && o.Kind != "" {
		outer := f.object
		f.object = o
		defer func() { f.object = outer }()
	}
	if isImageMap(m, key) {
		f.pair(m, "repository", "tag", field)
	}
	m.entries(func(key, value *yaml.Node) {
		if value.Kind == yaml.ScalarNode && namesImage(key.Value) {
			f.reference(m, key.Value, value, field)
		} else {
			f.visit(value, key.Value, join(field, key.Value))
		}
	})
}

// namesImage reports whether key is image, or ends in Image as sidecarImage does.
func namesImage(key string) bool { return key == "image" || strings.HasSuffix(key, "Image") }

// join is the path of key below field; keys that hold dots or brackets are quoted.
func join(field, key string) string {
	if strings.ContainsAny(key, ".[]\"") || key == "" {
		return field + "[" + strconv.Quote(key) + "]"
	}
	if field == "" {
		return key
	}
	return field + "." + key
}

// reference is the site of a value that is a whole reference, or of one whose tag stands in a key beside it.
func (f *finder) reference(m mapping, key string, value *yaml.Node, parent string) {
	if value.Tag == "!!null" {
		return
	}
	ref, err := imageref.Parse(strings.TrimSpace(value.Value))
	if err != nil {
		return // a template's expression, or no reference at all
	}
	if tag := tagBeside(m, key); tag != "" && !ref.Versioned() {
		f.pair(m, key, tag, parent)
		return
	}
	site := Site{Field: join(parent, key), Line: value.Line, Ref: ref, Replaces: ref.Bare(), Shape: Whole}
	v, err := f.src.scalarOf(value)
	if err != nil {
		site.write = unwritable{err}
	} else {
		v.quote = m.quote()
		site.write = whole{f.src, v, ref}
		site.Start, site.End = v.start, v.end
	}
	f.add(site)
}

// tagBeside is the key of m that holds the tag of the image under key where charts split the two: image and tag,
// image and imageTag, sidecarImage and sidecarImageTag; "" when there is none.
func tagBeside(m mapping, key string) string {
	names := []string{key + "Tag"}
	if key == "image" {
		names = append(names, "tag")
	}
	for _, name := range names {
		if k, v := m.find(name); k != nil && v.Kind == yaml.ScalarNode {
			return name
		}
	}
	return ""
}

// isImageMap reports whether a mapping with a repository is about an image rather than, say, a git repository: the key
// above it says so, or a key that only images have stands in it.
func isImageMap(m mapping, key string) bool {
	if m.text("repository") == "" {
		return false
	}
	if key = strings.ToLower(key); strings.HasSuffix(key, "image") || strings.HasSuffix(key, "images") {
		return true
	}
	for _, name := range []string{"pullPolicy", "imagePullPolicy", "registry", "digest"} {
		if k, _ := m.find(name); k != nil {
			return true
		}
	}
	return false
}

// pair is the site of a mapping that splits the reference over several keys.
func (f *finder) pair(m mapping, nameKey, tagKey, parent string) {
	ref, ok := joined(m.text("registry"), m.text(nameKey), m.text(tagKey), m.text("digest"))
	if !ok {
		return
	}
	h := helm{mapping: m}
	site := Site{Ref: ref, Replaces: ref.Bare(), Shape: Helm, write: &h}
	f.locate(&site, m, parent,
		part{nameKey, &h.name}, part{"registry", &h.registry}, part{"digest", &h.digest}, part{tagKey, &h.tag})
	f.add(site)
}

// kustomization finds the entries of images.
func (f *finder) kustomization(root mapping) {
	f.object = objectOf(root)
	_, images := root.find("images")
	if images == nil || images.Kind != yaml.SequenceNode {
		return
	}
	for i, element := range images.Content {
		if element.Kind != yaml.MappingNode {
			continue
		}
		m := mapping{f.src, element}
		replaces, err := imageref.Parse(m.text("name"))
		if err != nil || replaces.Versioned() {
			continue
		}
		name := m.text("newName")
		if name == "" {
			name = m.text("name")
		}
		ref, ok := joined("", name, m.text("newTag"), m.text("digest"))
		if !ok {
			continue
		}
		k := entry{mapping: m}
		site := Site{Ref: ref, Replaces: replaces.Bare(), Shape: Kustomize, write: &k}
		f.locate(&site, m, "images["+strconv.Itoa(i)+"]",
			part{"name", &k.name}, part{"newName", &k.newName}, part{"digest", &k.digest}, part{"newTag", &k.newTag})
		f.add(site)
	}
}

// joined is the reference that the keys of a map make together; false when they make none, or when the name already
// holds a tag or a digest.
func joined(registry, name, tag, digest string) (imageref.Ref, bool) {
	if registry != "" {
		name = registry + "/" + name
	}
	if ref, err := imageref.Parse(name); err != nil || ref.Versioned() {
		return imageref.Ref{}, false
	}
	if tag != "" {
		name += ":" + tag
	}
	if digest != "" {
		name += "@" + digest
	}
	ref, err := imageref.Parse(name)
	return ref, err == nil
}

// part is a key of a site that is a map, and where its field goes.
type part struct {
	key string
	to  *field
}

// locate finds the parts of a site that is a map below parent. The site's own place is that of the last part that
// the file has a value for.
func (f *finder) locate(site *Site, m mapping, parent string, parts ...part) {
	site.Field, site.Line = parent, m.node.Line
	for _, p := range parts {
		var err error
		if *p.to, err = m.field(p.key); err != nil {
			site.write = unwritable{err}
			return
		}
		if v := p.to.value; p.to.present() && (v.value != "" || p.key == parts[len(parts)-1].key) {
			site.Field, site.Line = join(parent, p.key), f.src.lineAt(v.start)
			site.Start, site.End = v.start, v.end
		}
	}
}

// add keeps the site, unless it was already met through another alias.
func (f *finder) add(site Site) {
	at := place{site.Start, site.Ref}
	if site.End > 0 && f.seen[at] {
		return
	}
	f.seen[at] = true
	site.File, site.Doc, site.Object = f.src.path, f.doc, f.object
	f.sites = append(f.sites, site)
}
