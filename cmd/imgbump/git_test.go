package main

import (
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/repo"
)

func TestParseAuthor(t *testing.T) {
	for author, want := range map[string]repo.Signature{
		"Deploy Bot <deploy@example.com>":                                             {Name: "Deploy Bot", Email: "deploy@example.com"},
		"github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com>": {Name: "github-actions[bot]", Email: "41898282+github-actions[bot]@users.noreply.github.com"},
		"山田, 太郎 (dev)  <t@example.jp>":                                                {Name: "山田, 太郎 (dev)", Email: "t@example.jp"},
		"root <root>":                                                                 {Name: "root", Email: "root"},

		"deploy@example.com":     {},
		"<deploy@example.com>":   {},
		" <deploy@example.com>":  {},
		"Bot <>":                 {},
		"Bot <b@c":               {},
		"Bot <b@c> and":          {},
		"Bot<b@c>":               {},
		"A <a@b> B <b@c>":        {},
		"Bot <b@c>>":             {},
		"Bot\nparent 0 <b@c>":    {},
		"Bot <b@c\ncommitter x>": {},
		"Bot <b\x00@c>":          {},
		"":                       {},
	} {
		got, ok := parseAuthor(author)
		if ok != (want != repo.Signature{}) || ok && got != want {
			t.Errorf("%q: %+v, %v", author, got, ok)
		}
	}
}
