package manifest

import (
	"bytes"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// field is a key of a mapping with its scalar value; zero when the mapping has no such key of its own.
type field struct {
	key   *yaml.Node
	value scalar
}

func (f field) present() bool { return f.key != nil }

// mapping is a YAML mapping whose keys can be changed, added and removed in its own style.
type mapping struct {
	src  *source
	node *yaml.Node
}

// entries calls visit for each key and value, aliases of scalars resolved.
func (m mapping) entries(visit func(key, value *yaml.Node)) {
	for i := 0; i+1 < len(m.node.Content); i += 2 {
		visit(m.node.Content[i], resolved(m.node.Content[i+1]))
	}
}

// resolved is the scalar that an alias stands for, and any other node itself.
func resolved(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode && node.Alias.Kind == yaml.ScalarNode {
		return node.Alias
	}
	return node
}

// find is the key and the value of name, nil when the mapping has none of its own.
func (m mapping) find(name string) (key, value *yaml.Node) {
	m.entries(func(k, v *yaml.Node) {
		if key == nil && k.Value == name {
			key, value = k, v
		}
	})
	return key, value
}

// count is how often the mapping has the key; the YAML reader lets duplicates pass.
func (m mapping) count(name string) (n int) {
	m.entries(func(k, _ *yaml.Node) {
		if k.Value == name {
			n++
		}
	})
	return n
}

// text is the string under name, its own or one that a merge key (<<) brings; "" when there is none.
func (m mapping) text(name string) string {
	if _, v := m.find(name); v != nil {
		if v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
			return ""
		}
		return v.Value
	}
	for _, merged := range m.merged() {
		if text := (mapping{m.src, merged}).text(name); text != "" {
			return text
		}
	}
	return ""
}

// merged are the mappings that << brings in, first wins.
func (m mapping) merged() []*yaml.Node {
	_, v := m.find("<<")
	if v == nil {
		return nil
	}
	nodes := []*yaml.Node{v}
	if v.Kind == yaml.SequenceNode {
		nodes = v.Content
	}
	var maps []*yaml.Node
	for _, n := range nodes {
		if n.Kind == yaml.AliasNode && n.Alias.Kind == yaml.MappingNode && n.Alias != m.node {
			maps = append(maps, n.Alias)
		}
	}
	return maps
}

// field is the scalar under name, zero when the mapping has no such key of its own.
func (m mapping) field(name string) (field, error) {
	key, value := m.find(name)
	if key == nil {
		return field{}, nil
	}
	if value.Kind != yaml.ScalarNode || m.count(name) > 1 {
		return field{}, fmt.Errorf("%s is not a single value", name)
	}
	v, err := m.src.valueOf(key, value)
	if err != nil {
		return field{}, fmt.Errorf("%s: %w", name, err)
	}
	v.quote = m.quote()
	return field{key: key, value: v}, nil
}

// quote is the quote that the mapping's other values use; double when none is quoted.
func (m mapping) quote() byte {
	for i := 1; i < len(m.node.Content); i += 2 {
		switch m.node.Content[i].Style {
		case yaml.SingleQuotedStyle:
			return '\''
		case yaml.DoubleQuotedStyle:
			return '"'
		}
	}
	return '"'
}

// valueOf is the scalar of a value, or the place after "key:" where one goes that the file leaves out.
func (s *source) valueOf(key, value *yaml.Node) (scalar, error) {
	if value.Tag != "!!null" || value.Value != "" {
		return s.scalarOf(value)
	}
	_, end, err := s.token(key)
	if err != nil || end >= len(s.data) || s.data[end] != ':' || value.Anchor != "" || value.Style&yaml.TaggedStyle != 0 {
		return scalar{}, errUnlocated
	}
	return scalar{start: end + 1, end: end + 1, plain: true, quote: '"'}, nil
}

// token is the range of a scalar node with its quotes.
func (s *source) token(node *yaml.Node) (start, end int, err error) {
	v, err := s.scalarOf(node)
	if err != nil {
		return 0, 0, err
	}
	if !v.plain && v.start > 0 && (s.data[v.start-1] == '"' || s.data[v.start-1] == '\'') {
		return v.start - 1, v.end + 1, nil
	}
	return v.start, v.end, nil
}

// set is the edit that gives f the value; a value that was left out gets the space after its colon.
func (m mapping) set(f field, value string) Edit {
	e := f.value.replace(m.src, value)
	if e.Start == e.End && e.New != "" && m.src.data[e.Start-1] == ':' {
		e.New = " " + e.New
	}
	return e
}

// pair is a key and its value, still to be written.
type pair struct{ key, value string }

// insert is the edit that adds pairs after the field that stands before them, as the mapping writes its others.
func (m mapping) insert(after field, pairs ...pair) Edit {
	keyStart, _, _ := m.src.token(after.key)
	lineStart := m.src.lines[m.src.lineAt(keyStart)-1]
	indent := string(m.src.data[lineStart:keyStart])
	newline := m.src.eol(keyStart)
	at, before := m.end(after), ", "
	switch flow := m.node.Style&yaml.FlowStyle != 0; {
	case !flow:
		at = m.src.lineEnd(at)
		before = newline + strings.Repeat(" ", after.key.Column-1)
	case strings.Trim(indent, " \t") == "":
		before = "," + newline + indent
	}
	var text strings.Builder
	for _, p := range pairs {
		text.WriteString(before + m.written(keyStart, p))
	}
	return m.src.edit(at, at, text.String())
}

// written is a pair as it stands beside the key at keyStart: quoted in JSON, else only where it must be.
func (m mapping) written(keyStart int, p pair) string {
	if m.src.data[keyStart] == '"' {
		return quoted(p.key, '"') + ": " + quoted(p.value, '"')
	}
	if !plainSafe(p.value) {
		p.value = quoted(p.value, m.quote())
	}
	return p.key + ": " + p.value
}

// end is the offset behind f's value and its closing quote.
func (m mapping) end(f field) int {
	if v := f.value; !v.plain && v.end < len(m.src.data) {
		if c := m.src.data[v.end]; (c == '"' || c == '\'') && m.src.data[v.start-1] == c {
			return v.end + 1
		}
	}
	return f.value.end
}

// rekey is the edit that turns one key and its value into another key and value.
func (m mapping) rekey(f field, p pair) Edit {
	start, _, _ := m.src.token(f.key)
	return m.src.edit(start, m.end(f), m.written(start, p))
}

// remove is the edit that takes f, which is not the mapping's first key, out of the file.
func (m mapping) remove(f field) Edit {
	start, _, _ := m.src.token(f.key)
	end := m.end(f)
	if m.node.Style&yaml.FlowStyle != 0 {
		return m.src.edit(bytes.LastIndexByte(m.src.data[:start], ','), end, "")
	}
	from, to := m.src.lines[m.src.lineAt(start)-1], len(m.src.data)
	if last := m.src.lineAt(end); last < len(m.src.lines) {
		to = m.src.lines[last]
	}
	return m.src.edit(from, to, "")
}

// first reports whether f is the mapping's first key.
func (m mapping) first(f field) bool { return m.node.Content[0] == f.key }
