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

func (a *annotations) UnmarshalYAML(node *yaml.Node) error {
	return a.gather(node, 0)
}

// gather takes what a mapping says, and what it merges that it does not say itself.
func (a *annotations) gather(node *yaml.Node, depth int) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode || depth > maxDepth {
		return fmt.Errorf("line %d: it is no mapping of texts", node.Line)
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Tag == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if value.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: %s is no text", key.Line, key.Value)
		}
		if a.value(key.Value) == "" {
			*a = append(*a, Annotation{Key: key.Value, Value: value.Value, Line: key.Line})
		}
	}
	for _, inner := range merged {
		if err := a.gather(inner, depth+1); err != nil {
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
