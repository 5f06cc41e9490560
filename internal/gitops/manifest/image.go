package manifest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/imageref"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// namesImage reports whether key is image, or ends in it as a word: sidecarImage, docker_image.
func namesImage(key string) bool {
	return key == "image" || strings.HasSuffix(key, "Image") || strings.HasSuffix(key, "_image")
}

// mayNameImage reports whether what stands under key is an image if it says a version: so do people and operators name
// variables, parameters and the keys of a ConfigMap.
func mayNameImage(key string) bool {
	return namesImage(key) || key == "imageName" || strings.HasSuffix(key, "-image") ||
		key == "IMAGE" || strings.HasSuffix(key, "_IMAGE") || strings.HasPrefix(key, "RELATED_IMAGE_")
}

// isImageKey reports whether what stands under key is an image, or a list of them.
func isImageKey(key string) bool {
	key = strings.ToLower(key)
	return strings.HasSuffix(key, "image") || strings.HasSuffix(key, "images")
}

// reference is the site of a value under a key that names an image: a whole reference, or one whose tag stands in a key
// beside it, or whose version does in a way of its own, so that it has no place for a tag.
func (f *finder) reference(m mapping, key, value *yaml.Node, at *trail) {
	ref, ok := scalarRef(value)
	if !ok {
		return // a template's expression, or no reference at all
	}
	tag := tagBeside(m, key.Value)
	if version, _ := m.find(key.Value + "Version"); !ref.Versioned() && (tag != "" || version != nil) {
		f.split(m, keys{registry: "registry", name: key.Value, tag: tag, digest: "digest"}, at)
		return
	}
	if ref.Versioned() || namesImage(key.Value) {
		f.whole(m, value, at.key(key))
	}
}

// variable is the site of the value of a variable or a parameter, {name: RELATED_IMAGE_APP, value: app:1.0}, if it says a
// version.
func (f *finder) variable(m mapping, at *trail) {
	_, name := m.find("name")
	key, value := m.find("value")
	if name == nil || !mayNameImage(name.Value) || value == nil || value.Kind != yaml.ScalarNode {
		return
	}
	if ref, ok := scalarRef(value); ok && ref.Versioned() {
		f.whole(m, value, at.key(key))
	}
}

// prefixed is the site of a repository under a key such as sidecarImageRepository, if the tag stands beside it under
// sidecarImageTag.
func (f *finder) prefixed(m mapping, key string, at *trail) {
	prefix := strings.TrimSuffix(key, "Repository")
	if isImageKey(prefix) && !m.lacks(prefix+"Tag") {
		f.split(m, keys{registry: prefix + "Registry", name: key, tag: prefix + "Tag", digest: prefix + "Digest"}, at)
	}
}

// dockerScheme stands before the image of a step in a GitHub workflow.
const dockerScheme = "docker://"

// scalarRef is the reference that a scalar is.
func scalarRef(value *yaml.Node) (imageref.Ref, bool) {
	if value.Tag == "!!null" || value.Value == "true" || value.Value == "false" { // allowCustomImage: true
		return imageref.Ref{}, false
	}
	return parse(value.Value)
}

// parse is the reference that a value is.
func parse(value string) (imageref.Ref, bool) {
	ref, err := imageref.Parse(strings.TrimPrefix(strings.TrimSpace(value), dockerScheme))
	return ref, err == nil
}

// tagBeside is the key of m that holds the tag of the image under key where charts split the two: image and tag,
// image and imageTag, sidecarImage and sidecarImageTag, imageName and imageTag; "" when there is none.
func tagBeside(m mapping, key string) string {
	names := []string{key + "Tag"}
	switch key {
	case "image":
		names = append(names, "tag")
	case "imageName":
		names = append(names, "imageTag")
	}
	for _, name := range names {
		if k, v := m.find(name); k != nil && v.Kind == yaml.ScalarNode {
			return name
		}
	}
	return ""
}

// whole is the site of a value of m that is a whole reference.
func (f *finder) whole(m mapping, value *yaml.Node, at *trail) {
	ref, ok := scalarRef(value)
	if !ok {
		return
	}
	w := whole{src: f.src, ref: ref}
	if strings.HasPrefix(value.Value, dockerScheme) {
		w.prefix = dockerScheme
	}
	f.scalar(m, value, at, Site{Ref: ref, Replaces: ref.Bare(), Shape: Whole}, &w)
}

// scalar adds the site that is one value of m; w gets its place.
func (f *finder) scalar(m mapping, value *yaml.Node, at *trail, site Site, w *whole) {
	site.Field, site.Line, site.write = at.String(), value.Line, w
	v, err := f.src.scalarOf(value)
	if err != nil {
		site.write = unwritable{err}
	} else {
		v.quote = m.quote()
		w.value = v
		site.Start, site.End = v.start, v.end
	}
	f.add(site, at.lines()...)
}

// keys are those of a mapping that split a reference; "" for parts that it has no key for.
type keys struct{ registry, name, tag, digest string }

// imageMap finds the site of a mapping that is an image: {registry, repository, tag, digest}, {name, tag} or, in a
// volume, {reference}.
func (f *finder) imageMap(m mapping, key string, at *trail) {
	k := keys{registry: "registry", name: "repository", tag: "tag", digest: "digest"}
	under := isImageKey(key)
	if under && m.text(k.name) == "" {
		if ref, v := m.find("reference"); v != nil && v.Kind == yaml.ScalarNode {
			f.whole(m, v, at.key(ref))
			return
		}
		k.name = "name"
	}
	k.tag = tagOf(m, under)
	switch {
	case m.text(k.name) == "":
	case m.lacks(k.tag) && m.lacks(k.digest) && f.versioned(m, k.name, under, at):
	case k.name == "name" && m.lacks(k.tag) && m.lacks(k.digest):
	case under || onRegistry(m):
		f.split(m, k, at)
	}
}

// tagOf is the key of the tag in a mapping that is an image; "" when there is none, and a key beside it says the version in
// a way of its own, which a tag would speak against.
func tagOf(m mapping, under bool) string {
	switch {
	case !m.lacks("tag"):
		return "tag"
	case !m.lacks("imageTag"):
		return "imageTag"
	case under && !m.lacks("version"):
		return "version"
	case !m.lacks("version") || !m.lacks("imageVersion"):
		return ""
	}
	return "tag"
}

// gitHosts are the registries, by the look of them, that are none: a repository there is one of git.
var gitHosts = []string{"github.com", "gitlab.com", "bitbucket.org"}

// onRegistry reports whether a mapping with a repository is about an image, whatever key it stands under: a key says so
// that only images have, or a tag beside the name of a registry.
func onRegistry(m mapping) bool {
	for _, key := range []string{"pullPolicy", "imagePullPolicy", "registry", "digest", "imageTag"} {
		if !m.lacks(key) {
			return true
		}
	}
	ref, err := imageref.Parse(m.text("repository"))
	return err == nil && ref.Registry != "" && !m.lacks("tag") && !slices.Contains(gitHosts, ref.Registry)
}

// versioned finds the site of a name that carries its version, and reports whether it does.
func (f *finder) versioned(m mapping, name string, under bool, at *trail) bool {
	key, value := m.find(name)
	if !under || value == nil || value.Kind != yaml.ScalarNode {
		return false
	}
	ref, ok := scalarRef(value)
	if ok && ref.Versioned() && m.text("registry") == "" {
		f.whole(m, value, at.key(key))
		return true
	}
	return false
}

// split is the site of a mapping that splits the reference over several keys.
func (f *finder) split(m mapping, k keys, at *trail) {
	of := func(key string) part { return part{mapping: m, at: at, key: key} }
	f.spread(parts{of(k.registry), of(k.name), of(k.tag), of(k.digest)}, k.tag, m.node, at)
}

// parts are where the parts of a reference stand, in one mapping or in several.
type parts struct{ registry, name, tag, digest part }

// part is a key of a mapping at a trail; "" for none.
type part struct {
	mapping
	at  *trail
	key string
}

func (p part) text() string {
	if p.key == "" {
		return ""
	}
	return p.mapping.text(p.key)
}

// spread is the site of a reference whose parts stand apart, within node. A tag that is missing goes under tagKey beside
// the name; it has no place when that is "".
func (f *finder) spread(p parts, tagKey string, node *yaml.Node, at *trail) {
	s := &spread{tagKey: tagKey}
	registry := p.registry.text()
	if name, err := imageref.Parse(p.name.text()); registry == "" && err == nil && name.Registry == "" {
		registry, s.global = f.scope.registry, f.scope.registry
	}
	var ok bool
	if s.ref, ok = joined(registry, p.name.text(), p.tag.text(), p.digest.text()); !ok {
		return
	}
	site := Site{Ref: s.ref, Replaces: s.ref.Bare(), Shape: Helm, write: s}
	lines := locate(&site, at, node.Line, place{p.name, &s.name}, place{p.registry, &s.registry}, place{p.digest, &s.digest}, place{p.tag, &s.tag})
	f.add(site, lines...)
}

// joined is the reference that the parts make together; false when they make none, or when the name already holds a tag
// or a digest.
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

// place is a part of a site, and where its field goes.
type place struct {
	part
	to *field
}

// locate finds the parts of a site at a place of the file that begins on a line. The site's own place is that of the last
// part that the file has a value for. It returns the lines on which a comment is about the site.
func locate(site *Site, at *trail, line int, places ...place) []int {
	site.Field, site.Line = at.String(), line
	lines := at.lines()
	for i, p := range places {
		if p.key == "" {
			continue
		}
		var err error
		if *p.to, err = p.field(p.key); err != nil {
			site.write = unwritable{err}
			return lines
		}
		if !p.to.present() {
			continue
		}
		v := p.to.value
		for _, q := range places[:i] {
			if q.to.present() && q.to.value.start == v.start {
				site.write = unwritable{fmt.Errorf("%s and %s are one value: give each its own", q.key, p.key)}
				return lines
			}
		}
		lines = append(lines, p.src.lineAt(v.start))
		if v.value != "" || i == len(places)-1 {
			site.Field, site.Line = p.part.at.key(p.to.key).String(), p.src.lineAt(v.start)
			site.Start, site.End = v.start, v.end
		}
	}
	return lines
}

// version is the site of a value of m that is only the tag, or only the digest, of an image.
func (f *finder) version(image string, m mapping, value *yaml.Node, at *trail) {
	of := part{mapping: m, at: at.up, key: f.keyOf(m, value)}
	p := parts{tag: of}
	text := p.tag.text()
	tag, digest := text, ""
	if strings.Contains(text, ":") && !strings.Contains(text, "@") {
		p, tag, digest = parts{digest: of}, "", text
	}
	ref, ok := joined("", image, tag, digest)
	if !ok || of.key == "" {
		return
	}
	s := &spread{ref: ref}
	site := Site{Ref: ref, Replaces: ref.Bare(), Shape: Version, write: s}
	f.add(site, locate(&site, at.up, value.Line, place{p.digest, &s.digest}, place{p.tag, &s.tag})...)
}

// keyOf is the key of m under which value stands.
func (f *finder) keyOf(m mapping, value *yaml.Node) (key string) {
	m.entries(func(k, v *yaml.Node) {
		if v == value {
			key = k.Value
		}
	})
	return key
}
