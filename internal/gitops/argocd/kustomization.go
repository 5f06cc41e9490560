package argocd

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Kustomization is what a kustomization makes of the objects that it builds from, as far as it matters to Applications.
type Kustomization struct {
	File string
	spec kustomization

	components []Kustomization
	patches    []patch
	unclear    string // why not everything is known, "" when it is
}

type kustomization struct {
	NamePrefix            string            `yaml:"namePrefix"`
	NameSuffix            string            `yaml:"nameSuffix"`
	Namespace             string            `yaml:"namespace"`
	CommonLabels          map[string]string `yaml:"commonLabels"`
	CommonAnnotations     map[string]string `yaml:"commonAnnotations"`
	Components            []string
	Patches               []patch
	PatchesJSON6902       []patch  `yaml:"patchesJson6902"`
	PatchesStrategicMerge []string `yaml:"patchesStrategicMerge"`
	Replacements          []yaml.Node
	Transformers          []string
	Vars                  []yaml.Node
}

type patch struct {
	Path, Patch string
	Target      *struct {
		Group, Version        string
		Kind, Name, Namespace expression
		LabelSelector         string `yaml:"labelSelector"`
		AnnotationSelector    string `yaml:"annotationSelector"`
	}
	content []*yaml.Node
}

// expression means a whole text, and any when it is nil.
type expression struct{ *regexp.Regexp }

func (e *expression) UnmarshalText(text []byte) (err error) {
	if len(text) > 0 {
		e.Regexp, err = regexp.Compile("^(?:" + string(text) + ")$")
	}
	return err
}

func (e expression) means(text string) bool { return e.Regexp == nil || e.MatchString(text) }

// all are the patches in the order in which kustomize applies them.
func (k kustomization) all() []patch {
	var all []patch
	for _, given := range k.PatchesStrategicMerge {
		if strings.Contains(given, "\n") {
			all = append(all, patch{Patch: given})
		} else {
			all = append(all, patch{Path: given})
		}
	}
	return slices.Concat(all, k.Patches, k.PatchesJSON6902)
}

// maxComponents is how many components, and components of theirs, a kustomization may have.
const maxComponents = 100

// ParseKustomization reads a kustomization. read is the content of a file of the tree, or of the kustomization in a folder
// with its path; nil when there is none.
func ParseKustomization(file string, data []byte, read func(p string) (string, []byte)) Kustomization {
	left := maxComponents
	return parseKustomization(file, data, read, &left)
}

func parseKustomization(file string, data []byte, read func(p string) (string, []byte), left *int) Kustomization {
	k := Kustomization{File: file}
	if err := yaml.Unmarshal(data, &k.spec); err != nil {
		k.unclear = "it cannot be read"
		return k
	}
	if len(k.spec.Replacements)+len(k.spec.Transformers)+len(k.spec.Vars) > 0 {
		k.unclear = "its replacements, transformers and vars are not applied"
	}
	k.patches = k.spec.all()
	for i, p := range k.patches {
		content := []byte(p.Patch)
		if p.Path != "" {
			_, content = read(path.Join(path.Dir(file), p.Path))
		}
		k.patches[i].content = documents(content)
	}
	for _, dir := range k.spec.Components {
		component, content := read(path.Join(path.Dir(file), dir))
		if *left--; *left < 0 {
			k.unclear = "it has too many components"
			break
		}
		if content != nil {
			k.components = append(k.components, parseKustomization(component, content, read, left))
		}
	}
	return k
}

// documents are those of a file, up to what is no YAML.
func documents(data []byte) []*yaml.Node {
	var all []*yaml.Node
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		if dec.Decode(&doc) != nil {
			return all
		}
		if len(doc.Content) > 0 && doc.Decode(new(any)) == nil { // what has too many aliases is left out
			all = append(all, copied(doc.Content[0], 0))
		}
	}
}

// Patches reports whether the kustomization takes the file for a patch.
func (k Kustomization) Patches(file string) bool {
	return slices.ContainsFunc(k.patches, func(p patch) bool { return p.Path != "" && path.Join(path.Dir(k.File), p.Path) == file })
}

// apply changes an object whose name in its file is declared.
func (k Kustomization) apply(object *yaml.Node, declared string) error {
	var err error
	for _, component := range k.components {
		err = errors.Join(err, component.apply(object, declared))
	}
	if k.unclear != "" {
		err = errors.Join(err, errors.New(k.unclear))
	}
	for _, p := range k.patches {
		for _, content := range p.content {
			err = errors.Join(err, p.apply(object, content, declared))
		}
	}
	metadata := inside(object, "metadata")
	if k.spec.Namespace != "" {
		put(metadata, "namespace", text(k.spec.Namespace, object.Line))
	}
	if k.spec.NamePrefix+k.spec.NameSuffix != "" {
		put(metadata, "name", text(k.spec.NamePrefix+textAt(metadata, "name")+k.spec.NameSuffix, object.Line))
	}
	for field, given := range map[string]map[string]string{"labels": k.spec.CommonLabels, "annotations": k.spec.CommonAnnotations} {
		for name, value := range given {
			put(inside(metadata, field), name, text(value, object.Line))
		}
	}
	return err
}

// apply changes an object if the patch is for it.
func (p patch) apply(object, content *yaml.Node, declared string) error {
	name := textAt(object, "metadata", "name")
	group, version, _ := strings.Cut(textAt(object, "apiVersion"), "/")
	if t := p.Target; t != nil {
		if t.Group != "" && t.Group != group || t.Version != "" && t.Version != version || !t.Kind.means(textAt(object, "kind")) ||
			!t.Name.means(name) && !t.Name.means(declared) || !t.Namespace.means(textAt(object, "metadata", "namespace")) {
			return nil
		}
		if t.LabelSelector+t.AnnotationSelector != "" {
			return errors.New("the selector of a patch is not evaluated")
		}
	} else if !names(content, object, name, declared) {
		return nil
	}
	if content.Kind == yaml.SequenceNode {
		for _, operation := range content.Content {
			if err := operated(object, operation); err != nil {
				return err
			}
		}
		return nil
	}
	was := copied(object, 0)
	err := merged(object, content)
	put(inside(object, "metadata"), "name", text(textAt(was, "metadata", "name"), object.Line)) // a patch for many names one
	return err
}

// names reports whether a patch that says itself what it is for means the object, by its name now or in its file.
func names(content, object *yaml.Node, now, declared string) bool {
	name, namespace := textAt(content, "metadata", "name"), textAt(content, "metadata", "namespace")
	return textAt(content, "kind") == textAt(object, "kind") && (name == now || name == declared) &&
		(namespace == "" || namespace == textAt(object, "metadata", "namespace"))
}

// size is how many patches, with those of components, an object is compared with.
func (k Kustomization) size() int {
	size := 1
	for _, p := range k.patches {
		size += len(p.content)
	}
	for _, component := range k.components {
		size += component.size()
	}
	return size
}

// maxPatching is how often objects of a file are compared with patches. Nobody needs as many.
const maxPatching = 1_000_000

// Kustomized is what becomes of what a file declares: one of each for each chain of kustomizations that is different, from the
// one that names the file to the one that no other builds from.
func (d Declared) Kustomized(chains [][]Kustomization) Declared {
	p := parser{Declared: Declared{file: d.file}}
	if len(d.Applications)+len(d.Sets) == 0 || len(chains) == 0 {
		return d
	}
	for _, u := range d.Unclear {
		if u.Line == 0 { // what is about an object is found again
			p.Unclear = append(p.Unclear, u)
		}
	}
	objects := parsed(d.file, d.data).objects
	size := 0
	for _, chain := range chains {
		for _, k := range chain {
			size += k.size() * len(objects)
		}
	}
	if size > maxPatching {
		d.Unclear = append(slices.Clip(d.Unclear), Unclear{File: d.file, Text: "its Applications may be others than they seem: too many patches are for them"})
		return d
	}
	for _, object := range objects {
		seen := map[string]bool{}
		for _, chain := range chains {
			p.variant(object, chain, seen)
		}
	}
	sortUnclear(p.Unclear)
	p.Unclear = slices.Compact(p.Unclear)
	return p.Declared
}

// variant adds what the kustomizations of a chain make of an object, unless that is known.
func (p *parser) variant(object *yaml.Node, chain []Kustomization, seen map[string]bool) {
	if object.Decode(new(any)) != nil {
		return // it has too many aliases, which is unclear already
	}
	made, declared := copied(object, 0), textAt(object, "metadata", "name")
	var through []string
	for _, k := range chain {
		if err := k.apply(made, declared); err != nil {
			p.unclear(object.Line, fmt.Sprintf("%s %s may be another than it seems: %s: %v", textAt(object, "kind"), declared, k.File, err))
		}
		through = append(through, path.Dir(k.File))
	}
	raw, err := yaml.Marshal(copied(object, 0))
	result, failed := yaml.Marshal(made)
	if err != nil || failed != nil || seen[string(result)] {
		return
	}
	seen[string(result)] = true
	if bytes.Equal(raw, result) {
		through = nil
	}
	apps, sets := len(p.Applications), len(p.Sets)
	p.object(made, false)
	for i := range p.Applications[apps:] {
		p.Applications[apps+i].declared, p.Applications[apps+i].through = declared, through
	}
	for i := range p.Sets[sets:] {
		p.Sets[sets+i].declared, p.Sets[sets+i].through = declared, through
	}
}
