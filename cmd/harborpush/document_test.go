package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocumented holds docs/json.md against the document that push prints: the example has all keys, and no others.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "## harborpush build, harborpush push")
	_, example, _ = strings.Cut(example, "```json\n")
	example, _, _ = strings.Cut(example, "\n```")
	dec := json.NewDecoder(strings.NewReader(example))
	dec.DisallowUnknownFields()
	var d document
	if err := dec.Decode(&d); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example, string(got)); diff != "" {
		t.Errorf("-docs/json.md +code:\n%s", diff)
	}
}
