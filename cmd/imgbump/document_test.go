package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocumented holds docs/json.md against the documents that are printed: each example has all keys, and no others.
func TestDocumented(t *testing.T) {
	for schema, d := range map[string]any{
		"imgbump/set/v1":          &setDocument{},
		"imgbump/update/v1":       &setDocument{},
		"imgbump/hold/v1":         &setDocument{},
		"imgbump/policies/v1":     &policiesDocument{},
		"imgbump/list/v1":         &listDocument{},
		"imgbump/tags/v1":         &tagsDocument{},
		"imgbump/graph/v1":        &graphDocument{},
		"imgbump/wait/v1":         &waitDocument{},
		"imgbump/serve/v1":        &serveDocument{},
		"imgbump/config-check/v1": &configDocument{},
	} {
		example := documented(t, schema)
		dec := json.NewDecoder(strings.NewReader(example))
		dec.DisallowUnknownFields()
		if err := dec.Decode(d); err != nil {
			t.Fatal(err)
		}
		got, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(example, string(got)); diff != "" {
			t.Errorf("%s: -docs/json.md +code:\n%s", schema, diff)
		}
	}
}

// documented is the example of docs/json.md with that schema.
func documented(t *testing.T, schema string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(repositoryRoot, "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(page), "```json\n")[1:] {
		if block, _, _ = strings.Cut(block, "\n```"); strings.Contains(block, `"`+schema+`"`) {
			return block
		}
	}
	t.Fatalf("docs/json.md has no example of %s", schema)
	return ""
}
