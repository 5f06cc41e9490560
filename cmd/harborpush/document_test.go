package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocumented holds docs/json.md against the documents that we print: each example has all keys, and no others.
func TestDocumented(t *testing.T) {
	for heading, d := range map[string]any{
		"build, harborpush push, harborpush append, harborpush copy": &document{},
		"check": &checkDocument{},
		"scan":  &scanDocument{},
		"prune": &pruneDocument{},
		"next":  &nextDocument{},
	} {
		page, err := os.ReadFile(filepath.Join("..", "..", "docs", "json.md"))
		if err != nil {
			t.Fatal(err)
		}
		_, example, _ := strings.Cut(string(page), "## harborpush "+heading+"\n")
		_, example, _ = strings.Cut(example, "```json\n")
		example, _, _ = strings.Cut(example, "\n```")
		dec := json.NewDecoder(strings.NewReader(example))
		dec.DisallowUnknownFields()
		if err := dec.Decode(d); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		enc := json.NewEncoder(&got)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(d); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(example+"\n", got.String()); diff != "" {
			t.Errorf("-docs/json.md +code:\n%s", diff)
		}
	}
}
