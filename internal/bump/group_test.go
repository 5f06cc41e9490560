package bump_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/bump"
)

var grouped = tree{
	"a.yaml":               "first: {image: a:1, other: {image: b:1}}\n",
	"b.yaml":               "image: b:1\n",
	"o/kustomization.yaml": "resources: [d.yaml]\n",
	"o/d.yaml":             "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {containers: [{image: a:1}, {image: b:1}]}\n",
}

func TestCommitPer(t *testing.T) {
	for _, tt := range []struct {
		name string
		per  bump.Grouping
		job  bump.Job
		want []tree // what each commit changed
	}{
		{"all", bump.All, bump.Job{}, []tree{{
			"MESSAGE": "2 images", "a.yaml": "first: {image: a:2, other: {image: b:2}}\n", "b.yaml": "image: b:2\n",
			"o/d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {containers: [{image: a:2}, {image: b:2}]}\n",
		}}},
		{"image", bump.PerImage, bump.Job{Paths: []string{"a.yaml", "b.yaml"}}, []tree{
			{"MESSAGE": "a to 2", "a.yaml": "first: {image: a:2, other: {image: b:1}}\n"},
			{"MESSAGE": "b to 2", "a.yaml": "first: {image: a:2, other: {image: b:2}}\n", "b.yaml": "image: b:2\n"},
		}},
		{"file", bump.PerFile, bump.Job{Paths: []string{"a.yaml", "b.yaml"}}, []tree{
			{"MESSAGE": "2 images", "a.yaml": "first: {image: a:2, other: {image: b:2}}\n"},
			{"MESSAGE": "b to 2", "b.yaml": "image: b:2\n"},
		}},
		{"additions", bump.PerImage, bump.Job{KustomizeAdd: true, Paths: []string{"o"}}, []tree{
			{"MESSAGE": "a to 2", "o/kustomization.yaml": "resources: [d.yaml]\nimages:\n- name: a\n  newTag: \"2\"\n"},
			{"MESSAGE": "b to 2", "o/kustomization.yaml": "resources: [d.yaml]\nimages:\n- name: a\n  newTag: \"2\"\n- name: b\n  newTag: \"2\"\n"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &branch{tips: []tree{grouped}}
			tt.job.Images, _ = bump.ParseImages([]string{"a:2", "b:2"})
			message, _ := bump.ParseMessage("{{.Summary}}")
			result, err := tt.job.Commit(t.Context(), b, bump.Committing{Per: tt.per, Message: message})
			if err != nil {
				t.Fatal(err)
			}
			var got []tree
			for i, c := range result.Commits {
				changed := difference(b.tips[i], b.at(c.SHA))
				changed["MESSAGE"], _, _ = strings.Cut(c.Message, "\n")
				got = append(got, changed)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// difference is what the later tree has otherwise.
func difference(before, after tree) tree {
	d := tree{}
	for p, content := range after {
		if before[p] != content {
			d[p] = content
		}
	}
	return d
}

// A pull request that cannot be pushed leaves those before it, and says that it failed.
func TestProposals(t *testing.T) {
	base := &branch{tips: []tree{grouped}}
	heads := map[string]*branch{}
	refused := errors.New("refused")
	job := bump.Job{Paths: []string{"a.yaml", "b.yaml"}}
	job.Images, _ = bump.ParseImages([]string{"a:2", "b:2"})
	committing := bump.Committing{Proposals: &bump.Proposals{Per: bump.PerImage, Head: func(group string) (bump.Branch, error) {
		if group == "docker.io/library/b" {
			return nil, refused
		}
		heads[group] = &branch{tips: []tree{grouped}}
		return heads[group], nil
	}}}
	result, err := job.Commit(t.Context(), base, committing)
	if err != nil || len(result.Commits) != 1 || len(result.Commits[0].Changes) != 1 {
		t.Fatalf("%+v, %v", result.Commits, err)
	}
	if len(base.tips) != 1 || heads["docker.io/library/a"].at(result.Commits[0].SHA)["a.yaml"] != "first: {image: a:2, other: {image: b:1}}\n" {
		t.Errorf("base %v, heads %v", base.tips, heads)
	}
	if len(result.Failures) != 1 || !errors.Is(result.Failures[0].Err, refused) {
		t.Errorf("failures %+v", result.Failures)
	}
}

// What is declined is left out of its own pull request alone, and of what the result says.
func TestProposalsDeclined(t *testing.T) {
	heads := map[string]*branch{"a": {tips: []tree{grouped}}, "b": {tips: []tree{grouped}}}
	job := bump.Job{Paths: []string{"a.yaml", "b.yaml"}}
	job.Images, _ = bump.ParseImages([]string{"a:2", "b:2", "nowhere:2"})
	result, err := job.Commit(t.Context(), &branch{tips: []tree{grouped}}, bump.Committing{Proposals: &bump.Proposals{
		Per:  bump.PerImage,
		Head: func(group string) (bump.Branch, error) { return named{heads[path.Base(group)], path.Base(group)}, nil },
		Declined: func(_ context.Context, head string, p bump.Plan) (string, error) {
			if head == "b" && len(p.Changes) == 2 && len(p.Failures) == 1 {
				return "no", nil
			}
			return "", nil
		},
	}})
	if err != nil || len(result.Commits) != 1 || result.Commits[0].Branch != "a" || len(heads["b"].tips) != 1 {
		t.Fatalf("%v, commits %+v", err, result.Commits)
	}
	if diff := cmp.Diff([]bump.Skipped{{File: "a.yaml", Line: 1, Reason: "no"}, {File: "b.yaml", Line: 1, Reason: "no"}}, result.Skipped); diff != "" {
		t.Error(diff)
	}
	if len(result.Changes) != 1 || len(result.Rewrites) != 1 || string(result.Rewrites[0].After) != "first: {image: a:2, other: {image: b:1}}\n" {
		t.Errorf("%d changes, rewrites %+v", len(result.Changes), result.Rewrites)
	}
}

// Two images that share a value by an anchor get it in one commit and in one pull request, which says so.
func TestSharedValueIsOneChange(t *testing.T) {
	const before = "one: {image: {repository: a, tag: &v '1'}}\ntwo: {image: {repository: b, tag: *v}}\n"
	start := tree{"a.yaml": before, "b.yaml": "image: b:1\n"}
	after := strings.Replace(before, "'1'", "'2'", 1)
	job := bump.Job{}
	job.Images, _ = bump.ParseImages([]string{"a:2", "b:2"})
	message, _ := bump.ParseMessage("{{.Summary}}")
	heads := map[string]*branch{}
	for name, c := range map[string]bump.Committing{
		"commits": {Per: bump.PerImage},
		"pull requests": {Proposals: &bump.Proposals{Per: bump.PerImage, Head: func(group string) (bump.Branch, error) {
			heads[group] = &branch{tips: []tree{start}}
			return heads[group], nil
		}}},
	} {
		c.Message = message
		base := &branch{tips: []tree{start}}
		result, err := job.Commit(t.Context(), base, c)
		if err != nil || len(result.Commits) != 2 {
			t.Fatalf("%s: %v, %d commits", name, err, len(result.Commits))
		}
		both, other := result.Commits[0], result.Commits[1]
		if len(both.Changes) != 2 || len(other.Changes) != 1 || !strings.HasPrefix(both.Message, "2 images\n") {
			t.Errorf("%s: %q with %d changes, then %d", name, both.Message, len(both.Changes), len(other.Changes))
		}
		var warnings []string
		for _, w := range result.Warnings {
			warnings = append(warnings, fmt.Sprintf("%s:%d %s", w.File, w.Line, w.Text))
		}
		if diff := cmp.Diff([]string{"a.yaml:1 b is changed together with another image: both use this value"}, warnings); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if name == "commits" {
			if got := difference(base.at(both.SHA), base.at(other.SHA)); got["b.yaml"] != "image: b:2\n" || len(got) != 1 {
				t.Errorf("the second commit changes %v", got)
			}
		} else if heads["docker.io/library/a"].at(both.SHA)["a.yaml"] != after || heads["docker.io/library/b"].at(other.SHA)["a.yaml"] != before {
			t.Errorf("heads %v, %v", heads["a"].tips, heads["b"].tips)
		}
	}
}

// What one attempt has published is told although the next one comes to nothing.
func TestProposalsOfAnAttemptThatLost(t *testing.T) {
	base := &branch{tips: []tree{grouped}}
	heads := map[string]*branch{"a": {tips: []tree{grouped}}, "b": {tips: []tree{grouped}, others: []tree{grouped}}}
	job := bump.Job{Paths: []string{"a.yaml", "b.yaml"}}
	job.Images, _ = bump.ParseImages([]string{"a:2", "b:2"})
	result, err := job.Commit(t.Context(), base, bump.Committing{
		Proposals: &bump.Proposals{Per: bump.PerImage, Head: func(group string) (bump.Branch, error) { return named{heads[path.Base(group)], path.Base(group)}, nil }},
		Lost:      func(int, error) { base.gone = errors.New("the server is gone") },
	})
	if err != nil || len(result.Commits) != 1 || result.Commits[0].Branch != "a" || len(result.Changes) == 0 {
		t.Errorf("%v, commits %+v, %d changes", err, result.Commits, len(result.Changes))
	}
	if len(result.Failures) != 1 || !errors.Is(result.Failures[0].Err, base.gone) {
		t.Errorf("failures %+v", result.Failures)
	}
}

// named is a branch of another name.
type named struct {
	*branch
	name string
}

func (n named) Name() string { return n.name }

// A commit for each image costs what its own files cost: four times the images, four times the work, not sixteen.
func TestCommitPerImageIsLinear(t *testing.T) {
	work := func(images int) float64 {
		files := tree{}
		var refs []string
		for i := range images {
			files[fmt.Sprintf("f%03d.yaml", i)] = fmt.Sprintf("image: team/a%03d:1\n", i)
			refs = append(refs, fmt.Sprintf("team/a%03d:2", i))
		}
		var job bump.Job
		job.Images, _ = bump.ParseImages(refs)
		return testing.AllocsPerRun(1, func() {
			result, err := job.Commit(t.Context(), &discarding{branch{tips: []tree{files}}}, bump.Committing{Per: bump.PerImage})
			if err != nil || len(result.Commits) != images {
				t.Fatalf("%d commits, %v", len(result.Commits), err)
			}
		})
	}
	if few, many := work(50), work(200); many > 8*few {
		t.Errorf("%.0f allocations for 50 images, %.0f for 200", few, many)
	}
}

// discarding is a branch that makes no commits, so that only the deciding costs anything.
type discarding struct{ branch }

func (d *discarding) Commit(context.Context, string, map[string][]byte, string) (string, error) {
	return "commit", nil
}
