package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// reader reads YAML into a document, strictly, and gathers what is wrong with it.
type reader struct {
	problems, unused []Problem
}

func (r *reader) problem(line int, hint, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: line, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// read reads the only document of the file into a struct whose fields name their keys; an empty file has none.
func (r *reader) read(data []byte, into any) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return
	}
	if err == nil {
		if err = dec.Decode(&more); err == nil {
			r.problem(more.Line, "keep one", "there is more than one document")
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.syntax(err)
		return
	}
	for _, root := range doc.Content {
		if root.ShortTag() != "!!null" {
			r.value(root, reflect.ValueOf(into).Elem(), "")
		}
	}
}

// syntax takes the line out of the YAML reader's message, the only place where it says it.
func (r *reader) syntax(err error) {
	line, message := 0, strings.TrimPrefix(err.Error(), "yaml: ")
	if n, _ := fmt.Sscanf(message, "line %d:", &line); n == 1 {
		_, message, _ = strings.Cut(message, ": ")
	}
	r.problem(line, "", "not valid YAML: %s", message)
}

// value reads node into a field of the document; at is its path, for messages.
func (r *reader) value(node *yaml.Node, into reflect.Value, at string) {
	wrong := func(wanted string) {
		r.problem(node.Line, hintFor(node, wanted), "%s is %s, but %s is wanted", cmp.Or(at, "the file"), describe(node), wanted)
	}
	empty := node.ShortTag() == "!!null"
	switch v := into.Addr().Interface().(type) {
	case *text:
		v.value, v.line = node.Value, node.Line
		if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str" || strings.TrimSpace(node.Value) == "" {
			v.value = ""
			wrong("text")
		}
		return
	case *number:
		v.line = node.Line
		if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!int" || node.Decode(&v.value) != nil {
			v.value = 1 // no second problem with it
			wrong("a whole number")
		}
		return
	case *truth:
		v.line = node.Line
		if node.Kind != yaml.ScalarNode || node.Style != 0 || node.Decode(&v.value) != nil { // yes and no too, as YAML 1.1 has them
			wrong("true or false")
		}
		return
	}
	switch {
	case empty: // a heading of which everything is commented out
	case into.Kind() == reflect.Slice && node.Kind == yaml.SequenceNode:
		into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
		for i, element := range node.Content {
			r.value(element, into.Index(i), fmt.Sprintf("%s[%d]", at, i))
		}
	case into.Kind() == reflect.Slice:
		wrong("a list")
	case node.Kind == yaml.MappingNode:
		r.mapping(node, into, at)
	default:
		wrong("a mapping")
	}
}

func (r *reader) mapping(node *yaml.Node, into reflect.Value, at string) {
	if line := into.FieldByName("Line"); line.IsValid() {
		line.SetInt(int64(node.Line))
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if first, twice := seen[key.Value]; twice {
			r.problem(key.Line, "keep one of them", "%s is there twice, first in line %d", join(at, key.Value), first)
			continue
		}
		seen[key.Value] = key.Line
		f, known := fieldOf(into.Type(), key.Value)
		if !known {
			r.unknown(key, into.Type(), at)
			continue
		}
		r.value(value, into.FieldByIndex(f.Index), join(at, key.Value))
	}
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if name := f.Tag.Get("key"); name != "" && name == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// likeEnough is how much of a key must agree with a known one for a slip of the pen.
const likeEnough = 0.5

func (r *reader) unknown(key *yaml.Node, t reflect.Type, at string) {
	known := keys(t)
	nearest := slices.MaxFunc(known, func(a, b string) int {
		return cmp.Compare(levenshtein.Match(a, key.Value, nil), levenshtein.Match(b, key.Value, nil))
	})
	hint := "known here: " + strings.Join(known, ", ")
	if levenshtein.Match(nearest, strings.ToLower(key.Value), nil) >= likeEnough {
		hint = fmt.Sprintf("did you mean %s? %s", nearest, hint)
	}
	r.problem(key.Line, hint, "unknown key %s", join(at, key.Value))
}

// keys are the keys of a mapping, in the order of the document.
func keys(t reflect.Type) (known []string) {
	for f := range t.Fields() {
		if name := f.Tag.Get("key"); name != "" {
			known = append(known, name)
		}
	}
	return known
}

func join(at, key string) string { return strings.TrimPrefix(at+"."+key, ".") }

// describe is what a node is, in words.
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch node.ShortTag() {
	case "!!null":
		return "empty"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	case "!!str":
		if strings.TrimSpace(node.Value) == "" {
			return "empty"
		}
		return "text"
	}
	return "of a type of its own"
}

// hintFor is how to make node what is wanted, "" where nothing short can be said.
func hintFor(node *yaml.Node, wanted string) string {
	switch {
	case node.Kind == yaml.AliasNode:
		return "write the value out; anchors and aliases are not followed here"
	case node.Kind != yaml.ScalarNode || node.ShortTag() == "!!null":
		return ""
	case wanted == "text" && node.ShortTag() != "!!str":
		return fmt.Sprintf("put it in quotes: '%s'", node.Value)
	case wanted == "a list":
		return fmt.Sprintf("put it in brackets: [%s]", node.Value)
	}
	return ""
}
