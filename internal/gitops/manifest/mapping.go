package manifest

import (
	"bytes"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// field is a key of a mapping with its scalar value, in the mapping that says it: the one that a merge key brings in,
// when the mapping has no such key of its own. Zero when neither has.
type field struct {
	mapping
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
	if m.large() {
		p, has := m.src.keys.of(m.node)[name]
		if !has {
			return nil, nil
		}
		return m.node.Content[p.at], resolved(m.node.Content[p.at+1])
	}
	for i := 0; i+1 < len(m.node.Content); i += 2 {
		if key = m.node.Content[i]; key.Value == name {
			return key, resolved(m.node.Content[i+1])
		}
	}
	return nil, nil
}

// lacks reports whether the mapping has no such key, of its own or merged.
func (m mapping) lacks(name string) bool {
	_, key, _ := m.lookup(name)
	return key == nil
}

// lookup is the key and the value of name with the mapping that says them: m, or the first that a merge key (<<) brings
// in.
func (m mapping) lookup(name string) (in mapping, key, value *yaml.Node) {
	if key, value = m.find(name); key != nil {
		return m, key, value
	}
	merged := m.inherited(name, 1)
	return merged.in, merged.key, merged.value
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
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n.Kind == yaml.MappingNode {
			maps = append(maps, n)
		}
	}
	return maps
}

// text is the string under name; "" when there is none.
func (m mapping) text(name string) string {
	_, _, v := m.lookup(name)
	if v == nil || v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
		return ""
	}
	return v.Value
}

// field is the scalar under name.
func (m mapping) field(name string) (field, error) {
	in, key, value := m.lookup(name)
	if key == nil {
		return field{}, nil
	}
	if value.Kind != yaml.ScalarNode || in.count(name) > 1 {
		return field{}, fmt.Errorf("%s is not a single value", name)
	}
	v, err := in.src.valueOf(key, value)
	if err != nil {
		return field{}, fmt.Errorf("%s: %w", name, err)
	}
	v.quote = in.quote()
	return field{mapping: in, key: key, value: v}, nil
}

// count is how often the mapping has the key; the YAML reader lets duplicates pass.
func (m mapping) count(name string) (n int) {
	if m.large() {
		return m.src.keys.of(m.node)[name].count
	}
	m.entries(func(k, _ *yaml.Node) {
		if k.Value == name {
			n++
		}
	})
	return n
}

// quote is the quote that the mapping's other values use; double when none is quoted.
func (m mapping) quote() byte {
	if len(m.node.Content) < 2*manyKeys {
		return m.findQuote()
	}
	quote, known := m.src.keys.quotes[m.node]
	if !known {
		quote = m.findQuote()
		m.src.keys.quotes[m.node] = quote
	}
	return quote
}

func (m mapping) findQuote() byte {
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
func (f field) set(value string) Edit {
	e := f.value.replace(f.src, value)
	if e.Start == e.End && e.New != "" && f.src.data[e.Start-1] == ':' {
		e.New = " " + e.New
	}
	return e
}

// pair is a key and its value, still to be written.
type pair struct{ key, value string }

// insert is the edit that adds pairs after f, as the mapping writes its others.
func (f field) insert(pairs ...pair) Edit {
	keyStart, _, _ := f.src.token(f.key)
	lineStart := f.src.lines[f.src.lineAt(keyStart)-1]
	indent := string(f.src.data[lineStart:keyStart])
	newline := f.src.eol(keyStart)
	at, before := f.end(), ", "
	switch flow := f.flow(); {
	case !flow:
		at = f.src.lineEnd(at)
		before = newline + strings.Repeat(" ", f.key.Column-1)
	case strings.Trim(indent, " \t") == "":
		before = "," + newline + indent
	}
	var text strings.Builder
	for _, p := range pairs {
		text.WriteString(before + f.written(p))
	}
	return f.src.edit(at, at, text.String())
}

// written is a pair as it stands among the mapping's others: quoted in JSON, else only where it must be.
func (m mapping) written(p pair) string {
	if m.isJSON() || !plainSafe(p.value) {
		p.value = quoted(p.value, m.quote())
	}
	return m.writtenKey(p.key) + p.value
}

// writtenKey is a key with its colon.
func (m mapping) writtenKey(key string) string {
	if m.isJSON() {
		key = quoted(key, '"')
	}
	return key + ": "
}

// isJSON reports whether the mapping quotes its keys.
func (m mapping) isJSON() bool {
	return len(m.node.Content) > 0 && m.node.Content[0].Style&yaml.DoubleQuotedStyle != 0
}

// flow reports whether the mapping is written in braces.
func (m mapping) flow() bool { return m.node.Style&yaml.FlowStyle != 0 }

// end is the offset behind f's value and its closing quote.
func (f field) end() int {
	if v := f.value; !v.plain && v.end < len(f.src.data) {
		if c := f.src.data[v.end]; (c == '"' || c == '\'') && f.src.data[v.start-1] == c {
			return v.end + 1
		}
	}
	return f.value.end
}

// rekey is the edit that turns one key and its value into another key and value.
func (f field) rekey(p pair) Edit {
	start, _, _ := f.src.token(f.key)
	return f.src.edit(start, f.end(), f.written(p))
}

// remove is the edit that takes f, which is not the mapping's first key, out of the file.
func (f field) remove() Edit {
	start, _, _ := f.src.token(f.key)
	if f.flow() {
		return f.src.edit(bytes.LastIndexByte(f.src.data[:start], ','), f.end(), "")
	}
	from, to := f.src.lines[f.src.lineAt(start)-1], len(f.src.data)
	if last := f.src.lineAt(f.end()); last < len(f.src.lines) {
		to = f.src.lines[last]
	}
	return f.src.edit(from, to, "")
}

// first reports whether f is the mapping's first key.
func (f field) first() bool { return f.node.Content[0] == f.key }
