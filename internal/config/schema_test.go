package config

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// schema is what the test needs of a JSON Schema.
type schema struct {
	Ref                  string            `json:"$ref"`
	Defs                 map[string]schema `json:"$defs"`
	Type                 any
	Description          string
	Properties           map[string]schema
	AdditionalProperties *bool
	Items                *schema
}

// TestSchema holds docs/imgbump.schema.json against the parser: the same keys with the same types, and no others.
func TestSchema(t *testing.T) {
	data, err := os.ReadFile("../../docs/imgbump.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root schema
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	root.agrees(t, reflect.TypeFor[document](), root.Defs, "imgbump.yaml")
}

func (s schema) agrees(t *testing.T, with reflect.Type, defs map[string]schema, at string) {
	t.Helper()
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		s.Type, s.Items = defs[name].Type, defs[name].Items
	}
	switch with {
	case reflect.TypeFor[text]():
		s.is(t, "string", at)
		return
	case reflect.TypeFor[number]():
		s.is(t, "integer", at)
		return
	case reflect.TypeFor[truth]():
		s.is(t, "boolean", at)
		return
	}
	if with.Kind() == reflect.Slice {
		if s.is(t, "array", at); s.Items != nil {
			s.Items.agrees(t, with.Elem(), defs, at+"[]")
		} else {
			t.Errorf("%s: the schema does not say what it is a list of", at)
		}
		return
	}
	s.is(t, "object", at)
	if s.AdditionalProperties == nil || *s.AdditionalProperties {
		t.Errorf("%s: the schema allows keys that the parser refuses", at)
	}
	known := keys(with)
	for key := range s.Properties {
		if !slices.Contains(known, key) {
			t.Errorf("%s: the parser does not know %s", at, key)
		}
	}
	for _, key := range known {
		inner, ok := s.Properties[key]
		if !ok {
			t.Errorf("%s: the schema does not know %s", at, key)
			continue
		}
		f, _ := fieldOf(with, key)
		inner.agrees(t, f.Type, defs, at+"."+key)
	}
}

// is checks the type; lists and mappings may be empty headings too.
func (s schema) is(t *testing.T, want, at string) {
	t.Helper()
	allowed, several := s.Type.([]any)
	if s.Type != want && (!several || !slices.Contains(allowed, any(want))) {
		t.Errorf("%s: the schema says %v, the parser %s", at, s.Type, want)
	}
}

// TestDocumentedExample: what docs/config.md shows is right.
func TestDocumentedExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	c, problems, unused := Parse([]byte(example))
	if len(problems)+len(unused) > 0 || len(c.holds) != 1 || len(c.Rules.Fields) != 2 || len(c.exclude) != 2 {
		t.Errorf("%+v, %v, %v", c, problems, unused)
	}
}
