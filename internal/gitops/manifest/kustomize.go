package manifest

import (
	"path"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// resourceKeys are the keys of a kustomization that name files and folders which its images: apply to.
var resourceKeys = []string{"resources", "bases", "components", "patchesStrategicMerge"}

// Resources are the local files and folders that the kustomization at p builds from, relative to the root.
// URLs and inline patches are left out, and so is everything when the file is no YAML.
func Resources(p string, data []byte) []string {
	docs, err := newSource(p, data).documents()
	if err != nil {
		return nil
	}
	var found []string
	for _, doc := range docs {
		for _, root := range doc.Content {
			if root.Kind == yaml.MappingNode {
				found = append(found, resources(mapping{node: root}, path.Dir(p))...)
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
				_, file := (mapping{node: element}).find("path")
				add(file)
			}
		}
	}
	return found
}
