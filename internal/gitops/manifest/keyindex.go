package manifest

import (
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// manyKeys is how many keys a mapping has at least to be indexed; in a smaller one a search through all is as fast.
const manyKeys = 32

// maxMerges is how many answers are noted for mappings that others merge: fifty thousand of them, in 200 MB.
const maxMerges = 1 << 20

// keyIndex is what the mappings of one file say, noted so that no file makes the search for it take long.
type keyIndex struct {
	places map[*yaml.Node]map[string]keyPlace // of the large mappings
	quotes map[*yaml.Node]byte                // of the large mappings
	merges map[merge]found
	err    error // of merges that nest too deep
}

// keyPlace is where a key stands first in the mapping's content, and how often it does.
type keyPlace struct{ at, count int }

// merge is the question for a name in a mapping with a merge key.
type merge struct {
	node *yaml.Node
	name string
}

// found is a key and its value with the mapping that says them; zero when there is none.
type found struct {
	in         mapping
	key, value *yaml.Node
}

func newKeyIndex() *keyIndex {
	return &keyIndex{places: map[*yaml.Node]map[string]keyPlace{}, quotes: map[*yaml.Node]byte{}, merges: map[merge]found{}}
}

// of is the places of the keys in a large mapping.
func (x *keyIndex) of(node *yaml.Node) map[string]keyPlace {
	places := x.places[node]
	if places != nil {
		return places
	}
	places = make(map[string]keyPlace, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		p, again := places[node.Content[i].Value]
		if !again {
			p.at = i
		}
		p.count++
		places[node.Content[i].Value] = p
	}
	x.places[node] = places
	return places
}

// large reports whether the mapping is one that is indexed.
func (m mapping) large() bool {
	return m.node.Kind == yaml.MappingNode && len(m.node.Content) >= 2*manyKeys
}

// inherited is the name in what the merge keys (<<) of m bring in, first wins (YAML merge key type, 2005). Each mapping
// that others merge answers once for each name; one that merges itself has nothing to add.
func (m mapping) inherited(name string, depth int) found {
	_, merging := m.find("<<")
	if merging == nil {
		return found{}
	}
	x, question := m.src.keys, merge{m.node, name}
	if answer, known := x.merges[question]; known {
		return answer
	}
	if x.err != nil {
		return found{}
	}
	if depth > maxDepth || len(x.merges) >= maxMerges {
		x.err = &SyntaxError{Line: m.node.Line, Message: fmt.Sprintf("merges nest more than %d levels deep, or are too many", maxDepth)}
		return found{}
	}
	once := depth > 1 || merging.Kind == yaml.SequenceNode
	if once {
		x.merges[question] = found{}
	}
	for _, node := range m.merged() {
		from := mapping{m.src, node}
		answer := found{in: from}
		if answer.key, answer.value = from.find(name); answer.key == nil {
			answer = from.inherited(name, depth+1)
		}
		if answer.key != nil {
			if once {
				x.merges[question] = answer
			}
			return answer
		}
	}
	return found{}
}
