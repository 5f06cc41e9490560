package bump_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
)

// tagsOf are the tags of registries, by repository.
type tagsOf map[string]string

// catalog tells tags, and notes what it was asked.
type catalog struct {
	tags  tagsOf
	mu    sync.Mutex
	asked []string
	down  map[string]error // by host

	undigested error // why no digest is told
	missing    bool  // what is not there is just that
}

func (c *catalog) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, fmt.Sprintf(format, args...))
}

func (c *catalog) Prepare(_ context.Context, refs []imageref.Ref) error {
	return c.down[refs[0].Host()]
}

func (c *catalog) Choose(_ context.Context, ref imageref.Ref, rules policy.Rules) (policy.Decision, error) {
	c.note("choose %s %s", ref, rules.Constraint)
	p, err := policy.New(rules)
	if err != nil {
		return policy.Decision{}, err
	}
	names, known := c.tags[ref.String()]
	if !known {
		return policy.Decision{}, errors.New("no such image")
	}
	var tags []policy.Tag
	for _, name := range strings.Fields(names) {
		t := policy.Tag{Name: name}
		if rules.Strategy == policy.Digest {
			t.Digest = digestOf(name)
		}
		tags = append(tags, t)
	}
	rand.Shuffle(len(tags), func(i, j int) { tags[i], tags[j] = tags[j], tags[i] })
	return p.Rank(tags).Decide(time.Unix(1700000000, 0)), nil
}

func (c *catalog) Digest(_ context.Context, ref imageref.Ref) (string, error) {
	c.note("digest of %s", ref)
	if c.undigested != nil {
		return "", c.undigested
	}
	return digestOf(ref.Tag), nil
}

func (c *catalog) Down(err error) bool { return !c.missing }

// updates is a job that chooses from the tags.
func updates(c *catalog) bump.Job {
	return bump.Job{Updates: &bump.Updates{Open: func([]config.Registry) (bump.Catalog, error) { return c, nil }}}
}

func TestUpdate(t *testing.T) {
	tags := tagsOf{"app": "1.0.0 1.1.0 2.0.0", "tool": "1.27-alpine 1.28-alpine 1.29", "live": "latest"}
	const file = "version: 1\nimages:\n- {name: app, policy: {constraint: ^1}}\n- {name: tool, paths: [tools], policy: {strategy: suffix}}\n- {name: gone, policy: {}}\n"
	old, now := digestOf("1.0.0"), digestOf("1.1.0")
	for name, tt := range map[string]struct {
		files tree
		want  []string
		asked []string
	}{
		"a policy for everywhere, one for some paths": {
			tree{"a.yaml": "image: app:1.0.0", "b.yaml": "image: tool:1.27-alpine", "tools/c.yaml": "image: tool:1.27-alpine"},
			[]string{"a.yaml:1 app:1.0.0 -> app:1.1.0", "tools/c.yaml:1 tool:1.27-alpine -> tool:1.28-alpine"},
			[]string{"choose app ^1", "choose tool 1.27-alpine"},
		},
		"a comment goes first, and the same question is asked once": {
			tree{"a.yaml": "image: app:1.0.0 # imgbump: semver", "b.yaml": "image: app:1.0.0", "c.yaml": "image: app # imgbump: semver"},
			[]string{"a.yaml:1 app:1.0.0 -> app:2.0.0", "b.yaml:1 app:1.0.0 -> app:1.1.0", "c.yaml:1 app -> app:2.0.0"},
			[]string{"choose app ", "choose app ^1"},
		},
		"a digest stays one": {
			tree{"a.yaml": "image: app:1.0.0@" + old, "b.yaml": "image: app@" + old, "c.yaml": "image: app:1.1.0@" + now},
			[]string{"a.yaml:1 app:1.0.0@" + old + " -> app:1.1.0@" + now, "b.yaml:1 app@" + old + " -> app@" + now},
			[]string{"choose app ^1", "digest of app:1.1.0"},
		},
		"a digest is written": {
			tree{"a.yaml": "image: live:latest # imgbump: digest"},
			[]string{"a.yaml:1 live:latest -> live:latest@" + digestOf("latest")}, []string{"choose live latest"},
		},
		"what is held, would be a downgrade, has no tag that fits": {
			tree{"a.yaml": "image: app:1.0.0 # imgbump: hold", "b.yaml": "image: app:1.2.0", "c.yaml": "image: app:1.0.0 # imgbump: semver ^3", "d.yaml": "image: app:latest"},
			[]string{
				"d.yaml:1 app:latest -> app:1.1.0", "skipped a.yaml:1 held",
				"skipped b.yaml:1 1.1.0 would be a downgrade from 1.2.0: --allow-downgrade makes it (newest of 2 tags within ^1; 1 outside ^1)",
				"skipped c.yaml:1 no tag fits: none of 3 tags fits: 3 outside ^3",
			},
			[]string{"choose app ^1", "choose app ^3"},
		},
		"what fails leaves the rest": {
			tree{"a.yaml": "image: gone:1.0", "b.yaml": "image: app:1.0.0", "c.yaml": "image: app:1.0.0 # imgbump: best", "tools/d.yaml": "image: tool:latest"},
			[]string{
				"b.yaml:1 app:1.0.0 -> app:1.1.0", "failed comment c.yaml:1: there is no strategy \"best\"",
				`failed choose a version for tool:latest tools/d.yaml:1: strategy suffix needs the current tag, and "latest" is no version`, "failed no such image",
			},
			[]string{"choose app ^1", "choose gone "},
		},
		"an entry that puts another image in its place is another image": {
			tree{"kustomization.yaml": "images:\n- {name: app, newName: mirror/app, newTag: 1.0.0}\n- {name: x, newName: app, newTag: 1.0.0}\n"},
			[]string{"kustomization.yaml:3 app:1.0.0 -> app:1.1.0"}, []string{"choose app ^1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(tt.files)
			files["imgbump.yaml"] = file
			c := &catalog{tags: tags}
			job := updates(c)
			plan, err := job.Decide(t.Context(), files.below)
			if err != nil {
				t.Fatal(err)
			}
			got := says(plan)
			slices.Sort(got)
			want := slices.Sorted(slices.Values(tt.want))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			slices.Sort(c.asked)
			if diff := cmp.Diff(tt.asked, c.asked); diff != "" {
				t.Error(diff)
			}
			// What was decided is done: again there is nothing to do, and nothing to ask.
			for _, r := range plan.Rewrites {
				files[r.Path] = string(r.After)
			}
			asked := len(c.asked)
			if again, err := job.Decide(t.Context(), files.below); err != nil || len(again.Changes) > 0 {
				t.Errorf("again: %q, %v", says(again), err)
			}
			if name == "a digest stays one" && len(c.asked) != asked {
				t.Errorf("asked again: %q", c.asked[asked:])
			}
		})
	}
}

// TestUpdateAnApplication limits the places to what an Argo CD application deploys, and asks for no others.
func TestUpdateAnApplication(t *testing.T) {
	files := cluster()
	files["imgbump.yaml"] = "version: 1\nimages: [{name: app, policy: {constraint: ^3}}, {name: other, policy: {}}]\n"
	files["alone/pod.yaml"] = pod("app:0") + "---\n" + pod("other:0")
	for _, tt := range []struct {
		applications, want, asked []string
	}{
		{nil, []string{"alone/pod.yaml: ", "alone/pod.yaml: ", "argocd/apps.yaml: itself", "web/base/pod.yaml: two, one", "web/one/kustomization.yaml: one", "web/two/kustomization.yaml: two"},
			[]string{"choose app ^3", "choose other "}},
		{[]string{"one"}, []string{"web/base/pod.yaml: two, one", "web/one/kustomization.yaml: one"}, []string{"choose app ^3"}},
	} {
		c := &catalog{tags: tagsOf{"app": "3.0.0", "other": "1.0.0"}}
		job := updates(c)
		job.Applications = tt.applications
		plan, err := job.Decide(t.Context(), files.below)
		slices.Sort(c.asked)
		if diff := cmp.Diff(tt.want, deployed(plan)) + cmp.Diff(tt.asked, c.asked); diff != "" || err != nil || plan.Err() != nil {
			t.Errorf("%q: %s, %v, %v", tt.applications, diff, err, plan.Err())
		}
	}
	job := updates(&catalog{})
	job.Applications = []string{"nosuch"}
	if _, err := job.Decide(t.Context(), files.below); fault.KindOf(err) != fault.Usage {
		t.Errorf("error %v", err)
	}
}

// TestUpdateErr has runs that fail as a whole, and in part.
func TestUpdateErr(t *testing.T) {
	denied := &fault.Error{Kind: fault.Denied, What: "log in to", Where: "a.example"}
	files := tree{"a.yaml": "a: {image: a.example/x:1.0} # imgbump: semver\nb: {image: a.example/y:1.0} # imgbump: semver\nc: {image: b.example/z:1.0} # imgbump: semver\n"}
	for _, tt := range []struct {
		tags tagsOf
		down map[string]error
		kind fault.Kind
		ok   bool
	}{
		{tags: tagsOf{"a.example/x": "1.1", "a.example/y": "1.1", "b.example/z": "1.0"}, ok: true},
		{tags: tagsOf{"b.example/z": "1.0"}, down: map[string]error{"a.example": denied}, kind: fault.Partial},
		{down: map[string]error{"a.example": denied, "b.example": denied}, kind: fault.Denied},
		{down: map[string]error{"a.example": denied}, kind: fault.Failed},
	} {
		plan, err := updates(&catalog{tags: tt.tags, down: tt.down}).Decide(t.Context(), files.below)
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.Err(); (err == nil) != tt.ok || err != nil && fault.KindOf(err) != tt.kind {
			t.Errorf("%+v: %v of kind %v", tt, err, fault.KindOf(err))
		}
	}
	for what, job := range map[string]bump.Job{
		"no policy says how versions are chosen": updates(&catalog{}),
	} {
		if _, err := job.Decide(t.Context(), tree{"a.yaml": "image: app:1"}.below); fault.KindOf(err) != fault.Usage || err.Error() != what || !strings.Contains(fault.HintOf(err), "# imgbump: semver ^1.2") {
			t.Errorf("%v (%s)", err, fault.HintOf(err))
		}
	}
}

// TestUpdateVerifies has what was verified and what was not; a doubt is asked about once.
func TestUpdateVerifies(t *testing.T) {
	c := &catalog{tags: tagsOf{"good": "1.1", "bad": "1.1", "same": "1.0"}}
	job := updates(c)
	job.Updates.Verify = func(_ context.Context, ref imageref.Ref) error {
		c.note("verify %s", ref)
		if ref.Repository == "bad" {
			return &fault.Error{Kind: fault.Gate, What: "verify", Where: ref.String(), Err: errors.New("it is not signed")}
		}
		return nil
	}
	files := tree{"a.yaml": "image: good:1.0 # imgbump: semver", "b.yaml": "a: {image: bad:1.0} # imgbump: semver\nb: {image: bad:1.0} # imgbump: semver", "c.yaml": "image: same:1.0 # imgbump: semver"}
	for range 2 {
		plan, err := job.Decide(t.Context(), files.below)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"a.yaml:1 good:1.0 -> good:1.1", "skipped b.yaml:1 verify bad:1.1: it is not signed", "skipped b.yaml:2 verify bad:1.1: it is not signed",
			"failed verify bad:1.1: it is not signed", "failed verify bad:1.1: it is not signed",
		}
		if diff := cmp.Diff(want, says(plan)); diff != "" || fault.KindOf(plan.Err()) != fault.Partial {
			t.Error(diff, plan.Err())
		}
	}
	slices.Sort(c.asked)
	if want := []string{"choose bad ", "choose good ", "choose same ", "verify bad:1.1", "verify good:1.1"}; !slices.Equal(want, c.asked) {
		t.Errorf("%q", c.asked)
	}
}

// TestPolicies lists what is for a place, and what another policy goes before.
func TestPolicies(t *testing.T) {
	files := tree{
		"imgbump.yaml": "version: 1\nimages:\n- {name: app, paths: [a.yaml], policy: {constraint: ^1}}\n- {name: docker.io/library/app, policy: {}}\n",
		"a.yaml":       "image: app:1 # imgbump: semver ^2", "b.yaml": "image: app:1", "c/d.yaml": "image: index.docker.io/library/app:1",
	}
	found, err := bump.Job{}.Policies(t.Context(), files.below)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range found.Governed {
		line := g.String()
		for _, s := range g.Sites {
			line += " " + s.File
		}
		got = append(got, line)
	}
	want := []string{"semver ^2 (a.yaml:1) a.yaml", "semver ^1 (imgbump.yaml:3)", "semver (imgbump.yaml:4) b.yaml c/d.yaml"}
	if diff := cmp.Diff(want, got); diff != "" || found.Err() != nil {
		t.Error(diff, found.Err())
	}
}
