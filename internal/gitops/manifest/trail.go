package manifest

import (
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// maxDepth is how deep mappings and lists may nest; nobody's manifests come near, and each level costs a path of that
// length.
const maxDepth = 250

// trail is the way from the root of a document to a node: the keys and the elements passed. nil is the root.
type trail struct {
	up    *trail
	name  string // the key, or the index in brackets
	line  int    // of the key, or of the element
	index bool   // an element
	depth int
}

func (t *trail) key(key *yaml.Node) *trail { return t.to(key.Value, false, key.Line) }

func (t *trail) element(i int, node *yaml.Node) *trail {
	return t.to("["+strconv.Itoa(i)+"]", true, node.Line)
}

func (t *trail) to(name string, index bool, line int) *trail {
	if !index && (name == "" || strings.ContainsAny(name, ".[]\"")) {
		name = "[" + strconv.Quote(name) + "]"
	}
	next := &trail{up: t, name: name, line: line, index: index, depth: 1}
	if t != nil {
		next.depth += t.depth
	}
	return next
}

// String is the trail with dots, keys that hold dots or brackets quoted: spec.containers[0].image.
func (t *trail) String() string {
	if t == nil {
		return ""
	}
	up := t.up.String()
	if up == "" || t.name[0] == '[' {
		return up + t.name
	}
	return up + "." + t.name
}

// lines are those on which a comment is about what stands at the trail: that of its last key or element, and that of the
// element or the key of the mapping which has the key.
func (t *trail) lines() []int {
	switch {
	case t == nil:
		return nil
	case t.index || t.up == nil:
		return []int{t.line}
	}
	return []int{t.line, t.up.line}
}
