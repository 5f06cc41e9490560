package manifest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// TestHostileFiles reads files that are made to cost time or memory; a reader that falls for one does not come back.
func TestHostileFiles(t *testing.T) {
	aliases := "a0: &a0 {x: y}\n"
	merges := "a0: &a0 {x: y}\n"
	for i := range 60 {
		aliases += fmt.Sprintf("a%d: &a%d [*a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i)
		merges += fmt.Sprintf("a%d: &a%d {<<: [*a%d, *a%d, *a%d]}\n", i+1, i+1, i, i, i)
	}
	block := "image: app:1\n"
	for range 40 {
		block = "patch: |\n " + strings.ReplaceAll(strings.TrimSuffix(block, "\n"), "\n", "\n ") + "\n"
	}
	for name, tt := range map[string]struct {
		in    string
		sites int
	}{
		"aliases of aliases":      {aliases + "image: *a60\nimages: *a60\n", 0},
		"merges of merges":        {merges + "image: {<<: *a60}\nother: {image: *a60}\n", 0},
		"a merge of itself":       {"image: &a {<<: *a, b: &b {<<: *a}}\nc: {<<: [*b, *a]}\n", 0},
		"a list of itself":        {"images: &a [*a, *a, {image: app:1}]\n", 1},
		"one long line":           {"{é: [" + strings.Repeat("{image: app:1}, ", 50_000) + "]}", 50_000},
		"one long value":          {"a: " + strings.Repeat("x", 8<<20) + "\nimage: app:1\n", 1},
		"one long block":          {"values: |\n" + strings.Repeat("  image1: \"\"\n", 100_000) + "  image: app:1\n", 1},
		"many sites in one block": {"values: |\n" + strings.Repeat("  - image: app:1\n", 20_000), 20_000},
		"blocks in blocks":        {block, 0},
		"many comments":           {strings.Repeat("# imgbump: x\n", 10_000) + strings.Repeat("image: app:1\n", 1), 1},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := manifest.Find("a.yaml", []byte(tt.in), manifest.Rules{Fields: []manifest.FieldRule{{File: "a.yaml", Path: "*.*.*.ref"}}})
			if err != nil || len(found) != tt.sites {
				t.Errorf("%d sites, %v, want %d", len(found), err, tt.sites)
			}
		})
	}
}

func TestTooDeep(t *testing.T) {
	for name, in := range map[string]string{
		"lists":    strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"mappings": strings.Repeat("{a: ", 5000) + "b" + strings.Repeat("}", 5000),
		"dashes":   strings.Repeat("- ", 5000) + "b",
		"reader":   strings.Repeat("[", 200_000),
	} {
		var syntax *manifest.SyntaxError
		if _, err := manifest.Find("a.yaml", []byte(in), manifest.Rules{}); !errors.As(err, &syntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
