package argocd

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Annotation is a label or an annotation of an Application. Of one that an ApplicationSet makes, the value is rendered; what
// cannot be rendered stays a template.
type Annotation struct {
	Key, Value string
	Line       int
}

// annotations are the metadata's, in the order of the file.
type annotations []Annotation

// maxAnnotations is how many an Application may have. Kubernetes allows 256 KiB of them.
const maxAnnotations = 256

func (a *annotations) UnmarshalYAML(node *yaml.Node) error {
	return a.gather(node, map[string]bool{}, map[*yaml.Node]bool{})
}

// gather takes what a mapping says, and what it merges that is not said already, each mapping once.
func (a *annotations) gather(node *yaml.Node, said map[string]bool, met map[*yaml.Node]bool) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if met[node] {
		return nil
	}
	met[node] = true
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: it is no mapping of texts", node.Line)
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Tag == "!!merge" {
			if merged = append(merged, value); value.Kind == yaml.SequenceNode {
				merged = value.Content
			}
			continue
		}
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		switch {
		case value.Kind != yaml.ScalarNode:
			return fmt.Errorf("line %d: %s is no text", key.Line, key.Value)
		case said[key.Value]:
			continue
		case len(*a) == maxAnnotations:
			return fmt.Errorf("line %d: there are more than %d", key.Line, maxAnnotations)
		}
		said[key.Value] = true
		*a = append(*a, Annotation{Key: key.Value, Value: value.Value, Line: key.Line})
	}
	for _, inner := range merged {
		if err := a.gather(inner, said, met); err != nil {
			return err
		}
	}
	return nil
}

// value is that of a key, "" without one.
func (a annotations) value(key string) string {
	if i := slices.IndexFunc(a, func(one Annotation) bool { return one.Key == key }); i >= 0 {
		return a[i].Value
	}
	return ""
}

// rendered are the annotations of an application that a template makes.
func (a annotations) rendered(render func(string) (string, error)) annotations {
	made := slices.Clone(a)
	for i := range made {
		if text, err := render(made[i].Value); err == nil {
			made[i].Value = text
		}
	}
	return made
}

// Qualified is NAMESPACE/NAME, or the name alone where the manifest leaves the namespace open.
func (a Application) Qualified() string {
	return strings.TrimPrefix(a.Namespace+"/"+a.Name, "/")
}

// Renderer is what Argo CD makes manifests of a source with: kustomize, helm, directory or plugin.
func (x *Index) Renderer(s Source) string {
	if s.kind == detected && s.Chart != "" {
		return string(helm)
	}
	return string(x.kindOf(claim{source: &s, kind: s.kind}, s.Path))
}

// Place is where the tree lies.
func (x *Index) Place() Place { return x.place }

// Has reports whether a git repository's address is that of the tree.
func (p Place) Has(repository string) bool { return p.isHere(repository) }

// InTree is a path of the repository as the tree has it; ok is false outside.
func (p Place) InTree(full string) (inTree string, ok bool) { return p.inTree(full) }
