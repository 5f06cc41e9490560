package bump_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

var app = imageref.Ref{Repository: "app"}

// comments is what the job comes to: the files that change, and in lines what does not and why.
func comments(t *testing.T, files tree, job bump.Job) (changed tree, others []string, err error) {
	t.Helper()
	plan, err := job.Decide(t.Context(), files.below)
	if err != nil {
		return nil, nil, err
	}
	changed = tree{}
	for _, r := range plan.Rewrites {
		changed[r.Path] = string(r.After)
	}
	for _, line := range says(plan) {
		if !strings.Contains(line, " -> ") {
			others = append(others, line)
		}
	}
	for _, w := range plan.Warnings {
		others = append(others, "warning: "+w.Text)
	}
	return changed, others, plan.Err()
}

func TestHold(t *testing.T) {
	hold, release := bump.Hold{Image: app, Reason: "it"}, bump.Hold{Image: app, Release: true}
	const configured = "version: 1\nimages: [{name: app, hold: frozen}]\n"
	for name, tt := range map[string]struct {
		files   tree
		job     bump.Job
		changed tree
		others  []string
		kind    fault.Kind
	}{
		"all places, no other image": {
			tree{"a.yaml": "- image: app:1\n- image: tool:1\n", "b.yaml": "image: docker.io/library/app:2", "c.yaml": "image: tool:1"}, bump.Job{Hold: &hold},
			tree{"a.yaml": "- image: app:1 # imgbump: hold it\n- image: tool:1\n", "b.yaml": "image: docker.io/library/app:2 # imgbump: hold it"}, nil, fault.Failed,
		},
		"two places, one comment": {
			tree{"a.yaml": "[{image: app:1}, {image: app:2}]"}, bump.Job{Hold: &hold}, tree{"a.yaml": "[{image: app:1}, {image: app:2}] # imgbump: hold it"}, nil, fault.Failed,
		},
		"two places, released": {
			tree{"a.yaml": "[{image: app:1}, {image: app:2}] # imgbump: hold until the new database is there and everybody has seen it"}, bump.Job{Hold: &release}, tree{"a.yaml": "[{image: app:1}, {image: app:2}]"}, nil, fault.Failed,
		},
		"those of a path": {
			tree{"a.yaml": "image: app:1", "b.yaml": "image: app:1"}, bump.Job{Hold: &hold, Paths: []string{"b.yaml"}},
			tree{"b.yaml": "image: app:1 # imgbump: hold it"}, nil, fault.Failed,
		},
		"those of an application": {
			tree{"one.yaml": application("one", "apps/one", 0), "two.yaml": application("two", "apps/two", 0), "apps/one/a.yaml": "image: app:1", "apps/two/a.yaml": "image: app:1"},
			bump.Job{Hold: &hold, Applications: []string{"one"}}, tree{"apps/one/a.yaml": "image: app:1 # imgbump: hold it"}, nil, fault.Failed,
		},
		"where the version is set": {
			tree{"o/kustomization.yaml": "resources: [d.yaml]\nimages:\n- name: app\n  newTag: '1'\n", "o/d.yaml": "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: app}]}\n"},
			bump.Job{Hold: &hold}, tree{"o/kustomization.yaml": "resources: [d.yaml]\nimages:\n- name: app\n  newTag: '1' # imgbump: hold it\n"},
			[]string{"skipped o/d.yaml:3 set by o/kustomization.yaml:4"}, fault.Failed,
		},
		"what is held already": {
			tree{"a.yaml": "image: app:1 # imgbump: hold it", "b.yaml": "image: app:1 # imgbump: hold for another reason"}, bump.Job{Hold: &hold},
			tree{}, []string{"skipped b.yaml:1 held: for another reason"}, fault.Failed,
		},
		"what the configuration holds": {
			tree{"imgbump.yaml": configured, "a.yaml": "image: app:1"}, bump.Job{Hold: &hold},
			tree{}, []string{"skipped a.yaml:1 held: frozen (imgbump.yaml:2)"}, fault.Failed,
		},
		"no place for a comment": {
			tree{"a.yaml": "[{image: app:1}, {image: tool:1}]", "b.yaml": "image: app:1"}, bump.Job{Hold: &hold},
			tree{"b.yaml": "image: app:1 # imgbump: hold it"}, []string{"failed hold back a.yaml:1: line 1 is about tool, too"}, fault.Partial,
		},
		"a file that is none": {
			tree{"a.yaml": "image: app:1\n: :", "b.yaml": "image: app:1"}, bump.Job{Hold: &hold},
			tree{"b.yaml": "image: app:1 # imgbump: hold it"}, []string{"failed read a.yaml:1: not valid YAML: did not find expected key"}, fault.Partial,
		},
		"no such image": {
			tree{"a.yaml": "image: app2:1"}, bump.Job{Hold: &hold}, tree{}, []string{"failed no manifest names app"}, fault.Missing,
		},
		"released": {
			tree{"a.yaml": "image: app:1 # imgbump: hold it\nb: 1", "b.yaml": "# imgbump: hold\nimage: app:1", "c.yaml": "image: tool:1 # imgbump: hold"}, bump.Job{Hold: &release},
			tree{"a.yaml": "image: app:1\nb: 1", "b.yaml": "image: app:1"}, nil, fault.Failed,
		},
		"not held": {tree{"a.yaml": "image: app:1"}, bump.Job{Hold: &release}, tree{}, nil, fault.Failed},
		"held by the configuration": {
			tree{"imgbump.yaml": configured, "a.yaml": "image: app:1"}, bump.Job{Hold: &release},
			tree{}, []string{"failed release a.yaml:1: it is not held by a comment: frozen (imgbump.yaml:2)"}, fault.Partial,
		},
		"held by the configuration as well": {
			tree{"imgbump.yaml": configured, "a.yaml": "image: app:1 # imgbump: hold it"}, bump.Job{Hold: &release},
			tree{"a.yaml": "image: app:1"}, []string{"warning: still held: frozen (imgbump.yaml:2)"}, fault.Failed,
		},
		"a reason of two lines":  {job: bump.Job{Hold: &bump.Hold{Image: app, Reason: "a\nb"}}, kind: fault.Usage},
		"more than a repository": {job: bump.Job{Hold: &bump.Hold{Image: imageref.Ref{Repository: "app", Tag: "1"}}}, kind: fault.Usage},
		"no image":               {job: bump.Job{Hold: &bump.Hold{}}, kind: fault.Usage},
	} {
		t.Run(name, func(t *testing.T) {
			changed, others, err := comments(t, tt.files, tt.job)
			if diff := cmp.Diff(tt.changed, changed); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.others, others); diff != "" {
				t.Error(diff)
			}
			if fault.KindOf(err) != tt.kind {
				t.Errorf("kind %v of %v", fault.KindOf(err), err)
			}
		})
	}
}

// TestHoldCommits has a hold that somebody overtakes, and what its commit says.
func TestHoldCommits(t *testing.T) {
	long := strings.Repeat("é", 50)
	for _, tt := range []struct {
		hold    bump.Hold
		message string
	}{
		{bump.Hold{Image: app, Reason: "waits for #12"}, "Hold app: waits for #12\n\napp:\n- a.yaml:2 1\n\nImgbump: v1\n"},
		{bump.Hold{Image: app}, "Hold app\n\napp:\n- a.yaml:2 1\n\nImgbump: v1\n"},
		{bump.Hold{Image: app, Reason: long}, "Hold app: " + long[:58] + "...\n\n" + long + "\n\napp:\n- a.yaml:2 1\n\nImgbump: v1\n"},
	} {
		b := &branch{tips: []tree{{"a.yaml": "image: app:1\n"}}, others: []tree{{"a.yaml": "# new\nimage: app:1\n"}}}
		committing := bump.Committing{Lost: func(int, error) {}}
		result, err := bump.Job{Hold: &tt.hold}.Commit(t.Context(), b, committing)
		if err != nil || len(result.Commits) != 1 {
			t.Fatalf("%+v, %v", result, err)
		}
		held := b.at(result.Commits[0].SHA)
		if held["MESSAGE"] != tt.message || !utf8.ValidString(held["MESSAGE"]) {
			t.Errorf("message %q, want %q", held["MESSAGE"], tt.message)
		}
		again, err := bump.Job{Hold: &tt.hold}.Commit(t.Context(), b, committing)
		if err != nil || len(again.Commits) != 0 {
			t.Errorf("a second one: %+v, %v", again, err)
		}
		result, err = bump.Job{Hold: &bump.Hold{Image: app, Release: true}}.Commit(t.Context(), b, committing)
		if err != nil || len(result.Commits) != 1 {
			t.Fatalf("%+v, %v", result, err)
		}
		released := b.at(result.Commits[0].SHA)
		if released["a.yaml"] != "# new\nimage: app:1\n" || result.Commits[0].Message != "Release app\n\napp:\n- a.yaml:2 1\n\nImgbump: v1\n" {
			t.Errorf("released: %q", released)
		}
	}
}

// TestHoldBindsUpdate makes up trees: held, an update and a set leave all places of the image alone, and no others; released, the
// tree is what it was.
func TestHoldBindsUpdate(t *testing.T) {
	forms := []string{
		"image: %s:1.0.0\n", "image: '%s:1.0.0'  \r\n", "image: %s:1.0.0 # note\n", "image: %s:1.0.0 # imgbump: semver 1.x\n", "image: {repository: %s, tag: 1.0.0}\n",
		"image:\n  repository: %s\n  tag: \"1.0.0\"", "# note\nimage: %s:1.0.0 # {\"$imagepolicy\": \"flux:a\"}\n", "a: |+\n  b\n\nimage: %s:1.0.0 # c\n",
		"- image: %[1]s:1.0.0\n- name: x\n  image: %[1]s:1.0.0 # y\n",
	}
	tags := tagsOf{"app": "1.0.0 1.1.0", "tool": "1.0.0 1.1.0"}
	for range 200 {
		files := tree{"imgbump.yaml": "version: 1\nimages: [{name: app, policy: {}}, {name: tool, policy: {}}]\n"}
		for i := range 1 + rand.IntN(6) {
			files[fmt.Sprintf("%d/values.yaml", i)] = fmt.Sprintf(forms[rand.IntN(len(forms))], []string{"app", "tool"}[rand.IntN(2)])
		}
		files["values.yaml"] = "image: app:1.0.0\n"
		b := &branch{tips: []tree{files}}
		run := func(job bump.Job) tree {
			result, err := job.Commit(t.Context(), b, bump.Committing{})
			if err != nil || result.Err() != nil || len(result.Commits) > 1 {
				t.Fatalf("%q: %v, %v, %d commits", b.tips[len(b.tips)-1], err, result.Err(), len(result.Commits))
			}
			tip := b.tips[len(b.tips)-1]
			delete(tip, "MESSAGE")
			return tip
		}
		unheld := run(updates(&catalog{tags: tags}))
		b.tips = []tree{files}
		held := run(bump.Job{Hold: &bump.Hold{Image: app, Reason: "#1: wait"}})
		updated := run(updates(&catalog{tags: tags}))
		for p, was := range held {
			want := was
			if !strings.Contains(was, "hold") {
				want = unheld[p]
			}
			if updated[p] != want {
				t.Fatalf("%s: %q became %q", p, was, updated[p])
			}
		}
		b.tips = []tree{held}
		if diff := cmp.Diff(files, run(bump.Job{Hold: &bump.Hold{Image: app, Release: true}})); diff != "" {
			t.Fatal(diff)
		}
	}
}
