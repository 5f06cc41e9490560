package argocd

import (
	"bytes"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Inputs are the files and folders of the tree that the kustomization at file names, for whatever purpose. Remote ones are
// left out, and all of them when the file is no YAML.
func Inputs(file string, data []byte) []string {
	var doc yaml.Node
	if yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc) != nil {
		return nil
	}
	var found []string
	collect(&doc, "", func(named string) {
		if named != "" && !strings.ContainsAny(named, ":?\n") {
			found = append(found, path.Join(path.Dir(file), named))
		}
	})
	return found
}

// inputKeys are the keys under which a kustomization names files and folders, at whatever depth (kustomize v5).
var inputKeys = map[string]bool{
	"resources": true, "bases": true, "components": true, "transformers": true, "generators": true, "validators": true,
	"crds": true, "configurations": true, "patchesStrategicMerge": true, "path": true, "files": true, "env": true,
	"envs": true, "valuesFile": true, "additionalValuesFiles": true,
}

// collect tells the scalars that stand under one of the keys; the elements of a list stand under the list's key.
func collect(node *yaml.Node, key string, tell func(string)) {
	switch node.Kind {
	case yaml.ScalarNode:
		if inputKeys[key] {
			tell(node.Value)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			collect(node.Content[i+1], node.Content[i].Value, tell)
		}
	default:
		for _, element := range node.Content {
			collect(element, key, tell)
		}
	}
}
