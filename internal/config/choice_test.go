package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
)

func TestImages(t *testing.T) {
	c, problems, _ := config.Parse([]byte("version: 1\nimages:\n- name: harbor.example.com/team/app\n- name: nginx\n  policy: {}\n- name: team/app\n  paths: [apps]\n  policy:\n" +
		"    {strategy: Numerical, allow-tags: ['regexp:^b(\\d+)$'], extract: $1, ignore-tags: [b7], platforms: [linux/arm64], order: desc, min-age: 2d, pre-release: true}\n"))
	if len(problems) > 0 || len(c.Images) != 2 {
		t.Fatalf("%v, %+v", problems, c.Images)
	}
	if f := c.Images[0]; f.Rules.Strategy != policy.Semver || f.Where() != "imgbump.yaml:5" || f.Scope.Paths != nil || f.String() != "semver (imgbump.yaml:5)" {
		t.Errorf("%+v", f)
	}
	want := policy.Rules{
		Strategy: policy.Numerical, AllowTags: `regexp:^b(\d+)$`, Extract: "$1", IgnoreTags: []string{"b7"}, Platforms: []string{"linux/arm64"},
		Descending: true, MinAge: 48 * time.Hour, PreReleases: true,
	}
	if diff := cmp.Diff(want, c.Images[1].Rules); diff != "" {
		t.Error(diff)
	}
	site := func(file, ref string) manifest.Site {
		r, err := imageref.Parse(ref)
		if err != nil {
			t.Fatal(err)
		}
		return manifest.Site{File: file, Ref: r, Replaces: r.Bare()}
	}
	for file, want := range map[string]bool{"apps/a.yaml": true, "b.yaml": false} {
		if got := c.Images[1].Governs(site(file, "docker.io/team/app:1")); got != want {
			t.Errorf("%s: %v", file, got)
		}
	}
	if c.Images[1].Governs(site("apps/a.yaml", "nginx")) {
		t.Error("another image")
	}
}

func TestComment(t *testing.T) {
	ref, err := imageref.Parse("team/app:1.2")
	if err != nil {
		t.Fatal(err)
	}
	site := manifest.Site{File: "a.yaml", Line: 7, Field: "image", Ref: ref, RuleLine: 6}
	for rule, want := range map[string]policy.Rules{
		"semver":                {Strategy: policy.Semver},
		"semver >=1.2 <2":       {Strategy: policy.Semver, Constraint: ">=1.2 <2"},
		"semver =1.2.3":         {Strategy: policy.Semver, Constraint: "=1.2.3"},
		"suffix":                {Strategy: policy.Suffix},
		"semver ^1 pre-release": {Strategy: policy.Semver, Constraint: "^1", PreReleases: true},
		`numerical allow-tags=regexp:^b(\d+)$ extract=$1 ignore-tags=a,b order=desc`: {
			Strategy: policy.Numerical, AllowTags: `regexp:^b(\d+)$`, Extract: "$1", IgnoreTags: []string{"a", "b"}, Descending: true},
		"newest-build allow-tags=main-* allow-tags=v* platform=linux/arm64 platform=linux/amd64 min-age=2d": {
			Strategy: policy.NewestBuild, AllowTags: "regexp:(?:^main-.*$)|(?:^v.*$)", Platforms: []string{"linux/arm64", "linux/amd64"}, MinAge: 48 * time.Hour},
	} {
		site.Rule = rule
		f, err := config.Comment(site)
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		if diff := cmp.Diff(want, f.Rules); diff != "" || f.Where() != "a.yaml:6" || !f.Governs(site) {
			t.Errorf("%s: %+v: %s", rule, f, diff)
		}
		other := site
		other.Line++
		if f.Governs(other) {
			t.Errorf("%s governs another place", rule)
		}
	}
	for rule, want := range map[string]string{
		"see the wiki":               `there is no strategy "see"`,
		"semver nonsense":            "improper constraint",
		"semver min-age=soon":        `"soon" is no time span`,
		"numerical order=up":         `order "up"`,
		"semver allow-tags=regexp:[": "error parsing regexp",
		"semver ignore-tags=[":       "syntax error in pattern",
		"digest platform=arm":        "is not OS/ARCH",
		"semver extract=$1":          "nothing to extract from",
		"semver ^1 unknown=1":        "improper constraint",
	} {
		site.Rule = rule
		if _, err := config.Comment(site); fault.KindOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), want) || !strings.HasPrefix(err.Error(), "comment a.yaml:6: ") || fault.HintOf(err) == "" {
			t.Errorf("%s: %v (%s)", rule, err, fault.HintOf(err))
		}
	}
	if f, err := config.Comment(manifest.Site{}); f != nil || err != nil {
		t.Errorf("%+v, %v", f, err)
	}
}

// FuzzComment holds that no comment is anything but a policy or an error of kind Usage.
func FuzzComment(f *testing.F) {
	f.Add("semver >=1 <2 allow-tags=regexp:^v pre-release")
	f.Add("digest platform=linux/arm64")
	f.Fuzz(func(t *testing.T, rule string) {
		found, err := config.Comment(manifest.Site{File: "a", Rule: rule, RuleLine: 1})
		if err != nil && fault.KindOf(err) != fault.Usage || err == nil && found == nil && len(strings.Fields(rule)) > 0 {
			t.Errorf("%q: %+v, %v", rule, found, err)
		}
	})
}
