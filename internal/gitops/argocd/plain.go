package argocd

import (
	"slices"
	"strconv"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// plain is what Argo CD makes of YAML, which it turns into JSON by the rules of YAML 1.1: yes, on and y are true, in keys as
// well, and each number is a float64. What lies deeper than depth is left out.
func plain(node *yaml.Node, depth int) any {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if depth == 0 {
		return nil
	}
	switch node.Kind {
	case yaml.MappingNode:
		object := map[string]any{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], plain(node.Content[i+1], depth-1)
			if key.Tag == "!!merge" {
				merge(object, value)
			} else if truth, ok := scalar(key).(bool); ok {
				object[strconv.FormatBool(truth)] = value
			} else {
				object[key.Value] = value
			}
		}
		return object
	case yaml.SequenceNode:
		list := make([]any, len(node.Content))
		for i, element := range node.Content {
			list[i] = plain(element, depth-1)
		}
		return list
	}
	return scalar(node)
}

// merge adds what the merged mappings have and the object does not.
func merge(object map[string]any, merged any) {
	list, ok := merged.([]any)
	if !ok {
		list = []any{merged}
	}
	for _, one := range list {
		inner, _ := one.(map[string]any)
		for key, value := range inner {
			if _, known := object[key]; !known {
				object[key] = value
			}
		}
	}
}

// Words for truth in YAML 1.1 that are texts in YAML 1.2 (https://yaml.org/type/bool.html).
var (
	yes = []string{"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"}
	no  = []string{"n", "N", "no", "No", "NO", "off", "Off", "OFF"}
)

func scalar(node *yaml.Node) any {
	bare := node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0
	switch {
	case bare && slices.Contains(yes, node.Value):
		return true
	case bare && slices.Contains(no, node.Value):
		return false
	}
	var value any
	if node.Decode(&value) != nil {
		return node.Value
	}
	switch v := value.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case nil, bool, float64, string:
		return v
	}
	return node.Value // a date
}
