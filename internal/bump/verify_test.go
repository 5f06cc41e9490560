package bump_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// unsigned is a job that may use nothing of the catalog.
func unsigned(c *catalog) bump.Job {
	job := updates(c)
	job.Updates.Verify = func(_ context.Context, ref imageref.Ref) error {
		c.note("verify %s", ref)
		return &fault.Error{Kind: fault.Gate, What: "verify", Where: ref.String(), Err: errors.New("it is not signed")}
	}
	return job
}

const updaterOfWeb = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: web
  annotations:
    argocd-image-updater.argoproj.io/image-list: web=r.example/team/app:^1.2
    argocd-image-updater.argoproj.io/web.kustomize.image-name: old/app
spec:
  source: {repoURL: https://git.example.com/team/gitops, path: web}
`

// setters are two policies of Flux that come to the same question, of which one wants a digest.
const setters = `apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app, namespace: f}
spec: {image: r.example/team/app}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: tag, namespace: f}
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: 1.x}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: both, namespace: f}
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: 1.x}}, digestReflectionPolicy: Always}
`

// TestUpdateWritesNothingUnverified has every way in which an image comes to be written.
func TestUpdateWritesNothingUnverified(t *testing.T) {
	digest := digestOf("1.3.0")
	for name, tt := range map[string]struct {
		files    tree
		undigest error
		asked    []string
	}{
		"another name alone": {
			files: tree{"apps/web.yaml": updaterOfWeb, "web/pod.yaml": pod("old/app:1.3.0")},
			asked: []string{"verify r.example/team/app:1.3.0"},
		},
		"a tag, where the digest that another place has cannot be told": {
			files:    tree{"a.yaml": "a: {image: r.example/team/app:1.2.0} # imgbump: semver\nb: {image: 'r.example/team/app:1.2.0@" + digestOf("1.2.0") + "'} # imgbump: semver\n"},
			undigest: errors.New("status 500"),
			asked:    []string{"digest of r.example/team/app:1.3.0", "verify r.example/team/app:1.3.0"},
		},
		"a digest that the second of two policies wants": {
			files: tree{"flux.yaml": setters, "a.yaml": "a: {image: r.example/team/app:1.3.0} # {\"$imagepolicy\": \"f:tag\"}\n" +
				"b: {image: r.example/team/app:1.3.0} # {\"$imagepolicy\": \"f:both\"}\n"},
			asked: []string{"digest of r.example/team/app:1.3.0", "verify r.example/team/app:1.3.0@" + digest},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &catalog{tags: tagsOf{"r.example/team/app": "1.2.0 1.3.0"}, undigested: tt.undigest}
			plan, err := unsigned(c).Decide(t.Context(), tt.files.below)
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.Changes) != 0 || len(plan.Rewrites) != 0 || plan.Err() == nil {
				t.Errorf("%q, %v", says(plan), plan.Err())
			}
			asked := slices.DeleteFunc(c.asked, func(s string) bool { return s[:6] == "choose" })
			if diff := cmp.Diff(tt.asked, asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUpdateVerifiesWhatItWrites has a place on the new tip that gets a digest: of what was looked at before, only the tag is
// known.
func TestUpdateVerifiesWhatItWrites(t *testing.T) {
	c := &catalog{tags: tagsOf{"app": "1.3.0"}}
	job := updates(c)
	job.Updates.Verify = func(_ context.Context, ref imageref.Ref) error { c.note("verify %s", ref); return nil }
	files := tree{"a.yaml": "image: app:1.2.0 # imgbump: semver"}
	for _, asked := range [][]string{
		{"choose app ", "verify app:1.3.0"},
		{"digest of app:1.3.0", "verify app:1.3.0@" + digestOf("1.3.0")}, nil,
	} {
		c.asked = nil
		plan, err := job.Decide(t.Context(), files.below)
		if diff := cmp.Diff(asked, c.asked); diff != "" || err != nil || plan.Err() != nil {
			t.Error(diff, err, plan.Err())
		}
		files["b.yaml"] = "image: app:1.2.0@" + digestOf("1.2.0") + " # imgbump: semver"
	}
}

// TestUpdateAsksOn has a registry that answers, if only that most of what it is asked for is not there.
func TestUpdateAsksOn(t *testing.T) {
	c := &catalog{tags: tagsOf{"z.example/good": "1.1"}, missing: true}
	text := ""
	for i := range 40 {
		text += "image: z.example/gone" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + ":1.0 # imgbump: semver\n---\n"
	}
	plan, err := updates(c).Decide(t.Context(), tree{"a.yaml": text + "image: z.example/good:1.0 # imgbump: semver\n"}.below)
	if err != nil || len(plan.Changes) != 1 || len(plan.Failures) != 40 || fault.KindOf(plan.Err()) != fault.Partial {
		t.Errorf("%v; %q, %v", err, says(plan), plan.Err())
	}
	c.missing = false
	c.asked = nil
	if _, err = updates(c).Decide(t.Context(), tree{"a.yaml": text}.below); err != nil || len(c.asked) > 32 {
		t.Errorf("%v; %d questions", err, len(c.asked))
	}
}

// TestUpdateUnreadable has a file that cannot be read, where it counts and where it does not.
func TestUpdateUnreadable(t *testing.T) {
	files := tree{"a/a.yaml": "image: app:1.0 # imgbump: semver\n", "b/b.yaml": "image: app:1.0\n  x: [\n", "b/c.yaml": "image: app:1.0\n"}
	for path, want := range map[string]int{"": 1, "b": 1, "a": 0, "b/c.yaml": 0} {
		c := &catalog{tags: tagsOf{"app": "1.1"}}
		job := updates(c)
		if path != "" {
			job.Paths = []string{path}
		}
		plan, err := job.Decide(t.Context(), files.below)
		if err != nil || len(plan.Failures) != want || want > 0 && (plan.Failures[0].File != "b/b.yaml" || plan.Failures[0].Line == 0 || fault.KindOf(plan.Err()) != fault.Partial) {
			t.Errorf("%s: %v, %q", path, err, says(plan))
		}
		found, err := job.Policies(t.Context(), files.below)
		if err != nil || len(found.Failures) != want {
			t.Errorf("%s: %v, %+v", path, err, found.Failures)
		}
	}
}

// TestNoneFollowed has policies of which none can be followed.
func TestNoneFollowed(t *testing.T) {
	files := tree{"flux.yaml": setters + "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {name: idle, namespace: f}\n" +
		"spec: {suspend: true, imageRepositoryRef: {name: app}, policy: {alphabetical: {}}}\n"}
	plan, err := updates(&catalog{}).Decide(t.Context(), files.below)
	if err != nil || plan.Err() != nil {
		t.Errorf("%v, %v", err, plan.Err())
	}
	files["flux.yaml"] = "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\nmetadata: {name: app, namespace: f}\nspec: {image: app}\n---\n" +
		"apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {name: idle, namespace: f}\nspec: {suspend: true, imageRepositoryRef: {name: app}, policy: {alphabetical: {}}}\n"
	plan, err = updates(&catalog{}).Decide(t.Context(), files.below)
	if err != nil || fault.KindOf(plan.Err()) != fault.Partial || plan.Err().Error() != "0 of 1 policies are followed" {
		t.Errorf("%v, %v", err, plan.Err())
	}
}

// TestOutdatedNewest is what there would be without the policy's bounds, but nothing that was never meant as a version.
func TestOutdatedNewest(t *testing.T) {
	c := &catalog{tags: tagsOf{"app": "1.0.0 1.1.0 2.0.0 2.1.0-x 3.0.0 20240105 2024.1.0"}}
	job := updates(c)
	files := tree{
		"a.yaml": "image: app:1.0.0 # imgbump: semver ^1 ignore-tags=3.*", "b.yaml": "image: app:2023.1.0 # imgbump: semver <2024",
	}
	_, outdated, err := job.Outdated(t.Context(), files.below, job.Updates)
	var got []string
	for _, o := range outdated {
		got = append(got, o.File+" "+o.Allowed.String()+" "+o.Newest.String())
	}
	if diff := cmp.Diff([]string{"a.yaml app:1.1.0 app:2.0.0", "b.yaml app:2023.1.0 app:2024.1.0"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// TestFailuresTogether has what several failures have in common told once.
func TestFailuresTogether(t *testing.T) {
	down := &fault.Error{What: "reach r.example", Hint: "is it running?", Err: errors.New("refused")}
	gone := &fault.Error{What: "list the tags of r.example/gone", Hint: "check its name", Err: errors.New("no such image")}
	at := func(line int, err error) bump.Failure {
		return bump.Failure{File: "imgbump.yaml", Line: line, Err: err}
	}
	for _, tt := range []struct {
		failures   []bump.Failure
		text, hint string
	}{
		{[]bump.Failure{at(1, gone)}, "list the tags of r.example/gone: no such image (for imgbump.yaml:1)", "check its name"},
		{[]bump.Failure{at(1, down), at(2, down), at(3, down), at(4, down)},
			"4 failures, all of them: reach r.example: refused (for imgbump.yaml:1, imgbump.yaml:2, imgbump.yaml:3 and 1 more)", "is it running?"},
		{[]bump.Failure{at(1, down), at(2, gone), at(3, down)},
			"3 failures:\nreach r.example: refused (2 times: for imgbump.yaml:1, imgbump.yaml:3)\n  hint: is it running?\n" +
				"list the tags of r.example/gone: no such image (for imgbump.yaml:2)\n  hint: check its name", ""},
		{[]bump.Failure{{Err: down}, {Err: down}, {Err: errors.New("odd")}},
			"3 failures:\nreach r.example: refused (2 times)\n  hint: is it running?\nodd", ""},
		{[]bump.Failure{at(1, &fault.Error{What: "read", Where: "imgbump.yaml:1"})}, "read imgbump.yaml:1", ""},
	} {
		err := bump.Plan{Failures: tt.failures, Named: 1}.Err()
		if diff := cmp.Diff(tt.text, err.Error()); diff != "" || fault.HintOf(err) != tt.hint || fault.KindOf(err) != fault.Partial {
			t.Errorf("%s %q", diff, fault.HintOf(err))
		}
	}
}

// TestAnyPlatform tells where Image Updater would look at fewer images.
func TestAnyPlatform(t *testing.T) {
	build := "    argocd-image-updater.argoproj.io/web.update-strategy: newest-build\nspec:\n"
	for with, want := range map[string]int{
		"spec:\n": 0, build: 1, "    argocd-image-updater.argoproj.io/web.platforms: linux/arm64\n" + build: 0,
	} {
		text := updaterOfWeb[:len(updaterOfWeb)-len("spec:\n  source: {repoURL: https://git.example.com/team/gitops, path: web}\n")]
		files := tree{"apps/web.yaml": text + with + "  source: {repoURL: https://git.example.com/team/gitops, path: web}\n"}
		found, err := bump.Job{}.Policies(t.Context(), files.below)
		if err != nil || len(found.Governed) != 1 {
			t.Fatal(err, found)
		}
		told := slices.DeleteFunc(slices.Clone(found.Governed[0].Notices), func(n config.Notice) bool { return !strings.Contains(n.Text, "images of any platform count") })
		if len(told) != want {
			t.Errorf("%s: %+v", with, found.Governed[0].Notices)
		}
	}
}

// TestOutdatedWrittenBack has places of Image Updater that name no image by themselves.
func TestOutdatedWrittenBack(t *testing.T) {
	files := tree{
		"a.yaml": annotated("web", "chart", "image-list: a=app:^1"), "chart/Chart.yaml": "",
		"chart/.argocd-source-web.yaml": "helm:\n  parameters:\n  - name: image.name\n    value: app\n    forcestring: true\n  - name: image.tag\n    value: 1.0.0\n    forcestring: true\n",
		"b.yaml":                        annotated("two", "k", "image-list: a=app:^1", "write-back-target: kustomization"), "k/kustomization.yaml": "images:\n- {name: app, newTag: 1.0.0}\n",
		"d.yaml":         annotated("odd", "odd", "image-list: a=app:^1", "a.helm.image-name: web.runs", "a.helm.image-tag: web.release", "write-back-target: helmvalues"),
		"odd/Chart.yaml": "", "odd/values.yaml": "web:\n  runs: app\n  release: 1.0.0\n",
		"c.yaml": annotated("new", "charts/new", "image-list: a=app:^1"), "charts/new/Chart.yaml": "",
	}
	job := updates(&catalog{tags: tagsOf{"app": "1.0.0 1.1.0 2.0.0"}})
	listing, outdated, err := job.Outdated(t.Context(), files.below, job.Updates)
	var got []string
	for _, o := range outdated {
		got = append(got, o.File+" "+o.Ref.String()+" "+o.Allowed.String()+" "+o.Newest.String())
	}
	want := []string{"chart/.argocd-source-web.yaml app:1.0.0 app:1.1.0 app:2.0.0", "k/kustomization.yaml app:1.0.0 app:1.1.0 app:2.0.0",
		"odd/values.yaml app:1.0.0 app:1.1.0 app:2.0.0"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || listing.Err() != nil {
		t.Error(diff, err, listing.Err())
	}
}

// TestColonless warns of comments that are ours but for a colon, and of no others.
func TestColonless(t *testing.T) {
	files := tree{"a.yaml": "a: {image: app:1.0} # imgbump semver ^1.2\n#imgbump hold\nb: {image: app:1.0} # imgbump: semver ^1\n" +
		"# imgbump updates this file; see imgbump semver\nc: {image: other:1.0} # imgbump: semver\n"}
	found, err := bump.Job{}.Policies(t.Context(), files.below)
	var lines []int
	for _, w := range found.Warnings {
		lines = append(lines, w.Line)
	}
	if !slices.Equal(lines, []int{1, 2}) || err != nil || len(found.Governed) != 2 {
		t.Errorf("%+v, %v", found.Warnings, err)
	}
}
