package retention

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func digest(name string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))) }

// image is an artifact that was pushed so many days ago.
func image(name string, days int, tags ...string) Artifact {
	a := Artifact{Digest: digest(name), Pushed: now.AddDate(0, 0, -days)}
	for _, t := range tags {
		a.Tags = append(a.Tags, Tag{Name: t, Pushed: a.Pushed})
	}
	return a
}

func index(a Artifact, children ...string) Artifact {
	for _, c := range children {
		a.Children = append(a.Children, digest(c))
	}
	return a
}

func signed(a Artifact, by string) Artifact {
	a.Accessories = append(a.Accessories, digest(by))
	return a
}

func attached(to string) string { return "sha256-" + strings.TrimPrefix(digest(to), "sha256:") }

func TestDecide(t *testing.T) {
	immutable := image("a", 9, "rel-1")
	immutable.Tags[0].Immutable = true
	retagged := image("a", 90, "prod")
	retagged.Tags[0].Pushed = now.AddDate(0, 0, -1)
	for name, tt := range map[string]struct {
		rules     Rules
		artifacts []Artifact
		hidden    []string
		want      map[string]string // why by name, "" for what goes
	}{
		"last": {rules: Rules{Last: 2}, artifacts: []Artifact{image("a", 3, "1"), image("b", 1), image("c", 2, "2")},
			want: map[string]string{"a": "", "b": "number 1 of the newest 2", "c": "number 2 of the newest 2"}},
		"within": {rules: Rules{Within: 30 * day, Now: now}, artifacts: []Artifact{image("a", 30), image("b", 31)},
			want: map[string]string{"a": "pushed 2026-10-24, within 30d", "b": ""}},
		"within, tagged since": {rules: Rules{Within: 2 * day, Now: now}, artifacts: []Artifact{retagged}, want: map[string]string{"a": "pushed 2026-11-22, within 2d"}},
		"tags": {rules: Rules{Tags: []string{"v*", "latest"}}, artifacts: []Artifact{image("a", 1, "1", "v1"), image("b", 1, "latest"), image("c", 1, "1v")},
			want: map[string]string{"a": "tag v1 is like v*", "b": "tag latest is like latest", "c": ""}},
		"semver": {rules: Rules{Semver: true}, artifacts: []Artifact{image("a", 1, "1.9.0"), image("b", 3, "x", "v1.10.0"), image("c", 1, "1.11.0-rc.1"), image("d", 1, "20260101"), image("e", 1, "99")},
			want: map[string]string{"a": "", "b": "v1.10.0 is the highest version", "c": "", "d": "", "e": ""}},
		"semver, none released": {rules: Rules{Semver: true}, artifacts: []Artifact{image("a", 1, "1.0.0-rc.2"), image("b", 3, "1.0.0-rc.10")},
			want: map[string]string{"a": "", "b": "1.0.0-rc.10 is the highest version"}},
		"immutable": {artifacts: []Artifact{immutable}, want: map[string]string{"a": "tag rel-1 is immutable"}},
		"reference by tag": {rules: Rules{References: []Reference{{Repository: "team/app", Tag: "1", Where: "f.yaml:3"}, {Repository: "team/other", Tag: "2"}}},
			artifacts: []Artifact{image("a", 1, "1"), image("b", 1, "2")}, want: map[string]string{"a": "tag 1 is named by f.yaml:3", "b": ""}},
		"reference by digest": {rules: Rules{References: []Reference{{Digest: digest("a"), Where: "f.yaml:3"}}},
			artifacts: []Artifact{image("a", 1), image("b", 1)}, want: map[string]string{"a": "named by f.yaml:3", "b": ""}},
		"reference to the repository": {rules: Rules{References: []Reference{{Repository: "team/app", Where: "f.yaml:3"}, {Repository: "team/ap", Where: "f.yaml:4"}}},
			artifacts: []Artifact{image("a", 1), image("b", 1, "2")}, want: map[string]string{"a": "the repository is named without a tag by f.yaml:3", "b": "the repository is named without a tag by f.yaml:3"}},
		"reference to the beginning of its name": {rules: Rules{References: []Reference{{Repository: "team/a" + Any, Where: "f.yaml:3"}, {Repository: "team/b" + Any, Where: "f.yaml:4"}}},
			artifacts: []Artifact{image("a", 1)}, want: map[string]string{"a": "the repository is named without a tag by f.yaml:3"}},
		"reference to a child": {rules: Rules{References: []Reference{{Digest: digest("child"), Where: "f.yaml:3"}}},
			artifacts: []Artifact{index(image("a", 1, "1"), "child")}, want: map[string]string{"a": "holds " + Brief(digest("child")) + ", named by f.yaml:3"}},
		"reference to a signature": {rules: Rules{References: []Reference{{Digest: digest("s"), Where: "f.yaml:3"}}},
			artifacts: []Artifact{signed(image("a", 1, "1"), "s")}, want: map[string]string{"a": "holds " + Brief(digest("s")) + ", named by f.yaml:3"}},
		"reference to what is not shown": {artifacts: []Artifact{index(image("a", 1), "child"), image("b", 1), signed(image("c", 1), "s")}, hidden: []string{digest("inner")},
			want: map[string]string{"a": "may hold " + Brief(digest("inner")) + ", which a manifest names", "b": "", "c": "may hold " + Brief(digest("inner")) + ", which a manifest names"}},
		"child of what stays": {rules: Rules{Last: 1}, artifacts: []Artifact{index(image("a", 1, "1"), "b"), image("b", 2, "1-amd64")},
			want: map[string]string{"a": "number 1 of the newest 1", "b": "part of " + Brief(digest("a"))}},
		"index of what stays": {rules: Rules{Last: 1}, artifacts: []Artifact{index(image("a", 2, "1"), "b"), image("b", 1)},
			want: map[string]string{"a": "holds " + Brief(digest("b")) + ", which stays", "b": "number 1 of the newest 1"}},
		"index of what stays by its tag": {rules: Rules{Last: 1}, artifacts: []Artifact{index(image("a", 2, "1"), "b"), image("b", 1, "2")},
			want: map[string]string{"a": "", "b": "number 1 of the newest 1"}},
		"attached by tag": {rules: Rules{Last: 1}, artifacts: []Artifact{image("s", 0, attached("a")+".sig"), image("a", 1, "1"), image("r", 0, attached("b")), image("b", 2, "2"), image("o", 0, "sha256-abc")},
			want: map[string]string{"s": "", "a": "", "r": "", "b": "", "o": "number 1 of the newest 1"}},
		"attached to what is gone": {rules: Rules{Last: 1}, artifacts: []Artifact{image("s", 0, attached("gone")+".sig"), image("a", 1, "1")},
			want: map[string]string{"s": "", "a": "number 1 of the newest 1"}},
		"attached to what stays": {rules: Rules{Last: 1}, artifacts: []Artifact{image("s", 0, attached("a")+".sig"), image("a", 1, "1"), image("c", 0, attached("child")), index(image("b", 2), "child")},
			want: map[string]string{"s": "belongs to " + Brief(digest("a")), "a": "number 1 of the newest 1", "b": "", "c": ""}},
		"two reasons": {rules: Rules{Last: 1, Tags: []string{"1"}}, artifacts: []Artifact{image("a", 1, "1")},
			want: map[string]string{"a": "tag 1 is like 1; number 1 of the newest 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			names := map[string]string{}
			for name := range tt.want {
				names[digest(name)] = name
			}
			for _, d := range tt.rules.Decide(Repository{Name: "team/app", Artifacts: tt.artifacts, Hidden: tt.hidden}) {
				got[names[d.Digest]] = d.Why
				if !d.Keep {
					got[names[d.Digest]] = ""
					if d.Why != "no rule keeps it" {
						t.Errorf("%s goes: %s", names[d.Digest], d.Why)
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	if err := (Rules{Tags: []string{"v*", "[ab]-?"}}).Check(); err != nil {
		t.Error(err)
	}
	for _, pattern := range []string{"[", ""} {
		if err := (Rules{Tags: []string{pattern}}).Check(); err == nil {
			t.Errorf("%q was taken", pattern)
		}
	}
}

const day = 24 * time.Hour

// registry is how Harbor deletes: an index takes its children without tags along, and what an index refers to stays.
type registry struct {
	artifacts map[string]Artifact // hidden children and accessories too
}

func (r registry) referenced(digest string) bool {
	for _, a := range r.artifacts {
		if slices.Contains(a.Children, digest) {
			return true
		}
	}
	return false
}

func (r registry) delete(digest string) error {
	a := r.artifacts[digest]
	if slices.ContainsFunc(a.Tags, func(t Tag) bool { return t.Immutable }) {
		return fmt.Errorf("%s is immutable", Brief(digest))
	}
	if r.referenced(digest) {
		return fmt.Errorf("an index refers to %s", Brief(digest))
	}
	r.drop(a)
	return nil
}

func (r registry) drop(a Artifact) {
	delete(r.artifacts, a.Digest)
	for _, acc := range a.Accessories {
		delete(r.artifacts, acc)
	}
	for _, child := range a.Children {
		if c, ok := r.artifacts[child]; ok && len(c.Tags) == 0 && !r.referenced(child) {
			r.drop(c)
		}
	}
}

// listed is what the registry shows: not children without tags, nor accessories.
func (r registry) listed() []Artifact {
	accessories := map[string]bool{}
	for _, a := range r.artifacts {
		for _, acc := range a.Accessories {
			accessories[acc] = true
		}
	}
	var shown []Artifact
	for _, d := range slices.Sorted(maps.Keys(r.artifacts)) {
		if a := r.artifacts[d]; !accessories[d] && (len(a.Tags) > 0 || !r.referenced(d)) {
			shown = append(shown, a)
		}
	}
	return shown
}

// invent makes a repository by chance: images, indexes of them, signatures of both kinds.
func invent(rnd *rand.Rand) registry {
	r := registry{map[string]Artifact{}}
	var made []string
	for i := range 3 + rnd.IntN(14) {
		name := fmt.Sprint(i)
		a := image(name, rnd.IntN(60))
		for n := range rnd.IntN(3) {
			a.Tags = append(a.Tags, Tag{Name: fmt.Sprintf("%d.%d.0", i, n), Pushed: a.Pushed, Immutable: rnd.IntN(15) == 0})
		}
		switch chance := rnd.IntN(6); {
		case chance < 2 && len(made) > 0:
			for range 1 + rnd.IntN(3) {
				a = index(a, made[rnd.IntN(len(made))])
			}
		case chance == 2 && len(made) > 0:
			a.Tags = []Tag{{Name: attached(made[rnd.IntN(len(made))]) + ".sig", Pushed: a.Pushed}}
		case chance == 3:
			s := image("signature"+name, 0)
			r.artifacts[s.Digest] = s
			a = signed(a, "signature"+name)
		}
		r.artifacts[a.Digest] = a
		made = append(made, name)
	}
	return r
}

// inventRules makes rules by chance, with references to what is there.
func inventRules(rnd *rand.Rand, r registry) Rules {
	rules := Rules{Last: rnd.IntN(4), Now: now, Semver: rnd.IntN(2) == 0}
	if rnd.IntN(2) == 0 {
		rules.Within = time.Duration(1+rnd.IntN(40)) * day
	}
	for _, d := range slices.Sorted(maps.Keys(r.artifacts)) {
		switch a := r.artifacts[d]; {
		case rnd.IntN(6) == 0:
			rules.References = append(rules.References, Reference{Digest: d, Where: "f.yaml:1"})
		case rnd.IntN(6) == 0 && len(a.Tags) > 0:
			rules.References = append(rules.References, Reference{Repository: "team/app", Tag: a.Tags[0].Name, Where: "f.yaml:2"})
		}
	}
	return rules
}

// hidden is what the manifests name by digest, the registry has, and no listed artifact shows.
func hidden(rules Rules, r registry) []string {
	shown := map[string]bool{}
	for _, a := range r.listed() {
		shown[a.Digest] = true
		for _, d := range slices.Concat(a.Children, a.Accessories) {
			shown[d] = true
		}
	}
	var found []string
	for _, ref := range rules.References {
		if _, there := r.artifacts[ref.Digest]; there && !shown[ref.Digest] {
			found = append(found, ref.Digest)
		}
	}
	return found
}

// TestProperties deletes what goes from invented registries. All that is named is left, with its parts; nothing is
// refused; the order of the input does not matter; and a second run finds nothing to do.
func TestProperties(t *testing.T) {
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		r := invent(rnd)
		rules := inventRules(rnd, r)
		before := registry{map[string]Artifact{}}
		for d, a := range r.artifacts {
			before.artifacts[d] = a
		}
		input := Repository{Name: "team/app", Artifacts: r.listed(), Hidden: hidden(rules, r)}
		decisions := rules.Decide(input)
		rnd.Shuffle(len(input.Artifacts), func(i, j int) {
			input.Artifacts[i], input.Artifacts[j] = input.Artifacts[j], input.Artifacts[i]
		})
		if diff := cmp.Diff(decisions, rules.Decide(input)); diff != "" {
			t.Fatalf("seed %d: another order, another decision:\n%s", seed, diff)
		}
		nested := map[string]bool{} // what an index inside of an index refers to: the registry refuses, and nothing is lost
		for _, d := range Order(decisions) {
			if _, there := r.artifacts[d.Digest]; !there {
				continue // gone with its index
			}
			if err := r.delete(d.Digest); err != nil {
				if nested[d.Digest] = insideOnly(r, d.Digest, nested); nested[d.Digest] {
					continue
				}
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		verify(t, seed, rules, before, r, slices.DeleteFunc(decisions, func(d Decision) bool { return nested[d.Digest] }))
		for _, d := range rules.Decide(Repository{Name: "team/app", Artifacts: r.listed(), Hidden: hidden(rules, r)}) {
			if !d.Keep && !nested[d.Digest] {
				t.Fatalf("seed %d: the second run lets %s go", seed, Brief(d.Digest))
			}
		}
	}
}

// insideOnly reports whether only indexes that are not listed, or could not be deleted themselves, refer to a digest.
func insideOnly(r registry, digest string, nested map[string]bool) bool {
	return !slices.ContainsFunc(r.listed(), func(a Artifact) bool { return slices.Contains(a.Children, digest) && !nested[a.Digest] })
}

func verify(t *testing.T, seed uint64, rules Rules, before, after registry, decisions []Decision) {
	t.Helper()
	for _, ref := range rules.References {
		for d, a := range before.artifacts {
			named := ref.Digest == d || ref.Tag != "" && slices.ContainsFunc(a.Tags, func(tag Tag) bool { return tag.Name == ref.Tag })
			if _, there := after.artifacts[d]; named && !there {
				t.Fatalf("seed %d: %s, which is named, is gone", seed, Brief(d))
			}
		}
	}
	for _, d := range decisions {
		a, there := after.artifacts[d.Digest]
		if there != d.Keep {
			t.Fatalf("seed %d: %s is there: %v, to stay: %v (%s)", seed, Brief(d.Digest), there, d.Keep, d.Why)
		}
		for _, part := range slices.Concat(a.Children, a.Accessories) {
			if _, had := before.artifacts[part]; had {
				if _, there := after.artifacts[part]; !there {
					t.Fatalf("seed %d: %s lost its part %s", seed, Brief(d.Digest), Brief(part))
				}
			}
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	var artifacts []Artifact
	for i := range 20000 {
		a := image(fmt.Sprint(i), i/100, fmt.Sprintf("1.%d.0", i))
		if i%5 == 0 {
			a = index(a, fmt.Sprint(i+1), fmt.Sprint(i+2))
		}
		artifacts = append(artifacts, a)
	}
	rules := Rules{Last: 10, Within: 30 * day, Now: now, Semver: true}
	for b.Loop() {
		Order(rules.Decide(Repository{Name: "team/app", Artifacts: artifacts}))
	}
}
