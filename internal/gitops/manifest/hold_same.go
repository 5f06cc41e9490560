package manifest

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// sameYAML reports whether two texts are the same YAML but for comments. YAML in a block scalar may have others, too.
func sameYAML(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	one, ok := read(a)
	two, okay := read(b)
	return ok && okay && slices.EqualFunc(one, two, func(a, b *yaml.Node) bool { return sameNode(a, b, 0) })
}

// read are the documents of a text.
func read(text []byte) (docs []*yaml.Node, ok bool) {
	for dec := yaml.NewDecoder(bytes.NewReader(readable(text))); ; {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil {
			return docs, errors.Is(err, io.EOF)
		}
		docs = append(docs, &doc)
	}
}

func sameNode(a, b *yaml.Node, nesting int) bool {
	if a.Kind != b.Kind || a.Tag != b.Tag || a.Style != b.Style || a.Anchor != b.Anchor {
		return false
	}
	if a.Value != b.Value && !sameBlock(a, b, nesting) {
		return false
	}
	return slices.EqualFunc(a.Content, b.Content, func(a, b *yaml.Node) bool { return sameNode(a, b, nesting) })
}

// sameBlock reports whether two block scalars are the same YAML but for comments. JSON has none, and text is no YAML.
func sameBlock(a, b *yaml.Node, nesting int) bool {
	if a.Kind != yaml.ScalarNode || a.Style&yaml.LiteralStyle == 0 || nesting == maxNesting {
		return false
	}
	one, ok := read([]byte(a.Value))
	two, okay := read([]byte(b.Value))
	return ok && okay && len(one) > 0 && slices.EqualFunc(one, two, func(a, b *yaml.Node) bool {
		root := a.Content[0]
		return root.Kind != yaml.ScalarNode && root.Style&yaml.FlowStyle == 0 && sameNode(a, b, nesting+1)
	})
}
