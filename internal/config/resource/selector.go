package resource

import (
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Selector chooses by labels (Kubernetes, "Label selectors").
type Selector struct {
	Labels      map[string]string
	Expressions []Expression
}

// Expression is a requirement of labels.
type Expression struct {
	Key, Operator string
	Values        []string
}

// Selector reads one.
func (r *Reader) Selector(node *yaml.Node, name string) *Selector {
	s := &Selector{}
	r.Mapping(node, name, Keys{
		"matchLabels": func(v *yaml.Node) { s.Labels = r.Values(v) },
		"matchExpressions": func(v *yaml.Node) {
			r.Each(v, "matchExpressions", func(v *yaml.Node) {
				var e Expression
				var values []Text
				r.Mapping(v, "matchExpressions[]", Keys{
					"key": func(v *yaml.Node) { e.Key = v.Value }, "operator": func(v *yaml.Node) { e.Operator = v.Value }, "values": r.Texts(&values),
				})
				for _, value := range values {
					e.Values = append(e.Values, value.Value)
				}
				s.Expressions = append(s.Expressions, e)
			})
		},
	})
	return s
}

// Selects reports whether something with such labels is chosen. No selector chooses all; an operator that is none, nothing.
func (s *Selector) Selects(label func(key string) (value string, ok bool)) bool {
	if s == nil {
		return true
	}
	for key, value := range s.Labels {
		if has, ok := label(key); !ok || has != value {
			return false
		}
	}
	for _, e := range s.Expressions {
		has, ok := label(e.Key)
		among := ok && slices.Contains(e.Values, has)
		if met := map[string]bool{"In": among, "NotIn": !among, "Exists": ok, "DoesNotExist": !ok}[e.Operator]; !met {
			return false
		}
	}
	return true
}
