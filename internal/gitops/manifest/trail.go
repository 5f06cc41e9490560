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
	next := &trail{up: t, name: name, line: line, depth: 1}
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

// lineOf is the line of the trail's last key, 0 at the root.
func (t *trail) lineOf() int {
	if t == nil {
		return 0
	}
	return t.line
}
