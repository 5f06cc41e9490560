package argocd

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// copied is a node with all below it, each in line, or in its own when that is 0. Aliases are what they stand for.
func copied(node *yaml.Node, line int) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return copied(node.Alias, line)
	}
	c := *node
	c.Anchor, c.Content = "", make([]*yaml.Node, len(node.Content))
	if line != 0 {
		c.Line = line
	}
	for i, inner := range node.Content {
		c.Content[i] = copied(inner, line)
	}
	return &c
}

// key is where a mapping has a key, -1 when nowhere; the value is the next node.
func key(mapping *yaml.Node, name string) int {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return i
		}
	}
	return -1
}

// under is what a mapping has under a key, nil when nothing.
func under(mapping *yaml.Node, name string) *yaml.Node {
	if i := key(mapping, name); i >= 0 && mapping.Kind == yaml.MappingNode {
		return mapping.Content[i+1]
	}
	return nil
}

// textAt is the text at a path of keys, "" when there is none.
func textAt(node *yaml.Node, path ...string) string {
	for _, name := range path {
		if node = under(node, name); node == nil {
			return ""
		}
	}
	return node.Value
}

// put sets what a mapping has under a key.
func put(mapping *yaml.Node, name string, value *yaml.Node) {
	if i := key(mapping, name); i >= 0 {
		mapping.Content[i+1] = value
		return
	}
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name, Line: mapping.Line}, value)
}

// inside is the mapping under a key, which is made when there is none.
func inside(mapping *yaml.Node, name string) *yaml.Node {
	inner := under(mapping, name)
	if inner == nil || inner.Kind != yaml.MappingNode {
		inner = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: mapping.Line}
		put(mapping, name, inner)
	}
	return inner
}

func text(value string, line int) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Line: line}
}

var errPatch = errors.New("a patch is not understood")

// merged does what a patch of a custom resource does: mappings are merged, lists and texts replaced (RFC 7386).
func merged(node, patch *yaml.Node) error {
	for i := 0; i+1 < len(patch.Content); i += 2 {
		name, value := patch.Content[i], patch.Content[i+1]
		if strings.HasPrefix(name.Value, "$") || name.Tag == "!!merge" {
			return errPatch
		}
		switch at := key(node, name.Value); {
		case value.Tag == "!!null" && at >= 0:
			node.Content = slices.Delete(node.Content, at, at+2)
		case value.Tag == "!!null":
		case at >= 0 && value.Kind == yaml.MappingNode && node.Content[at+1].Kind == yaml.MappingNode:
			if err := merged(node.Content[at+1], value); err != nil {
				return err
			}
		default:
			put(node, name.Value, copied(value, node.Line))
		}
	}
	return nil
}

// operated does one operation of a JSON patch (RFC 6902): add, replace or remove.
func operated(node, operation *yaml.Node) error {
	pointer, value := textAt(operation, "path"), under(operation, "value")
	segments := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, s := range segments {
		segments[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
	}
	last := segments[len(segments)-1]
	for _, name := range segments[:len(segments)-1] {
		next := under(node, name)
		if at, err := strconv.Atoi(name); node.Kind == yaml.SequenceNode && err == nil && at >= 0 && at < len(node.Content) {
			next = node.Content[at]
		}
		if node = next; node == nil {
			return errPatch
		}
	}
	op := textAt(operation, "op")
	if op != "remove" && (op != "add" && op != "replace" || value == nil) {
		return errPatch
	}
	if node.Kind == yaml.SequenceNode {
		return inList(node, op, last, value)
	}
	at := key(node, last)
	switch {
	case node.Kind != yaml.MappingNode || at < 0 && op != "add":
		return errPatch
	case op == "remove":
		node.Content = slices.Delete(node.Content, at, at+2)
	default:
		put(node, last, copied(value, node.Line))
	}
	return nil
}

// inList does one operation on an element of a list.
func inList(list *yaml.Node, op, index string, value *yaml.Node) error {
	at, err := strconv.Atoi(index)
	if index == "-" && op == "add" {
		at, err = len(list.Content), nil
	}
	switch {
	case err != nil || at < 0 || at > len(list.Content) || at == len(list.Content) && op != "add":
		return errPatch
	case op == "add":
		list.Content = slices.Insert(list.Content, at, copied(value, list.Line))
	case op == "replace":
		list.Content[at] = copied(value, list.Line)
	default:
		list.Content = slices.Delete(list.Content, at, at+1)
	}
	return nil
}
