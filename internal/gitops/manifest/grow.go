package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// dotted is the value at a path of Helm values: the key that is spelled so, or the way along its parts, "[0]" for an
// element. When it is not there, it is what is missing below the innermost mapping of the way.
func dotted(root mapping, path string) (value field, in mapping, missing []string, err error) {
	if root.node == nil {
		missing, err = checked(strings.Split(path, "."))
		return field{}, root, missing, err
	}
	if key, _ := root.find(path); key != nil {
		value, err = root.field(path)
		return value, root, nil, err
	}
	keys := strings.Split(path, ".")
	for in = root; len(keys) > 0; keys = keys[1:] {
		name, index, err := element(keys[0])
		if err != nil {
			return field{}, in, nil, err
		}
		key, v := in.find(name)
		switch {
		case key == nil || v.Tag == "!!null" && len(keys) > 1:
			missing, err = checked(keys)
			return field{}, in, missing, err
		case len(keys) == 1 && index < 0:
			value, err = in.field(name)
			return value, in, nil, err
		}
		if v.Kind == yaml.AliasNode {
			v = v.Alias
		}
		if index >= 0 {
			if v.Kind != yaml.SequenceNode || index >= len(v.Content) {
				return field{}, in, nil, fmt.Errorf("%s has no element %d", name, index)
			}
			if v = v.Content[index]; v.Kind == yaml.AliasNode {
				v = v.Alias
			}
		}
		if v.Kind != yaml.MappingNode {
			return field{}, in, nil, fmt.Errorf("%s is no mapping, so that there is no %s in it", keys[0], strings.Join(keys[1:], "."))
		}
		in = mapping{in.src, v}
	}
	return field{}, in, nil, fmt.Errorf("%s is no single value", path)
}

// element is the name and the index of NAME[INDEX], index -1 without one.
func element(key string) (name string, index int, err error) {
	name, rest, indexed := strings.Cut(key, "[")
	if !indexed {
		return key, -1, nil
	}
	digits, closed := strings.CutSuffix(rest, "]")
	n, err := strconv.ParseUint(digits, 10, 31)
	if !closed || err != nil || name == "" {
		return "", 0, fmt.Errorf("%s: an element is NAME[0]", key)
	}
	return name, int(n), nil
}

// checked are keys that can be made: none is an element of a list that is not there.
func checked(keys []string) ([]string, error) {
	for _, key := range keys {
		if key == "" || strings.ContainsAny(key, "[]") {
			return nil, fmt.Errorf("%s is not there, and a list is not made", key)
		}
	}
	return keys, nil
}

// growValue is the edit that makes a value at a path of Helm values.
func growValue(path string, data []byte, key, value string) ([]Edit, error) {
	root, err := onlyMapping(newSource(path, data))
	if err != nil {
		return nil, err
	}
	_, in, missing, err := dotted(root, key)
	if err != nil {
		return nil, err
	}
	last := len(missing) - 1
	return in.grow(missing, func(indent string) []string { return []string{indent + missing[last] + ": " + plain(value)} },
		quotedIn(in, missing[last])+": "+flowValue(in, value))
}

// grow is the edit that adds an element to the list at keys of the file, which is made where it is not there. The element is
// a value, or a mapping of pairs as they are written.
func grow(path string, data []byte, keys, pairs []string) ([]Edit, error) {
	root, err := onlyMapping(newSource(path, data))
	if err != nil {
		return nil, err
	}
	list, err := listAt(root, keys...)
	if err != nil {
		return nil, err
	}
	in, missing := root, keys
	for in.node != nil && len(missing) > 1 {
		_, v := in.find(missing[0])
		if v == nil || v.Kind != yaml.MappingNode {
			break
		}
		in, missing = mapping{in.src, v}, missing[1:]
	}
	flow := pairs[0]
	if in.node != nil && len(pairs) > 1 {
		flow = in.flowPairs(pairs)
	} else if in.node != nil {
		flow = flowValue(in, pairs[0])
	}
	if list != nil {
		if (mapping{in.src, list}).flow() {
			edit, err := in.src.extend(list, flow)
			return []Edit{edit}, err
		}
		edit, err := in.src.below(list, in.items(list, pairs))
		return []Edit{edit}, err
	}
	last := missing[len(missing)-1]
	return in.grow(missing, func(indent string) []string {
		lines := []string{indent + last + ":", indent + "- " + pairs[0]}
		for _, p := range pairs[1:] {
			lines = append(lines, indent+"  "+p)
		}
		return lines
	}, quotedIn(in, last)+": ["+flow+"]")
}

// grow is the edit that makes missing keys below the mapping, which may be no node yet: block is what the last of them comes
// to at an indentation, and flow what it is in braces.
func (m mapping) grow(missing []string, block func(indent string) []string, flow string) ([]Edit, error) {
	outer := missing[:len(missing)-1]
	nested := func(indent string) (lines []string) {
		for _, key := range outer {
			lines = append(lines, indent+key+":")
			indent += "  "
		}
		return append(lines, block(indent)...)
	}
	if m.node == nil {
		return m.src.start(nested(""))
	}
	key, v := m.find(missing[0])
	if m.flow() {
		for _, key := range slices.Backward(outer) {
			flow = quotedIn(m, key) + ": {" + flow + "}"
		}
		if key != nil {
			return nil, errors.New(missing[0] + " is there without a value: give it one")
		}
		edit, err := m.src.extend(m.node, flow)
		return []Edit{edit}, err
	}
	below, lines := m.node, nested(m.indent())
	if key != nil { // it has no value yet
		if v.Anchor != "" || v.Value != "" {
			return nil, errors.New(missing[0] + " is null: take that away")
		}
		below, lines = key, lines[1:]
	}
	edit, err := m.src.below(below, lines)
	return []Edit{edit}, err
}

// start is the edit that makes lines the first content of a file that has none but comments.
func (s *source) start(lines []string) ([]Edit, error) {
	at, eol := len(s.data), s.eol(0)
	text := strings.Join(lines, eol) + eol
	if at > 0 && s.data[at-1] != '\n' {
		text = eol + text
	}
	return []Edit{s.edit(at, at, text)}, nil
}

// quotedIn is a key as the mapping writes them.
func quotedIn(m mapping, key string) string {
	if m.node != nil && m.isJSON() {
		return quoted(key, '"')
	}
	return key
}

// flowValue is a value within braces or brackets of the mapping.
func flowValue(m mapping, value string) string {
	if m.node != nil && m.isJSON() || strings.ContainsAny(value, "=:@") {
		return quoted(value, '"')
	}
	return plain(value)
}

// flowPairs is a mapping in braces.
func (m mapping) flowPairs(pairs []string) string {
	if !m.isJSON() {
		return "{" + strings.Join(pairs, ", ") + "}"
	}
	var all []string
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, ": ")
		if value != "true" && value[0] != '"' {
			value = quoted(value, '"')
		}
		all = append(all, quoted(key, '"')+": "+value)
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// keeps is an error unless the edits left everything that the file said before, but for the values that they replace.
func keeps(path string, before, after []byte, edits []Edit) error {
	was, err := said(path, before)
	if err != nil {
		return err
	}
	is, err := said(path, after)
	if err != nil {
		return fmt.Errorf("the result would be no YAML: %w", err)
	}
	for at, value := range was {
		now, there := is[at]
		replaced := slices.ContainsFunc(edits, func(e Edit) bool { return e.Old != "" && strings.Trim(e.New, `"' `) == now })
		if !there && value != "" || there && now != value && !replaced { // what had no value may have got a mapping
			return fmt.Errorf("the result would not say the same at %s", at)
		}
	}
	return nil
}

// said are the values of a file by their paths. What an alias stands for is said once, where it stands.
func said(path string, data []byte) (map[string]string, error) {
	docs, err := newSource(path, data).documents()
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	var walk func(node *yaml.Node, at string) error
	walk = func(node *yaml.Node, at string) error {
		if len(at) > maxPath {
			return errors.New("nested too deep")
		}
		switch node.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(node.Content); i += 2 {
				key := at + "." + node.Content[i].Value
				if _, twice := all[key+" "]; twice {
					return fmt.Errorf("%s is there twice", key)
				}
				all[key+" "] = ""
				if err := walk(node.Content[i+1], key); err != nil {
					return err
				}
			}
		case yaml.SequenceNode, yaml.DocumentNode:
			for i, element := range node.Content {
				if err := walk(element, at+"["+strconv.Itoa(i)+"]"); err != nil {
					return err
				}
			}
		default:
			all[at] = node.Value
		}
		return nil
	}
	for _, doc := range docs {
		if err := walk(doc, ""); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// maxPath is the length in bytes of the path to a value, beyond which no person wrote it.
const maxPath = 4096
