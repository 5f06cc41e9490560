package bump_test

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// annotated is an Application with annotations for Image Updater, written without their prefix.
func annotated(name, path string, annotations ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: %s\n  annotations:\n    argocd-image-updater.argoproj.io/write-back-method: git\n", name)
	for _, a := range annotations {
		b.WriteString("    argocd-image-updater.argoproj.io/" + a + "\n")
	}
	return b.String() + "spec:\n  source: {repoURL: https://git.example.com/team/gitops, path: " + path + "}\n"
}

// TestWriteBack has places that Image Updater writes to, there and not there, and what else has a say about them.
func TestWriteBack(t *testing.T) {
	const override, values = "chart/.argocd-source-web.yaml", "chart/values.yaml"
	kustomization := annotated("web", "k", "image-list: a=app:^1", "write-back-target: kustomization")
	helm := annotated("web", "chart", "image-list: a=app:^1", "write-back-target: helmvalues")
	plain := annotated("web", "chart", "image-list: a=app:^1")
	digested := annotated("web", "chart", "image-list: a=live:latest", "a.update-strategy: digest")
	for name, tt := range map[string]struct {
		files tree
		want  []string
	}{
		"an entry": {
			tree{"a.yaml": kustomization, "k/kustomization.yaml": "images:\n- {name: app, newTag: 1.0.0}\n", "k/b.yaml": "image: app:0"},
			[]string{"k/kustomization.yaml:2 app:1.0.0 -> app:1.1.0"},
		},
		"no entry": {
			tree{"a.yaml": kustomization, "k/kustomization.yaml": "resources: [b.yaml]\n", "k/b.yaml": pod("app:0")},
			[]string{"k/kustomization.yaml:4 app -> app:1.1.0"},
		},
		"nothing that would use the entry": {
			tree{"a.yaml": kustomization, "k/kustomization.yaml": "resources: [b.yaml]\n", "k/b.yaml": pod("other:0")}, nil,
		},
		"a policy that goes first": {
			tree{"a.yaml": kustomization, "k/kustomization.yaml": "images:\n- {name: app, newTag: 1.0.0}\n", "imgbump.yaml": "version: 1\nimages: [{name: app, policy: {constraint: ^2}}]\n"},
			[]string{"k/kustomization.yaml:2 app:1.0.0 -> app:2.0.0"},
		},
		"two applications with one place": {
			tree{"a.yaml": kustomization, "b.yaml": strings.Replace(annotated("two", "k", "image-list: a=app:^2", "write-back-target: kustomization"), "two", "zwei", 1),
				"k/kustomization.yaml": "images:\n- {name: app, newTag: 1.0.0}\n"},
			[]string{"k/kustomization.yaml:2 app:1.0.0 -> app:1.1.0"},
		},
		"held": {
			tree{"a.yaml": helm, values: "image:\n  name: app\n  tag: 1.0.0 # imgbump: hold for now\n", "chart/Chart.yaml": ""},
			[]string{"skipped chart/values.yaml:3 held: for now"},
		},
		"held by imgbump.yaml": {
			tree{"a.yaml": helm, values: "image:\n  name: app\n  tag: 1.0.0\n", "chart/Chart.yaml": "", "imgbump.yaml": "version: 1\nimages: [{name: app, hold: not now}]\n"},
			[]string{"skipped chart/values.yaml:3 held: not now (imgbump.yaml:2)"},
		},
		"held where it is used, for an entry that is not there": {
			tree{"a.yaml": kustomization, "k/kustomization.yaml": "resources: [b.yaml, c.yaml]\n", "k/b.yaml": pod("app:0"), "k/c.yaml": "# imgbump: hold for now\n" + strings.ReplaceAll(pod("app:0"), "\n", " # imgbump: hold for now\n")},
			[]string{"skipped k/c.yaml:4 held: for now"},
		},
		"held in the values, for a file that is not there": {
			tree{"a.yaml": plain, "chart/Chart.yaml": "", values: "image: {repository: app, tag: 1.0.0} # imgbump: hold\n"},
			[]string{"skipped " + values + ":1 held"},
		},
		"held elsewhere": {
			tree{"a.yaml": kustomization, "k/kustomization.yaml": "resources: [b.yaml]\n", "k/b.yaml": pod("app:0"), "other/c.yaml": "image: app:0 # imgbump: hold\n"},
			[]string{"k/kustomization.yaml:4 app -> app:1.1.0"},
		},
		"a downgrade": {
			tree{"a.yaml": helm, values: "image:\n  name: app\n  tag: 1.2.0\n", "chart/Chart.yaml": ""},
			[]string{"skipped chart/values.yaml:3 1.1.0 would be a downgrade from 1.2.0: --allow-downgrade makes it (newest of 2 tags within ^1; 1 outside ^1)"},
		},
		"a new file": {
			tree{"a.yaml": plain, "chart/Chart.yaml": ""}, []string{override + ":7 app -> app:1.1.0"},
		},
		"a digest": {
			tree{"a.yaml": digested, "chart/Chart.yaml": "", override: "helm:\n  parameters:\n  - {name: image.name, value: live}\n  - {name: image.tag, value: latest@" + digestOf("old") + "}\n"},
			[]string{override + ":4 live:latest@" + digestOf("old") + " -> live:latest@" + digestOf("latest")},
		},
		"an excluded file": {
			tree{"a.yaml": plain, "chart/Chart.yaml": "", override: "", "imgbump.yaml": "version: 1\nexclude: {paths: ['.argocd-source-*']}\n"},
			[]string{"failed read " + override + ", where the policy is written to, for a.yaml:7: it is excluded"},
		},
		"no YAML": {
			tree{"a.yaml": plain, "chart/Chart.yaml": "", override: "a: [\n"},
			[]string{"failed read " + override},
		},
		"a form without a place": {
			tree{"a.yaml": helm, values: "image: app:1.0.0\n", "chart/Chart.yaml": ""},
			[]string{"failed read " + values + ", where the policy is written to, for a.yaml:7: image is no mapping, so that there is no name in it"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &catalog{tags: tagsOf{"app": "1.0.0 1.1.0 2.0.0", "live": "latest"}}
			job := updates(c)
			files := maps.Clone(tt.files)
			plan, err := job.Decide(t.Context(), files.below)
			if err != nil {
				t.Fatal(err)
			}
			got := says(plan)
			if !slices.EqualFunc(tt.want, got, func(want, got string) bool {
				return got == want || strings.HasPrefix(want, "failed") && strings.HasPrefix(got, want)
			}) {
				t.Error(cmp.Diff(tt.want, got))
			}
			for _, r := range plan.Rewrites {
				files[r.Path] = string(r.After)
			}
			if again, err := job.Decide(t.Context(), files.below); err != nil || len(again.Changes) > 0 {
				t.Errorf("again: %q, %v", says(again), err)
			}
		})
	}
}

// TestWriteBackNotToLinks leaves a link alone, which another file is behind.
func TestWriteBackNotToLinks(t *testing.T) {
	files := tree{"a.yaml": annotated("web", "chart", "image-list: a=app:^1", "write-back-target: helmvalues"), "chart/Chart.yaml": "", "chart/values.yaml": "../x"}
	linked := func(under []string) iter.Seq2[manifest.File, error] {
		return func(yield func(manifest.File, error) bool) {
			for f, err := range files.below(under) {
				if f.Path == "chart/values.yaml" {
					f.Skip = "a symbolic link"
				}
				if !yield(f, err) {
					return
				}
			}
		}
	}
	plan, err := updates(&catalog{tags: tagsOf{"app": "1.0.0"}}).Decide(t.Context(), linked)
	if err != nil || len(plan.Rewrites) > 0 || len(plan.Failures) != 1 || !strings.HasSuffix(plan.Failures[0].Err.Error(), "a symbolic link") {
		t.Errorf("%q %v", says(plan), err)
	}
}

// TestWriteBackPer makes commits of what several applications write to one file.
func TestWriteBackPer(t *testing.T) {
	before := tree{
		"a.yaml":           annotated("one", "chart", "image-list: a=app:^1", "a.helm.image-tag: a.tag", "a.helm.image-name: a.name", "write-back-target: helmvalues"),
		"b.yaml":           annotated("two", "chart", "image-list: b=tool", "b.helm.image-spec: b.image", "write-back-target: helmvalues"),
		"chart/Chart.yaml": "", "chart/values.yaml": "a:\n  name: app\n", "pod.yaml": "image: app:1.0.0 # imgbump: semver ^1\n",
	}
	b := &branch{tips: []tree{before}}
	job := updates(&catalog{tags: tagsOf{"app": "1.0.0 1.1.0", "tool": "3.0.0"}})
	result, err := job.Commit(t.Context(), b, bump.Committing{Per: bump.PerApplication})
	if err != nil || len(result.Commits) != 3 {
		t.Fatalf("%d commits, %v", len(result.Commits), err)
	}
	var apps []string
	for _, c := range result.Commits {
		apps = append(apps, c.Changes[0].Application+" "+string(c.Rewrites[0].After))
	}
	want := []string{"one a:\n  name: app\n  tag: 1.1.0\n", "two a:\n  name: app\n  tag: 1.1.0\nb:\n  image: tool:3.0.0\n", " image: app:1.1.0 # imgbump: semver ^1\n"}
	if diff := cmp.Diff(want, apps); diff != "" {
		t.Error(diff)
	}
}
