package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/policy"
)

// TestBelow has choices that go back behind what a place names, and some of which that cannot be told.
func TestBelow(t *testing.T) {
	for _, tt := range []struct {
		rules         policy.Rules
		tags, current string
		want          bool
	}{
		{policy.Rules{}, "1.0.0 1.2.0", "1.3.0", true},
		{policy.Rules{}, "1.0.0 1.2.0", "1.1.0", false},
		{policy.Rules{}, "1.0.0 1.2.0", "1.2.0", false},
		{policy.Rules{}, "1.2.0", "v1.2.0", false},
		{policy.Rules{Constraint: "~1.2"}, "1.2.0 1.3.0", "1.3.0", true},
		{policy.Rules{Constraint: "~1.2"}, "1.2.0", "1.3.0-rc.1", true},
		{policy.Rules{IgnoreTags: []string{"1.3*"}}, "1.2.0 1.3.0", "1.3.0", true},
		{policy.Rules{}, "1.2.0", "latest", false},
		{policy.Rules{}, "1.2.0", "20240105", false},
		{policy.Rules{}, "1.2.0", "4815162", false},
		{policy.Rules{}, "latest", "1.0.0", false},
		{policy.Rules{Constraint: "^16"}, "16.0 16.1", "17", true},
		{policy.Rules{Constraint: "^16"}, "16.0 16.1", "v17", true},
		{policy.Rules{Constraint: "^16"}, "16.0 16.1", "17-alpine", true},
		{policy.Rules{Constraint: "^16"}, "16.0 16.1", "16", false},
		{policy.Rules{Constraint: "^9"}, "9.6", "10", true},
		{policy.Rules{AllowTags: `regexp:^1.2-(\d+)$`, Extract: "$1"}, "1.2-7", "1.2-20240105", false},
		{policy.Rules{Constraint: "^9"}, "9.6", "2024", false},
		{policy.Rules{Constraint: "^16"}, "16.1", "2024-01-15", false},
		{policy.Rules{Strategy: policy.FluxSemver, Constraint: "16.x"}, "16.1.0", "17", true},
		{policy.Rules{Strategy: policy.FluxSemver, Constraint: "1.x"}, "1.2.0", "2.0.0", true},
		{policy.Rules{Strategy: policy.Suffix, Constraint: "1.27-alpine"}, "1.28-alpine", "1.29-alpine", true},
		{policy.Rules{Strategy: policy.Suffix, Constraint: "1.27-alpine"}, "1.28-alpine", "1.29", false},
		{policy.Rules{Strategy: policy.Calver}, "2024.1", "2024.2", true},
		{policy.Rules{Strategy: policy.Numerical}, "7 12", "13", true},
		{policy.Rules{Strategy: policy.Numerical, Descending: true}, "7 12", "5", true},
		{policy.Rules{Strategy: policy.Numerical, Descending: true}, "7 12", "13", false},
		{policy.Rules{Strategy: policy.Numerical, AllowTags: `regexp:^main-(\d+)$`, Extract: "$1"}, "main-7", "main-8", true},
		{policy.Rules{Strategy: policy.Numerical, AllowTags: `regexp:^main-(\d+)$`, Extract: "$1"}, "main-7", "8", false},
		{policy.Rules{Strategy: policy.Alphabetical}, "a b", "c", true},
		{policy.Rules{Strategy: policy.Alphabetical, AllowTags: "regexp:^20"}, "2024", "latest", false},
		{policy.Rules{Strategy: policy.Digest, Constraint: "1.0"}, "1.0", "2.0", false},
	} {
		d := compile(t, tt.rules).Rank(named(strings.Fields(tt.tags)...)).Decide(now)
		if got := d.Below(tt.current); got != tt.want {
			t.Errorf("%+v chooses %s of %s, below %s: %v", tt.rules, d.Tag, tt.tags, tt.current, got)
		}
	}
}

// TestBelowByDate has an image that is too young: the older one is behind it.
func TestBelowByDate(t *testing.T) {
	made := func(name string, age time.Duration) policy.Tag {
		return policy.Tag{Name: name, Digest: "sha256:" + name, Builds: []image.Build{{Created: now.Add(-age)}}}
	}
	r := compile(t, policy.Rules{Strategy: policy.NewestBuild, MinAge: 24 * time.Hour}).Rank([]policy.Tag{made("old", 48*time.Hour), made("older", 72*time.Hour), made("young", time.Hour)})
	if err := r.Settle(now, nil); err != nil {
		t.Fatal(err)
	}
	d := r.Decide(now)
	if d.Tag != "old" || !d.Below("young") || d.Below("older") || d.Below("nosuch") {
		t.Errorf("%s, below young %v, older %v, nosuch %v", d.Tag, d.Below("young"), d.Below("older"), d.Below("nosuch"))
	}
	// What a policy leaves out has a date too.
	d = compile(t, policy.Rules{Strategy: policy.NewestBuild, IgnoreTags: []string{"pr-*"}}).Rank([]policy.Tag{made("dev-3", 48*time.Hour), made("pr-7", time.Hour), made("pr-6", 72*time.Hour)}).Decide(now)
	if d.Tag != "dev-3" || !d.Below("pr-7") || d.Below("pr-6") {
		t.Errorf("%s, below pr-7 %v, below pr-6 %v", d.Tag, d.Below("pr-7"), d.Below("pr-6"))
	}
	if (policy.Decision{}).Below("1.0") {
		t.Error("nothing is below")
	}
}

// TestAllow has lists of patterns as one.
func TestAllow(t *testing.T) {
	for list, want := range map[string]string{
		"": "", "any": "any", "regexp:^v": "regexp:^v", "a any": "any",
		"1.*": `regexp:(?:^1\..*$)`, "v? regexp:^x [a-c]$": `regexp:(?:^v.$)|(?:^x)|(?:^[a-c]\$$)`, "é*": `regexp:(?:^é.*$)`,
	} {
		if got := policy.Allow(strings.Fields(list)); got != want {
			t.Errorf("%s: %s, want %s", list, got, want)
		}
	}
	p := compile(t, policy.Rules{AllowTags: policy.Allow([]string{"main-*", "v[0-9]", "é?"})})
	for tag, want := range map[string]bool{"main-1": true, "xmain-1": false, "v1": true, "v12": false, "éa": true, "1.0": false} {
		if p.Admits(tag) != want {
			t.Errorf("%s: %v", tag, !want)
		}
	}
	if _, err := policy.New(policy.Rules{Strategy: policy.Semver, AllowTags: policy.Allow([]string{"a", "[b"})}); fault.KindOf(err) != fault.Usage {
		t.Errorf("error %v", err)
	}
}

// TestFor has strategies that start from a place's own tag.
func TestFor(t *testing.T) {
	for _, tt := range []struct {
		rules policy.Rules
		want  string
	}{
		{policy.Rules{Strategy: policy.Suffix}, "1.0"},
		{policy.Rules{Strategy: policy.Digest}, "1.0"},
		{policy.Rules{Strategy: policy.Digest, Constraint: "latest"}, "latest"},
		{policy.Rules{Strategy: policy.Semver}, ""},
	} {
		if got := tt.rules.For("1.0").Constraint; got != tt.want {
			t.Errorf("%+v: %q", tt.rules, got)
		}
	}
}
