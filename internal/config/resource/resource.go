// Package resource reads Kubernetes resources of the files of a tree key by key, and tells by file and line of what means
// nothing: who writes a key wrong should hear of it, and the rest still counts.
package resource

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/ksera524/imgbump/internal/config"
)

// Place is where something is written.
type Place struct {
	File string
	Line int
}

// Text is a value, and where it is written.
type Text struct {
	Value string
	Place
}

// Given reports whether the value is written anywhere.
func (t Text) Given() bool { return t.File != "" }

// Reader reads the resources of one file.
type Reader struct {
	File    string
	Notices []config.Notice
	values  int // that were read
}

// Keys say what is to be done with the values of a mapping; nil does nothing.
type Keys map[string]func(value *yaml.Node)

// Metadata is what a resource says of itself.
type Metadata struct {
	Place
	Version, Kind   string
	Namespace, Name string
	Labels          map[string]string
}

// maxValues is how many values the resources of a file may have: what says one thing a hundred times by aliases would be
// read for a long time.
const maxValues = 200_000

// Objects tells the resources of the file, those in a List too.
func (r *Reader) Objects(data []byte, tell func(m Metadata, spec *yaml.Node)) {
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			r.Notice(nil, "not all of its resources can be read: %s", strings.TrimPrefix(err.Error(), "yaml: "))
			return
		}
		for _, root := range doc.Content {
			r.object(root, true, tell)
		}
	}
}

func (r *Reader) object(node *yaml.Node, lists bool, tell func(Metadata, *yaml.Node)) {
	m := Metadata{Place: r.At(node)}
	var items, spec *yaml.Node
	r.Peek(node, Keys{
		"apiVersion": func(v *yaml.Node) { m.Version = v.Value }, "kind": func(v *yaml.Node) { m.Kind = v.Value },
		"metadata": func(v *yaml.Node) {
			r.Peek(v, Keys{
				"name": func(v *yaml.Node) { m.Name = v.Value }, "namespace": func(v *yaml.Node) { m.Namespace = v.Value },
				"labels": func(v *yaml.Node) { m.Labels = r.Values(v) },
			})
		},
		"items": func(v *yaml.Node) { items = v }, "spec": func(v *yaml.Node) { spec = v },
	})
	switch {
	case lists && items != nil && strings.HasSuffix(m.Kind, "List"):
		for _, item := range items.Content {
			r.object(resolved(item), false, tell)
		}
	case m.Kind != "" && spec != nil:
		tell(m, spec)
	}
}

// At is where a node stands.
func (r *Reader) At(node *yaml.Node) Place { return Place{r.File, node.Line} }

// Notice is about a node, or about the file.
func (r *Reader) Notice(node *yaml.Node, format string, args ...any) {
	n := config.Notice{File: r.File, Text: fmt.Sprintf(format, args...)}
	if node != nil {
		n.Line = node.Line
	}
	r.Notices = append(r.Notices, n)
}

// resolved is what an alias stands for, and any other node itself.
func resolved(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// pairs tells the keys of a mapping with their values.
func (r *Reader) pairs(node *yaml.Node, tell func(key, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if !r.more(node) {
			return
		}
		tell(node.Content[i], resolved(node.Content[i+1]))
	}
}

// Peek reads some keys of a mapping.
func (r *Reader) Peek(node *yaml.Node, keys Keys) {
	r.pairs(node, func(key, value *yaml.Node) {
		if read := keys[key.Value]; read != nil && value.Tag != "!!null" {
			read(value)
		}
	})
}

// Mapping reads the keys of a mapping, and tells of those that mean nothing.
func (r *Reader) Mapping(node *yaml.Node, name string, keys Keys) {
	if node.Kind != yaml.MappingNode {
		r.Notice(node, "%s is no mapping: it counts as left out", name)
		return
	}
	r.pairs(node, func(key, value *yaml.Node) {
		read, known := keys[key.Value]
		switch {
		case !known:
			r.Notice(key, "%s: the key %q means nothing", name, key.Value)
		case read != nil && value.Tag != "!!null":
			read(value)
		}
	})
}

// Each reads the elements of a list.
func (r *Reader) Each(node *yaml.Node, name string, read func(*yaml.Node)) {
	if node.Kind != yaml.SequenceNode {
		r.Notice(node, "%s is no list: it counts as left out", name)
		return
	}
	for _, element := range node.Content {
		if !r.more(node) {
			return
		}
		read(resolved(element))
	}
}

// more reports whether another value may be read.
func (r *Reader) more(node *yaml.Node) bool {
	r.values++
	if r.values == maxValues+1 {
		r.Notice(node, "the rest of the file is left out of account: it says more than %d things", maxValues)
	}
	return r.values <= maxValues
}

// Text reads a value.
func (r *Reader) Text(into *Text) func(*yaml.Node) {
	return func(node *yaml.Node) {
		if node.Kind != yaml.ScalarNode {
			r.Notice(node, "this is no text: it counts as left out")
			return
		}
		*into = Text{node.Value, r.At(node)}
	}
}

// Texts reads a list of values, which is not nil then.
func (r *Reader) Texts(into *[]Text) func(*yaml.Node) {
	return func(node *yaml.Node) {
		*into = []Text{}
		r.Each(node, "this", func(element *yaml.Node) {
			var t Text
			if r.Text(&t)(element); t.Given() {
				*into = append(*into, t)
			}
		})
	}
}

// Values are those of a mapping by their keys.
func (r *Reader) Values(node *yaml.Node) map[string]string {
	all := map[string]string{}
	r.pairs(node, func(key, value *yaml.Node) { all[key.Value] = value.Value })
	return all
}
