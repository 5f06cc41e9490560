package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/ksera524/imgbump/internal/imageref"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// AddImage is the edits that give the kustomization at path an images: entry which sets ref's version, in the style of its
// other lists. The error is a *SyntaxError when it is no YAML; it is an error when it has an entry of that name.
func AddImage(path string, data []byte, ref imageref.Ref) ([]Edit, error) {
	src := newSource(path, data)
	docs, err := src.documents()
	if err != nil {
		return nil, err
	}
	switch {
	case len(docs) > 1:
		return nil, errors.New("a kustomization is one document, this file has several")
	case len(docs) == 0 || len(docs[0].Content) == 0 || docs[0].Content[0].Tag == "!!null":
		return nil, errors.New("it is empty: list its resources first")
	}
	root := mapping{src, docs[0].Content[0]}
	if root.node.Kind != yaml.MappingNode {
		return nil, errors.New("it is no mapping")
	}
	if !root.flow() && indentation(src.line(root.node.Line)) != len(root.indent()) {
		return nil, errors.New("its first key does not begin a line: write it as KEY: VALUE")
	}
	edit, err := root.addImage(ref)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return []Edit{edit}, nil
}

// addImage is the edit that adds an entry to the images of a kustomization, as its last one where the list is a block.
func (m mapping) addImage(ref imageref.Ref) (Edit, error) {
	pairs := []string{m.written(pair{"name", ref.Name()})}
	if ref.Tag != "" {
		pairs = append(pairs, m.written(pair{"newTag", ref.Tag}))
	}
	if ref.Digest != "" {
		pairs = append(pairs, m.written(pair{"digest", ref.Digest}))
	}
	flow := "{" + strings.Join(pairs, ", ") + "}"
	key, list := m.find("images")
	switch {
	case key == nil && m.flow():
		return m.src.extend(m.node, m.writtenKey("images")+"["+flow+"]")
	case key == nil:
		return m.src.below(m.node, append([]string{m.indent() + "images:"}, m.items(nil, pairs)...))
	case list.Tag == "!!null" && !m.flow():
		return m.src.below(key, m.items(nil, pairs))
	case list.Kind == yaml.AliasNode:
		return Edit{}, errors.New("it is an alias of a list that stands elsewhere: give it a list of its own")
	case list.Kind != yaml.SequenceNode:
		return Edit{}, errors.New("it is no list")
	}
	for _, element := range list.Content {
		if element.Kind == yaml.MappingNode && (mapping{m.src, element}).text("name") == ref.Name() {
			return Edit{}, fmt.Errorf("line %d is an entry for %s already", element.Line, ref.Name())
		}
	}
	if (mapping{m.src, list}).flow() {
		return m.src.extend(list, flow)
	}
	return m.src.below(list, m.items(list, pairs))
}

// items are the lines of an entry as an element of list, or of a new list in the style of the mapping's first one.
func (m mapping) items(list *yaml.Node, pairs []string) []string {
	m.entries(func(_, v *yaml.Node) {
		if list == nil && v.Kind == yaml.SequenceNode && v.Style&yaml.FlowStyle == 0 {
			list = v
		}
	})
	dash, inner := m.indent(), " "
	if list != nil {
		first := list.Content[0]
		before := bytes.TrimRight(m.src.data[:max(0, m.src.offset(first))], " \t\r\n")
		if line := m.src.lineAt(len(before) - 1); bytes.HasSuffix(before, []byte("-")) {
			column := len(before) - m.src.lines[line-1]
			dash = strings.Repeat(" ", column-1)
			if first.Line == line {
				inner = strings.Repeat(" ", max(1, first.Column-1-column))
			}
		}
	}
	lines := []string{dash + "-" + inner + pairs[0]}
	for _, p := range pairs[1:] {
		lines = append(lines, dash+" "+inner+p)
	}
	return lines
}

// indent is what stands before the mapping's keys.
func (m mapping) indent() string { return strings.Repeat(" ", m.node.Content[0].Column-1) }

// errNoEnd is why nothing is added behind a value.
var errNoEnd = errors.New("where the last value ends cannot be told: add the entry by hand once, it is kept up to date from then on")

// extend is the edit that puts text last into a flow list or mapping.
func (s *source) extend(node *yaml.Node, text string) (Edit, error) {
	at := s.skipProperties(s.offset(node), node) + 1
	n := len(node.Content)
	if n > 0 {
		at, text = s.end(s.last(node)), ", "+text
	}
	if at < 0 || n > 0 && s.last(node) != node.Content[n-1] {
		return Edit{}, errNoEnd
	}
	return s.edit(at, at, text), nil
}

// last is what the text of a list or mapping that is not empty ends in: its last value, or the key of one that is left out.
func (s *source) last(node *yaml.Node) *yaml.Node {
	n := len(node.Content)
	v := node.Content[n-1]
	if at := s.offset(v); at >= 0 && at < len(s.data) && (s.data[at] == '!' || s.data[at] == '&') {
		return v
	}
	if node.Kind == yaml.MappingNode && v.Tag == "!!null" && v.Value == "" {
		return node.Content[n-2]
	}
	return v
}

// below is the edit that puts lines below a block.
func (s *source) below(node *yaml.Node, lines []string) (Edit, error) {
	end := s.end(node)
	if end < 0 {
		return Edit{}, errNoEnd
	}
	at, eol := s.lineEnd(end), s.eol(0)
	return s.edit(at, at, eol+strings.Join(lines, eol)), nil
}

// end is the offset behind a node, -1 where that cannot be told.
func (s *source) end(node *yaml.Node) int {
	at := s.skipProperties(s.offset(node), node)
	switch {
	case at < 0 || at >= len(s.data):
		return -1
	case node.Kind == yaml.AliasNode:
		return at + len("*") + len(node.Value)
	case node.Kind == yaml.ScalarNode:
		return s.scalarEnd(at, node.Value)
	}
	if len(node.Content) > 0 {
		if node.Style&yaml.FlowStyle != 0 && s.offset(node.Content[0]) == at {
			return -1 // a pair without braces
		}
		at = s.end(s.last(node))
	}
	if at < 0 || node.Style&yaml.FlowStyle == 0 {
		return at
	}
	return s.closing(at)
}

// scalarEnd is the offset behind the scalar at an offset, on however many lines it stands; -1 where that cannot be told.
func (s *source) scalarEnd(at int, value string) int {
	switch c := s.data[at]; {
	case c == '|' || c == '>':
		return s.blockEnd(at, value)
	case c == '"' || c == '\'':
		if end := closing(s.data, at+1, c); end >= 0 {
			return end + 1
		}
		return -1
	case value == "":
		return -1
	}
	return s.behind(value, at)
}

// behind is the offset behind the words of a value, which stand from an offset on; -1 when others do.
func (s *source) behind(value string, at int) int {
	for word := range strings.FieldsSeq(value) {
		rest := bytes.TrimLeft(s.data[at:], " \t\r\n")
		if !bytes.HasPrefix(rest, []byte(word)) {
			return -1
		}
		at = len(s.data) - len(rest) + len(word)
	}
	return at
}

// closing is the offset behind the bracket that ends the flow list or mapping whose last element ends at from.
func (s *source) closing(from int) int {
	for i := from; i < len(s.data); i++ {
		switch s.data[i] {
		case '}', ']':
			return i + 1
		case '#':
			i = s.lineEnd(i)
		}
	}
	return -1
}

// blockEnd is the offset behind the block scalar whose indicator is at; one that keeps its blank lines ends with them.
func (s *source) blockEnd(at int, value string) int {
	header := s.lineEnd(at)
	end := s.behind(value, header)
	if end < 0 || bytes.IndexByte(s.data[at:header], '+') < 0 {
		return end
	}
	for n := s.lineAt(end) + 1; n <= len(s.lines) && len(bytes.TrimSpace(s.line(n))) == 0; n++ {
		end = s.lineEnd(s.lines[n-1])
	}
	return end
}
