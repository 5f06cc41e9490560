package manifest

import (
	"bytes"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// maxNesting is how often YAML in a block scalar may hold YAML in a block scalar: an Application with a patch, whose
// value is a ConfigMap with values, is three.
const maxNesting = 3

// yamlKeys are the keys whose block scalars are YAML: patches and inline resources of kustomizations, values of Helm in
// Argo CD's Applications and in k3s' HelmCharts.
var yamlKeys = []string{"patch", "patches", "patchesStrategicMerge", "transformers", "generators", "values", "valuesContent"}

// holdsYAML reports whether a block scalar under key is YAML. Flux reads Helm values from a ConfigMap's values.yaml.
func holdsYAML(key string) bool {
	return slices.Contains(yamlKeys, key) || strings.HasSuffix(key, "values.yaml") || strings.HasSuffix(key, "values.yml")
}

// block finds the sites in a block scalar. Under a key that does not promise YAML only marked values count.
func (f *finder) block(node *yaml.Node, key string, at *trail) {
	if marked := !holdsYAML(key); !marked || strings.Contains(node.Value, markerKey) {
		f.within(node, key, marked, at)
	}
}

// within finds the sites in a block scalar, the marked values only or all. What is no YAML, a template for example, has
// none.
func (f *finder) within(node *yaml.Node, key string, marked bool, at *trail) {
	if f.nesting == maxNesting || node.Style&yaml.LiteralStyle == 0 {
		return
	}
	inner := f.src.block(node)
	if inner == nil {
		return
	}
	docs, err := inner.embedded()
	if err != nil {
		return
	}
	src, around := f.src, f.marked
	f.src, f.marked, f.nesting = inner, around || marked, f.nesting+1
	for _, doc := range docs {
		for _, root := range doc.Content {
			f.visit(root, key, at)
		}
	}
	f.src, f.marked, f.nesting = src, around, f.nesting-1
}

// block is the content of a literal block scalar as a source, nil when its lines do not read as the node's value.
func (s *source) block(node *yaml.Node) *source {
	at := s.skipProperties(s.offset(node), node)
	if at < 0 || at >= len(s.data) || s.data[at] != '|' {
		return nil
	}
	first := s.lineAt(at)
	n, indent := first, -1
	for rest := node.Value; rest != ""; n++ {
		if n >= len(s.lines) {
			return nil
		}
		var want string
		want, rest, _ = strings.Cut(rest, "\n")
		line := string(s.data[s.lines[n]:s.lineEnd(s.lines[n])])
		lead := len(line) - len(want)
		switch {
		case lead < 0 || line[lead:] != want || strings.Trim(line[:lead], " ") != "":
			return nil
		case want != "" && indent >= 0 && lead != indent:
			return nil
		case want != "":
			indent = lead
		}
	}
	end := len(s.data)
	if n < len(s.lines) {
		end = s.lines[n]
	}
	return &source{path: s.path, data: s.data[:end], lines: s.lines[:n], first: first, keys: s.keys}
}

// embedded parses the documents in a block. They are YAML as they stand, indented, but for the lines between them, which
// the YAML reader knows only at the start of a line.
func (s *source) embedded() ([]*yaml.Node, error) {
	var docs []*yaml.Node
	from := s.first
	read := func(to, end int) error {
		if from >= to {
			return nil
		}
		found, err := s.parse(s.data[s.lines[from]:end], from)
		docs = append(docs, found...)
		return err
	}
	for n := s.first; n < len(s.lines); n++ {
		line := s.data[s.lines[n]:s.lineEnd(s.lines[n])]
		if string(bytes.TrimSpace(line)) == "---" {
			if err := read(n, s.lines[n]); err != nil {
				return nil, err
			}
			from = n + 1
		}
	}
	return docs, read(len(s.lines), len(s.data))
}
