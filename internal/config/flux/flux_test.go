package flux_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ksera524/imgbump/internal/config/flux"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// TestPolicies reads the trees of testdata: what comes of each is its file "want".
func TestPolicies(t *testing.T) {
	all, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, file := range all {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, got := "", ""
			var objects flux.Objects
			var sites []manifest.Site
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				for _, n := range objects.Add(f.Name, f.Data) {
					got += n.Where() + " " + n.Text + "\n"
				}
				found, err := manifest.Find(f.Name, f.Data, manifest.Rules{})
				if err != nil {
					t.Fatal(err)
				}
				sites = append(sites, found...)
			}
			got += told(&objects, sites, argocd.Place{Repository: "https://git.example.com/team/gitops", Prefix: "clusters"})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\nall of it:\n%s", diff, got)
			}
		})
	}
}

// told is what came of it, one thing a line.
func told(objects *flux.Objects, sites []manifest.Site, place argocd.Place) string {
	var b strings.Builder
	found, notices := objects.Policies(sites, place)
	for _, f := range found {
		fmt.Fprintf(&b, "%s %s: %s %s", f.Where(), f.Name, f.Image, f.Rules.Strategy)
		for _, part := range []struct {
			name  string
			value any
		}{
			{"in", f.Rules.Constraint}, {"allow", f.Rules.AllowTags}, {"extract", f.Rules.Extract}, {"ignore", f.Rules.IgnoreTags}, {"down", f.Rules.Descending},
			{"names", f.Scope.Names.String()}, {"keeps", f.Scope.KeepsName}, {"pin", f.PinDigest}, {"login", f.Credentials}, {"marker", f.Scope.Marker},
		} {
			if text := fmt.Sprint(part.value); text != "" && text != "[]" && text != "false" {
				fmt.Fprintf(&b, " %s=%s", part.name, text)
			}
		}
		for _, s := range sites {
			if f.Governs(s) {
				fmt.Fprintf(&b, " %s:%d", s.File, s.Line)
			}
		}
		if f.Unsupported != "" {
			b.WriteString(" UNSUPPORTED " + f.Unsupported)
		}
		b.WriteString("\n")
		notices = append(notices, f.Notices...)
	}
	for _, n := range notices {
		fmt.Fprintf(&b, "%s %s\n", n.Where(), n.Text)
	}
	return b.String()
}

// TestBounds has thousands of policies of one name, and thousands of places for that name.
func TestBounds(t *testing.T) {
	var text strings.Builder
	text.WriteString("apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\nmetadata: {name: a}\nspec: {image: team/app}\n")
	for range 2000 {
		text.WriteString("---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {name: a}\nspec:\n  imageRepositoryRef: {name: a}\n  policy: {alphabetical: {}}\n")
	}
	var objects flux.Objects
	if notices := objects.Add("a.yaml", []byte(text.String())); len(notices) > 0 {
		t.Fatal(notices[0])
	}
	var sites []manifest.Site
	for i := range 2000 {
		sites = append(sites, manifest.Site{File: "b.yaml", Marker: "n:a", Ref: imageref.Ref{Repository: fmt.Sprintf("team/app%d", i)}})
	}
	for range 2 {
		found, notices := objects.Policies(sites, argocd.Place{})
		if len(found) != 52_000 || len(notices) != 1 || !strings.Contains(notices[0].Text, "more than 50000") {
			t.Errorf("%d policies, %v", len(found), notices)
		}
	}
}

// FuzzPolicies reads anything as objects of Flux.
func FuzzPolicies(f *testing.F) {
	f.Add("semver: {range: 1.x}", "pattern: '^a'", "a")
	f.Add("numerical: {order: desc}", "{pattern: '(?P<x>.*)', extract: $x}", "x*[")
	f.Fuzz(func(t *testing.T, rule, filter, dir string) {
		text := "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\nmetadata: {name: a, namespace: n}\nspec:\n  image: a\n  exclusionList: [" + fmt.Sprintf("%q", filter) + "]\n---\n" +
			"apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {name: a, namespace: n}\nspec:\n  imageRepositoryRef: {name: a}\n  policy:\n    " + rule + "\n  filterTags:\n    " + filter + "\n---\n" +
			"apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\nmetadata: {name: a, namespace: n}\nspec:\n  update: {path: " + fmt.Sprintf("%q", dir) + "}\n"
		var objects flux.Objects
		objects.Add("a.yaml", []byte(text))
		told(&objects, []manifest.Site{{File: "a.yaml", Marker: "n:a"}}, argocd.Place{})
	})
}
