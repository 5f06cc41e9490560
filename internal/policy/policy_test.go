package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/policy"
)

var now = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)

func compile(t testing.TB, r policy.Rules) policy.Policy {
	t.Helper()
	if r.Strategy == "" {
		r.Strategy = policy.Semver
	}
	p, err := policy.New(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// named are tags of which nothing but the names is known.
func named(names ...string) []policy.Tag {
	var tags []policy.Tag
	for _, name := range names {
		tags = append(tags, policy.Tag{Name: name})
	}
	return tags
}

func TestChoice(t *testing.T) {
	for _, tt := range []struct {
		what  string
		rules policy.Rules
		tags  string
		want  string
	}{
		{"versions, not text", policy.Rules{}, "1.9.0 1.10.0 0.11.0", "1.10.0"},
		{"a bound that is met", policy.Rules{Constraint: ">=1.2 <2"}, "1.1.9 1.2.0 1.10.0 2.0.0", "1.10.0"},
		{"a pre-release in the upper bound admits them in the lower too", policy.Rules{Constraint: ">=1.2 <2.0.0-0"}, "1.2.0 1.9.0-rc.1 2.0.0-rc.1", "1.9.0-rc.1"},
		{"but not in the other group", policy.Rules{Constraint: "1.2.x-0 || 3.x"}, "1.2.1-rc.1 3.0.1-rc.1", "1.2.1-rc.1"},
		{"no range has none", policy.Rules{}, "1.0.0 1.1.0-rc.1", "1.0.0"},
		{"unless they are wanted", policy.Rules{PreReleases: true}, "1.0.0 1.1.0-rc.1", "1.1.0-rc.1"},
		{"wanted ones stay within", policy.Rules{Constraint: "^1.2", PreReleases: true}, "1.2.0-rc.1 1.2.0 1.3.0-rc.1 2.0.0-rc.1", "1.3.0-rc.1"},
		{"digits are a version", policy.Rules{}, "4815162 1.2.3 abcdef0", "4815162"},
		{"a date is a pre-release of its year", policy.Rules{}, "2024-01-15 2.0.0", "2.0.0"},
		{"and beats nothing but what is older", policy.Rules{Constraint: ">=1-0"}, "2024-01-15 2.0.0", "2024-01-15"},
		{"leading zeros are no obstacle", policy.Rules{Constraint: "1.x"}, "1.02.3 1.1.9", "1.02.3"},
		{"equal versions go by spelling", policy.Rules{}, "1.2.0 1.2.00", "1.2.00"},
		{"so does the v", policy.Rules{}, "v1.0 1.0 1 1.0.0", "v1.0"},
		{"numbers beyond 64 bits are no versions", policy.Rules{}, "99999999999999999999.0.0 1.0.0", "1.0.0"},

		{"Flux wants three numbers", policy.Rules{Strategy: policy.FluxSemver, Constraint: ">=0.0.0"}, "1.2 4815162 1.0.0", "1.0.0"},
		{"Flux takes the first spelling", policy.Rules{Strategy: policy.FluxSemver, Constraint: "1.x"}, "v1.0.0 1.0.0", "1.0.0"},

		{"the same kind", policy.Rules{Strategy: policy.Suffix, Constraint: "1.27-alpine"}, "1.27-alpine 1.28-alpine 1.29 1.29-perl 1.28.1-alpine 1.30-alpine3.20", "1.28-alpine"},
		{"no kind", policy.Rules{Strategy: policy.Suffix, Constraint: "1.27"}, "1.28-alpine 1.28 1.29.1", "1.28"},
		{"the next major", policy.Rules{Strategy: policy.Suffix, Constraint: "15-alpine"}, "15-alpine 16-alpine 16.1-alpine", "16-alpine"},
		{"not below the current one", policy.Rules{Strategy: policy.Suffix, Constraint: "1.27-alpine"}, "1.26-alpine", ""},
		{"a candidate is no release", policy.Rules{Strategy: policy.Suffix, Constraint: "3.12-slim"}, "3.12-slim 3.13rc2-slim", "3.12-slim"},
		{"unless the current one is none", policy.Rules{Strategy: policy.Suffix, Constraint: "3.13rc2-slim"}, "3.13rc2-slim 3.13rc10-slim", "3.13rc10-slim"},
		{"the release goes before them", policy.Rules{Strategy: policy.Suffix, Constraint: "3.13rc2-slim"}, "3.13-slim 3.13rc10-slim", "3.13-slim"},
		{"a commit is no version", policy.Rules{Strategy: policy.Suffix, Constraint: "1"}, "2 1234567a", "2"},

		{"dates by their numbers", policy.Rules{Strategy: policy.Calver}, "2024.9.30 2024.10.1 2023.12.31", "2024.10.1"},
		{"in any spelling", policy.Rules{Strategy: policy.Calver}, "20240105 2024-01-06 v2024.1.4 latest 2024-13-99", "2024-01-06"},
		{"with what follows", policy.Rules{Strategy: policy.Calver}, "2024.01 2024.01.2 2024.01.10", "2024.01.10"},
		{"with the time", policy.Rules{Strategy: policy.Calver}, "20240105093000 20240105 202401050959", "202401050959"},
		{"digits that are no date", policy.Rules{Strategy: policy.Calver}, "1234567 99999999 9999.1 1024.1 2024.1 1.2.3 2024.99", "2024.1"},
		{"a layout", policy.Rules{Strategy: policy.Calver, Constraint: "YY.0M"}, "24.04 24.10 9.04 25.13 24.10.1", "24.10"},
		{"the year counts most", policy.Rules{Strategy: policy.Calver, Constraint: "0D.0M.YYYY"}, "31.12.2023 05.01.2024", "05.01.2024"},
		{"a modifier", policy.Rules{Strategy: policy.Calver, Constraint: "YYYY.MM-MODIFIER"}, "2024.1-b9 2024.1-b10 2024.1 2023.9-z", "2024.1-b10"},

		{"numbers of any size", policy.Rules{Strategy: policy.Numerical}, "9 10 1606364286123456788 1606364286123456789 1e99 0x1p9 inf nan", "1606364286123456789"},
		{"the smallest", policy.Rules{Strategy: policy.Numerical, Descending: true}, "-1.5 -1.50 -1.25 3 b", "-1.50"},
		{"nothing is below zero", policy.Rules{Strategy: policy.Numerical}, "-0 -1", "-0"},
		{"and zero is zero", policy.Rules{Strategy: policy.Numerical, Descending: true}, "-0 0", "0"},
		{"one bad tag", policy.Rules{Strategy: policy.Numerical}, "0 1a b", "0"},
		{"what is extracted", policy.Rules{Strategy: policy.Numerical, AllowTags: `regexp:^build-(?P<n>\d+)`, Extract: "${n}"}, "build-9 build-10-x 11", "build-10-x"},

		{"bytes", policy.Rules{Strategy: policy.Alphabetical}, "10 9 B a", "a"},
		{"the first", policy.Rules{Strategy: policy.Alphabetical, Descending: true}, "10 9 B a", "10"},
		{"an expression is not anchored", policy.Rules{Strategy: policy.Alphabetical, AllowTags: "regexp:main"}, "main-1 x-main-2 z", "x-main-2"},
		{"patterns", policy.Rules{IgnoreTags: []string{"1.3.*", "1.[45].?"}}, "1.2.0 1.3.1 1.4.1 1.4.10 1.5.0", "1.4.10"},
		{"any", policy.Rules{AllowTags: "any"}, "1.2.0", "1.2.0"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			got := compile(t, tt.rules).Rank(named(strings.Fields(tt.tags)...)).Decide(now)
			if got.Tag != tt.want {
				t.Errorf("%q (%s), want %q", got.Tag, got.Why, tt.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for part, r := range map[string]policy.Rules{
		`no strategy "best"`:            {Strategy: "best"},
		`constraint "latest"`:           {Strategy: policy.Semver, Constraint: "latest"},
		"needs a range":                 {Strategy: policy.FluxSemver},
		`constraint "1.0.0p"`:           {Strategy: policy.FluxSemver, Constraint: "1.0.0p"},
		"needs the tag":                 {Strategy: policy.Digest},
		`"latest" is no version`:        {Strategy: policy.Suffix, Constraint: "latest"},
		`"MM.DD" is no layout`:          {Strategy: policy.Calver, Constraint: "MM.DD"},
		"missing closing":               {Strategy: policy.Semver, AllowTags: "regexp:["},
		`tags to allow "^1"`:            {Strategy: policy.Semver, AllowTags: "^1"},
		"longer than 4096":              {Strategy: policy.Semver, AllowTags: "regexp:" + strings.Repeat("a", 5000)},
		"syntax error in pattern":       {Strategy: policy.Semver, IgnoreTags: []string{"ok", "[1"}},
		`platform "amd64"`:              {Strategy: policy.NewestBuild, Platforms: []string{"amd64"}},
		`platform "linux//v7"`:          {Strategy: policy.NewestBuild, Platforms: []string{"linux//v7"}},
		"nothing to extract from":       {Strategy: policy.Semver, AllowTags: "any", Extract: "$1"},
		"has no order":                  {Strategy: policy.Semver, Descending: true},
		"constraint string is too long": {Strategy: policy.Semver, Constraint: strings.Repeat(">1 ", 500)},
	} {
		if _, err := policy.New(r); err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), part) {
			t.Errorf("%+v: %v, want %q", r, err, part)
		}
	}
}

func TestIneffective(t *testing.T) {
	p := compile(t, policy.Rules{Strategy: policy.NewestBuild, Constraint: "1", PreReleases: true, AllowTags: "regexp:(.)", Extract: "$1", Platforms: []string{"linux/amd64"}})
	if got, want := p.Ineffective(), []string{"constraint", "extract", "pre-release"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	p = compile(t, policy.Rules{Constraint: "1", PreReleases: true, Platforms: []string{"linux/amd64"}})
	if got, want := p.Ineffective(), []string{"platform"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// built is a tag whose images were made on these days of January, one for each platform.
func built(name string, days map[string]int) policy.Tag {
	t := policy.Tag{Name: name, Digest: "sha256:" + name}
	for platform, day := range days {
		b := image.Build{Platform: platform}
		if day > 0 {
			b.Created = time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)
		}
		t.Builds = append(t.Builds, b)
	}
	return t
}

func pushed(t policy.Tag, day int) policy.Tag {
	t.Pushed = time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)
	return t
}

func TestBuilds(t *testing.T) {
	const amd, arm, v7 = "linux/amd64", "linux/arm64", "linux/arm/v7"
	for _, tt := range []struct {
		what      string
		tags      []policy.Tag
		platforms []string
		want, why string
	}{
		{"the newest", []policy.Tag{built("z", map[string]int{amd: 1}), built("a", map[string]int{amd: 2})}, nil, "a", "newest build of 2 tags, made 2026-01-02T00:00:00Z"},
		{"equal ones by name", []policy.Tag{built("a", map[string]int{amd: 2}), built("b", map[string]int{amd: 2})}, nil, "b", "made 2026-01-02"},
		{"an index by its newest", []policy.Tag{built("a", map[string]int{amd: 1, arm: 9}), built("b", map[string]int{amd: 5})}, nil, "a", "made 2026-01-09"},
		{"that is wanted", []policy.Tag{built("a", map[string]int{amd: 1, arm: 9}), built("b", map[string]int{amd: 5})}, []string{amd}, "b", "made 2026-01-05"},
		{"one of those wanted", []policy.Tag{built("a", map[string]int{arm: 9}), built("b", map[string]int{amd: 5})}, []string{"linux/s390x", amd}, "b", "; 1 not for linux/s390x or linux/amd64"},
		{"any variant", []policy.Tag{built("a", map[string]int{"linux/arm64/v8": 9}), built("b", map[string]int{amd: 10})}, []string{arm}, "a", ""},
		{"that variant", []policy.Tag{built("a", map[string]int{"linux/arm/v6": 9}), built("b", map[string]int{v7: 1}), built("c", map[string]int{"linux/arm": 9})}, []string{v7}, "b", "2 not for"},
		{"no date counts as the push", []policy.Tag{pushed(built("a", map[string]int{amd: 0}), 7), built("b", map[string]int{amd: 5})}, nil, "a", "pushed 2026-01-07T00:00:00Z (its configuration has no date)"},
		{"a date is not the push", []policy.Tag{pushed(built("a", map[string]int{amd: 1}), 31), built("b", map[string]int{amd: 5})}, nil, "b", "made 2026-01-05"},
		{"no date at all", []policy.Tag{built("a", map[string]int{amd: 0}), built("b", map[string]int{amd: 0})}, nil, "b", "by name: none tells when it was made"},
		{"a clock that was wrong", []policy.Tag{built("a", map[string]int{amd: 100})}, nil, "a", "in the future"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			got := compile(t, policy.Rules{Strategy: policy.NewestBuild, Platforms: tt.platforms}).Rank(tt.tags).Decide(now)
			if got.Tag != tt.want || got.Digest != "sha256:"+tt.want || !strings.Contains(got.Why, tt.why) {
				t.Errorf("%s %s (%s), want %s (%s)", got.Tag, got.Digest, got.Why, tt.want, tt.why)
			}
		})
	}
}

func TestWhy(t *testing.T) {
	for want, tt := range map[string]struct {
		rules policy.Rules
		tags  []policy.Tag
	}{
		"newest of 2 tags within >=1.2 <2; 1 ignored; 2 that are no versions; 3 pre-releases ignored; 1 outside >=1.2 <2": {
			policy.Rules{Constraint: ">=1.2 <2", IgnoreTags: []string{"dev"}}, named("dev", "a", "b", "1.2.0", "1.3.0", "1.4.0-1", "1.4.0-2", "1.4.0-3", "2.0.0")},
		"newest of 1 tag":                                              {policy.Rules{}, named("1.0.0")},
		"there are no tags":                                            {policy.Rules{}, nil},
		"there is no tag latest":                                       {policy.Rules{Strategy: policy.Digest, Constraint: "latest"}, nil},
		"what latest names now":                                        {policy.Rules{Strategy: policy.Digest, Constraint: "latest"}, named("latest")},
		"none of 1 tag fits: 1 that is no number":                      {policy.Rules{Strategy: policy.Numerical}, named("a")},
		"none of 2 tags fits: 2 not allowed":                           {policy.Rules{AllowTags: "regexp:^x"}, named("1", "2")},
		"last of 2 tags in alphabetical order":                         {policy.Rules{Strategy: policy.Alphabetical}, named("1", "2")},
		"first of 2 tags in numerical order":                           {policy.Rules{Strategy: policy.Numerical, Descending: true}, named("1", "2")},
		"newest of 1 tag like YYYY.0M; 1 that is no date like YYYY.0M": {policy.Rules{Strategy: policy.Calver, Constraint: "YYYY.0M"}, named("2024.01", "1")},
	} {
		if got := compile(t, tt.rules).Rank(tt.tags).Decide(now); got.Why != want || got.Considered != len(tt.tags) {
			t.Errorf("%q of %d, want %q", got.Why, got.Considered, want)
		}
	}
}

// TestSettle passes over young tags, and looks at no more of them than it must.
func TestSettle(t *testing.T) {
	known := map[string]policy.Tag{
		"5.0.0": built("5.0.0", map[string]int{"": 31}),             // half a day is missing
		"4.0.0": pushed(built("4.0.0", map[string]int{"": 1}), 31),  // made long ago, but here since yesterday
		"3.0.0": {Name: "3.0.0"},                                    // nobody tells
		"2.0.0": pushed(built("2.0.0", map[string]int{"": 20}), 21), // this one
		"1.0.0": built("1.0.0", map[string]int{"": 1}),
	}
	var looked []string
	look := func(name string) (policy.Tag, error) {
		looked = append(looked, name)
		return known[name], nil
	}
	r := compile(t, policy.Rules{MinAge: 36 * time.Hour}).Rank(named("1.0.0", "2.0.0", "3.0.0", "4.0.0", "5.0.0"))
	if err := r.Settle(now, look); err != nil {
		t.Fatal(err)
	}
	got := r.Decide(now)
	if want := "newest of 2 tags; 1 of unknown age; 2 younger than 36h"; got.Tag != "2.0.0" || got.Why != want {
		t.Errorf("%s: %s, want %s", got.Tag, got.Why, want)
	}
	if want := []string{"5.0.0", "4.0.0", "3.0.0", "2.0.0"}; !slices.Equal(looked, want) {
		t.Errorf("looked at %q, want %q", looked, want)
	}
	looked = nil
	r = compile(t, policy.Rules{}).Rank(named("1.0.0"))
	if err := r.Settle(now, look); err != nil || looked != nil {
		t.Errorf("no age is wanted, and %q were looked at, %v", looked, err)
	}
	boom := fmt.Errorf("boom")
	if err := compile(t, policy.Rules{MinAge: 1}).Rank(named("1.0.0")).Settle(now, func(string) (policy.Tag, error) { return policy.Tag{}, boom }); err != boom {
		t.Errorf("got %v, want the error of the look", err)
	}
}

// pool are names of every kind, and some that a hostile registry would list.
var pool = strings.Fields("1 1.0 1.0.0 v1.0 1.2.00 1.2.0 1.2.3-rc.1 1.2.3-alpine 1.27-alpine 1.28-alpine 2024.01.05 2024-01-05 20240105 1606364286 -1 -1.5 " +
	"main-1 main-22 latest abcdef0 99999999999999999999999 1.02.3 v v. - .. $(id) 1.0.0+a 1.0.0+b 2.0.0 2.0.0-0 3.0.0-0.0 0x10 1_0 " + strings.Repeat("9", 300) + " " + strings.Repeat("1.", 200))

func hostile() []string {
	return append(slices.Clone(pool), "", "\x00", "1.0\n.0", "\x1b[31m1.0.0", "1.0.0\xff", "１.２.３", "٣")
}

func allRules() []policy.Rules {
	var all []policy.Rules
	constraints := map[policy.Strategy][]string{
		policy.Semver: {"", "^1.0", ">=1-0 <3", "1.x || >2"}, policy.FluxSemver: {">=1.0.0"}, policy.Suffix: {"1.27-alpine", "1.0.0"},
		policy.Calver: {"", "YYYY.0M.0D"}, policy.NewestBuild: {""}, policy.Digest: {"latest"}, policy.Alphabetical: {""}, policy.Numerical: {""},
	}
	for _, strategy := range policy.Strategies {
		for _, c := range constraints[strategy] {
			all = append(all, policy.Rules{Strategy: strategy, Constraint: c, IgnoreTags: []string{"ignored-*", "*[0-9]-ignored"}},
				policy.Rules{Strategy: strategy, Constraint: c, AllowTags: `regexp:^v?(\d.*)`, Extract: map[bool]string{true: "$1"}[strategy != policy.Suffix], PreReleases: true, IgnoreTags: []string{"*ignored*"}})
		}
	}
	return all
}

// TestProperties permutes tags, adds ignored ones and repeats some: none of that changes the choice, which is never
// outside of the constraint, and the candidates are those that are not left out.
func TestProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, rules := range allRules() {
		p := compile(t, rules)
		for range 50 {
			tags := named(hostile()...)
			random.Shuffle(len(tags), func(i, j int) { tags[i], tags[j] = tags[j], tags[i] })
			tags = tags[:1+random.IntN(len(tags))]
			for i := range tags {
				tags[i].Pushed = now.Add(-time.Duration(len(tags[i].Name)) * time.Hour)
			}
			want := p.Rank(tags).Decide(now)
			held(t, rules, want)
			more := slices.Concat(tags, tags[:1], named("ignored-1", "9.9.9-ignored", "99-ignored"))
			random.Shuffle(len(more), func(i, j int) { more[i], more[j] = more[j], more[i] })
			if got := p.Rank(more).Decide(now); got.Tag != want.Tag || len(got.Candidates) != len(want.Candidates) {
				t.Fatalf("%+v: %q of %q, but %q of %q", rules, want.Tag, tags, got.Tag, more)
			}
			names := map[string]bool{}
			for _, c := range want.Candidates {
				if names[c.Name] {
					t.Fatalf("%q is a candidate twice", c.Name)
				}
				names[c.Name] = true
			}
		}
	}
}

// held holds a choice of strategy semver to its constraint, by another way than the policy's.
func held(t *testing.T, rules policy.Rules, d policy.Decision) {
	t.Helper()
	if rules.Strategy != policy.Semver || rules.Constraint == "" || rules.Extract != "" || d.Tag == "" {
		return
	}
	v, err := semver.NewVersion(d.Tag)
	if err != nil {
		t.Fatalf("%q is no version", d.Tag)
	}
	floor := map[string]string{"^1.0": "1.0.0-0", ">=1-0 <3": "1.0.0-0", "1.x || >2": "1.0.0-0"}[rules.Constraint]
	if v.LessThan(semver.MustParse(floor)) {
		t.Errorf("%s is below %s", d.Tag, rules.Constraint)
	}
}

func FuzzChoice(f *testing.F) {
	for _, name := range hostile() {
		f.Add(name, "1.0.0", "^1")
	}
	f.Fuzz(func(t *testing.T, a, b, constraint string) {
		for _, strategy := range policy.Strategies {
			p, err := policy.New(policy.Rules{Strategy: strategy, Constraint: constraint})
			if err != nil {
				continue
			}
			one, other := p.Rank(named(a, b)).Decide(now), p.Rank(named(b, a)).Decide(now)
			if one.Tag != other.Tag || one.Why != other.Why && a != b {
				t.Errorf("%s %q: %q (%s), the other way round %q (%s)", strategy, constraint, one.Tag, one.Why, other.Tag, other.Why)
			}
		}
	})
}

func BenchmarkMillion(b *testing.B) {
	names := make([]string, 1_000_000)
	for i := range names {
		names[i] = fmt.Sprintf("%d.%d.%d", i%7, i%1000, i)
	}
	tags := named(names...)
	p := compile(b, policy.Rules{Constraint: "^3"})
	for b.Loop() {
		p.Rank(tags).Decide(now)
	}
}

// TestWhyCounts has the words for more than one tag that was left out.
func TestWhyCounts(t *testing.T) {
	for _, tt := range []struct {
		rules policy.Rules
		want  string
	}{
		{policy.Rules{Strategy: policy.Suffix, Constraint: "1.27-alpine"}, "none of 2 tags fits: 2 that are no versions like 1.27-alpine"},
		{policy.Rules{Strategy: policy.Calver, Constraint: "YYYY.MM"}, "none of 2 tags fits: 2 that are no dates like YYYY.MM"},
		{policy.Rules{}, "none of 2 tags fits: 2 that are no versions"},
	} {
		if got := compile(t, tt.rules).Rank(named("main", "latest")).Decide(now); got.Why != tt.want {
			t.Errorf("%s, want %s", got.Why, tt.want)
		}
	}
	r := compile(t, policy.Rules{MinAge: 9000 * 24 * time.Hour}).Rank(named("1.0.0"))
	if err := r.Settle(now, func(string) (policy.Tag, error) { return policy.Tag{Name: "1.0.0", Pushed: now}, nil }); err != nil || r.Decide(now).Why != "none of 1 tag fits: 1 younger than 9000d" {
		t.Errorf("%v: %s", err, r.Decide(now).Why)
	}
}
