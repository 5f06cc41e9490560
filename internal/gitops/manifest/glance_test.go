package manifest_test

import (
	"path/filepath"
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestMayName holds it against Find: what it rules out must not have a site, in any form that a test has.
func TestMayName(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no forms to try: %v", err)
	}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range archive.Files {
			sites, err := manifest.Find(file.Name, file.Data, manifest.Rules{})
			if err == nil && len(sites) > 0 && !manifest.MayName(file.Data, manifest.Rules{}) {
				t.Errorf("%s, %s: has sites, and MayName rules it out", path, file.Name)
			}
		}
	}
	for content, want := range map[string]bool{
		"kind: Service\nspec: {selector: {app: web}}\n":  false,
		"a: {IMAGE: {name: web, tag: 1}}\n":              true,
		`a: {"im\x61ge": web}`:                           true,
		"a: {repository: team/web, pullPolicy: Never}\n": true,
	} {
		if got := manifest.MayName([]byte(content), manifest.Rules{}); got != want {
			t.Errorf("%q: %v", content, got)
		}
	}
	if !manifest.MayName(nil, manifest.Rules{Include: true}) || !manifest.MayName(nil, manifest.Rules{Fields: make([]manifest.FieldRule, 1)}) {
		t.Error("rules find sites by other names")
	}
}
