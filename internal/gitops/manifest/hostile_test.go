package manifest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
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

// TestHostileSizes reads files of a megabyte whose lists of keys and merges grow with them. Work that grows with the square
// of the file takes minutes for them, so that the test does not come back.
func TestHostileSizes(t *testing.T) {
	lines := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, strings.ReplaceAll(format, "%d", "%[1]d"), i)
		}
		return b.String()
	}
	var chain, pairs strings.Builder
	for i := 1; i < 30_000; i++ {
		fmt.Fprintf(&chain, "a%d: &a%d\n  <<: *a%d\n", i, i, i-1)
		fmt.Fprintf(&pairs, "a%d: &a%d {<<: [*a%d, *a%d]}\n", i, i, i-1, i-1)
	}
	base := "a0: &a0 {repository: nginx, tag: \"1.0\"}\n"
	wide := "w: &w\n  <<: [" + lines(20_000, "*p%d, ") + "*p0]\n"
	for name, tt := range map[string]struct {
		in    string
		sites int
	}{
		"a chain of merges":      {base + chain.String() + "image: app:1\n", 1},
		"a chain of lists":       {base + pairs.String() + "image: app:1\n", 1},
		"many merges of many":    {lines(20_000, "p%d: &p%d {a: b}\n") + wide + lines(30_000, "i%d: {<<: *w}\n") + "image: app:1\n", 1},
		"one key again":          {"a:\n" + strings.Repeat("  image: nginx:1.0\n", 50_000), 50_000},
		"many marked":            {lines(20_000, "image%d: nginx # {\"$imagepolicy\": \"a:b%d:tag\"}\n") + "image: app:1\n", 1},
		"many keys of one image": {"a:\n" + lines(40_000, "  a%dImage: nginx\n") + lines(20_000, "  a%dImageTag: v1\n"), 40_000},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := manifest.Find("a.yaml", []byte(tt.in), manifest.Rules{})
			if err != nil || len(found) != tt.sites {
				t.Errorf("%d sites, %v, want %d", len(found), err, tt.sites)
			}
		})
	}
}

// TestMergesTooDeep asks for a name at the end of a long chain first.
func TestMergesTooDeep(t *testing.T) {
	in := "a: &a0 {x: y}\n"
	for i := range 300 {
		in = fmt.Sprintf("%sa: &a%d {<<: *a%d}\n", in, i+1, i)
	}
	var syntax *manifest.SyntaxError
	if _, err := manifest.Find("a.yaml", []byte(in+"image: {<<: *a300}\n"), manifest.Rules{}); !errors.As(err, &syntax) {
		t.Error(err)
	}
}

// TestUnreadable has what is no YAML, and what is no JSON.
func TestUnreadable(t *testing.T) {
	for _, tt := range []struct {
		file, in string
		want     manifest.SyntaxError
	}{
		{"a.yaml", `a: "\d"`, manifest.SyntaxError{Line: 1, Message: "not valid YAML: found unknown escape character"}},
		{"a.yaml", "a: 1\nimage: \"x.io\\/app:1\"", manifest.SyntaxError{Line: 2, Message: `the escape \/ is not supported; write /`}},
		{"a.yaml", "a: *x", manifest.SyntaxError{Message: "not valid YAML: unknown anchor 'x' referenced"}},
		{"a.yaml", "a: 1\n\tb: 2", manifest.SyntaxError{Line: 2, Message: "not valid YAML: found a tab character that violates indentation"}},
		{"a.json", "{\n\"a\": 1,\n\"image\": \"x.io\\/app:1\" // why\n}", manifest.SyntaxError{Line: 3, Message: "not valid JSON: invalid character '/' after object key:value pair"}},
		{"a.json", "\ufeff{\n\"a\": \"\\d\"}", manifest.SyntaxError{Line: 2, Message: "not valid JSON: invalid character 'd' in string escape code"}},
		{"a.json", "{\n\"a\": [1,\n", manifest.SyntaxError{Line: 2, Message: "not valid JSON: unexpected end of JSON input"}},
	} {
		var got *manifest.SyntaxError
		if _, err := manifest.Find(tt.file, []byte(tt.in), manifest.Rules{}); !errors.As(err, &got) || *got != tt.want {
			t.Errorf("%q: %+v", tt.in, got)
		}
	}
}

// TestEscapedSlash has the escape of JSON in a file, and in a block of one.
func TestEscapedSlash(t *testing.T) {
	for _, tt := range []struct{ file, in, want string }{
		{"a.json", `{"apiVersion": "v1", "kind": "A", "a": "\\\/\"\/é", "image": "x.io\/team\/app:1", "b": {"image": "x.io/team/app:1"}}`,
			`{"apiVersion": "v1", "kind": "A", "a": "\\\/\"\/é", "image": "x.io/team/app:v2", "b": {"image": "x.io/team/app:v2"}}`},
		{"a.yaml", "\ufeff{\"a\": \"\\/\", \"image\": {\"repository\": \"x.io\\/team\\/app\", \"tag\": \"1\"}}\r\n",
			"\ufeff{\"a\": \"\\/\", \"image\": {\"repository\": \"x.io\\/team\\/app\", \"tag\": \"v2\"}}\r\n"},
		{"a.json", `{"apiVersion": "v1", "kind": "A", "image": {"repository": "x.io/team\/app", "tag" : 1}}`,
			`{"apiVersion": "v1", "kind": "A", "image": {"repository": "x.io/team\/app", "tag" : "v2"}}`},
		{"a.yaml", "apiVersion: v1\nkind: A\npatch: |\n  {\"image\":\n   \"x.io\\/team\\/app:1\"}\n", "apiVersion: v1\nkind: A\npatch: |\n  {\"image\":\n   \"x.io/team/app:v2\"}\n"},
	} {
		found, err := manifest.Find(tt.file, []byte(tt.in), manifest.Rules{})
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %+v, %v", tt.in, found, err)
		}
		var edits []manifest.Edit
		for _, site := range found {
			if got := site.Ref.String(); got != "x.io/team/app:1" {
				t.Errorf("%s: %s", tt.in, got)
			}
			made, err := site.Set(imageref.Ref{Registry: site.Ref.Registry, Repository: site.Ref.Repository, Tag: "v2"}, false)
			if err != nil {
				t.Fatal(err)
			}
			edits = append(edits, made...)
		}
		if after, err := manifest.Apply([]byte(tt.in), edits); err != nil || string(after) != tt.want {
			t.Errorf("%s, %v, not %s", after, err, tt.want)
		}
		if refs, err := manifest.Reread(found, []byte(tt.in), []byte(tt.want), edits, manifest.Rules{}); err != nil || refs[0].Tag != "v2" {
			t.Errorf("%s: read as %v, %v", tt.want, refs, err)
		}
	}
}
