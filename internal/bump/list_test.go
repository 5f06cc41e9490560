package bump_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/fault"
)

// pod is a Pod that runs the given images, the first of them on line 3.
func pod(images ...string) string {
	return "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: " + strings.Join(images, "},\n {image: ") + "}]}\n"
}

// web is a base with two overlays: one has an entry for the image, the other what is given.
func web(image, other string) tree {
	return tree{
		"web/base/pod.yaml":           pod(image),
		"web/base/kustomization.yaml": "resources:\n- pod.yaml\n",
		"web/one/kustomization.yaml":  "resources:\n- ../base\nimages:\n- name: app\n  newTag: '1'\n",
		"web/two/kustomization.yaml":  "resources:\n- ../base\n" + other,
	}
}

func list(t *testing.T, files tree) bump.Listing {
	t.Helper()
	l, err := bump.Job{}.List(t.Context(), files.below)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// places are the sites of a listing as FILE:LINE REFERENCE, with what decides the version instead.
func places(l bump.Listing) []string {
	lines := []string{}
	for _, s := range l.Sites {
		line := fmt.Sprintf("%s:%d %s", s.File, s.Line, s.Ref)
		if s.SetBy != "" {
			line += " set by " + s.SetBy
		}
		lines = append(lines, line)
	}
	return lines
}

func TestListTellsWhatCounts(t *testing.T) {
	entry := "web/one/kustomization.yaml:5 app:1"
	for name, tt := range map[string]struct {
		files tree
		want  []string
	}{
		"every overlay sets it": {web("app:0", "images: [{name: app, newTag: '2'}]\n"), []string{
			"web/base/pod.yaml:3 app:0 set by web/one/kustomization.yaml:5", entry, "web/two/kustomization.yaml:3 app:2",
		}},
		"one overlay does not":       {web("app:0", ""), []string{"web/base/pod.yaml:3 app:0", entry}},
		"one only renames":           {web("app:0", "images: [{name: app, newName: other}]\n"), []string{"web/base/pod.yaml:3 app:0", entry, "web/two/kustomization.yaml:3 other"}},
		"one sets another image":     {web("app:0", "images: [{name: apps, newTag: '2'}]\n"), []string{"web/base/pod.yaml:3 app:0", entry, "web/two/kustomization.yaml:3 apps:2"}},
		"an overlay upon an overlay": {tree{"a/kustomization.yaml": "resources: [pod.yaml]\nimages: [{name: app, newTag: '1'}]\n", "a/pod.yaml": pod("app"), "b/kustomization.yaml": "resources: ['../a']\nimages: [{name: app, newTag: '2'}]\n"}, []string{"a/kustomization.yaml:2 app:1 set by b/kustomization.yaml:2", "a/pod.yaml:3 app set by a/kustomization.yaml:2", "b/kustomization.yaml:2 app:2"}},
		"a patch in the same file":   {tree{"k/kustomization.yaml": "images: [{name: app, newTag: '1'}]\npatches:\n- patch: |-\n    apiVersion: v1\n    kind: Pod\n    spec: {containers: [{image: app:0}]}\n"}, []string{"k/kustomization.yaml:1 app:1", "k/kustomization.yaml:6 app:0 set by k/kustomization.yaml:1"}},
		"a ring of kustomizations":   {tree{"a/kustomization.yaml": "resources: [../b, pod.yaml]\n", "a/pod.yaml": pod("app"), "b/kustomization.yaml": "resources: [../a]\nimages: [{name: app, newTag: '2'}]\n"}, []string{"a/pod.yaml:3 app", "b/kustomization.yaml:2 app:2"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, places(list(t, tt.files))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestTraits(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	l := list(t, tree{
		"a.yaml":      pod("nginx", "nginx:latest", "nginx:latest"+digest, "nginx:1", "docker.io/library/nginx:2"),
		"b.yaml":      pod("team/app:1", "team/app:1"),
		"values.yaml": "image: {repository: team/chart, tag: ''}\n",
	})
	for trait, want := range map[bump.Trait][]string{
		bump.Latest:     {"a.yaml:3 nginx", "a.yaml:4 nginx:latest"},
		bump.NoDigest:   {"a.yaml:3 nginx", "a.yaml:4 nginx:latest", "a.yaml:6 nginx:1", "a.yaml:7 docker.io/library/nginx:2", "b.yaml:3 team/app:1", "b.yaml:4 team/app:1"},
		bump.Duplicates: {"a.yaml:3 nginx", "a.yaml:4 nginx:latest", "a.yaml:5 nginx:latest" + digest, "a.yaml:6 nginx:1", "a.yaml:7 docker.io/library/nginx:2"},
	} {
		if diff := cmp.Diff(want, places(l.With(trait))); diff != "" {
			t.Errorf("%s: -want +got:\n%s", trait, diff)
		}
		if refused := l.Refuse([]bump.Trait{trait}); len(refused) != len(want) || refused[0].Hint() == "" || !strings.HasPrefix(refused[0].Text, "nginx ") {
			t.Errorf("%s: refused %d of %d: %+v", trait, len(refused), len(want), refused[0])
		}
	}
	if l.With(bump.NoDigest).With(bump.Latest).Sites[0].File != "a.yaml" || len(l.Refuse(nil)) != 0 {
		t.Error("traits do not combine")
	}
	overridden := list(t, web("app", "images: [{name: app, newTag: '2'}]\n"))
	if got := places(overridden.With(bump.Latest)); len(got) != 0 {
		t.Errorf("judged although kustomizations decide: %v", got)
	}
}

func TestListOfBrokenFiles(t *testing.T) {
	l := list(t, tree{"a.yaml": "image: 1\nb: [\n", "b.yaml": pod("app:1")})
	if fault.KindOf(l.Err()) != fault.Partial || len(l.Sites) != 1 || l.Failures[0].File != "a.yaml" || l.Failures[0].Line == 0 {
		t.Errorf("%+v: %v", l, l.Err())
	}
}

// TestSharedBase holds that an edit is announced to reach several kustomizations where it does, and only there.
func TestSharedBase(t *testing.T) {
	many := web("app:0", "")
	for i := range 9 {
		for p, content := range web("app:0", "") {
			many[fmt.Sprintf("%d/%s", i, p)] = content
		}
	}
	for name, tt := range map[string]struct {
		files tree
		want  []string
	}{
		"two roots":        {web("app:0", ""), []string{"web/base/pod.yaml:3 2 kustomizations build from this: web/one, web/two;"}},
		"all override it":  {web("app:0", "images: [{name: app, newTag: '2'}]\n"), nil},
		"one root":         {tree{"k/kustomization.yaml": "resources: [pod.yaml]\n", "k/pod.yaml": pod("app:0")}, nil},
		"no kustomization": {tree{"pod.yaml": pod("app:0")}, nil},
		"several sites":    {web("app:0}, {image: app:0", ""), []string{"web/base/pod.yaml:3 2 kustomizations build from this and others (1): web/one, web/two;"}},
		"many": {many, []string{
			"0/web/base/pod.yaml:3 2", "1/web/base/pod.yaml:3 2", "2/web/base/pod.yaml:3 2", "3/web/base/pod.yaml:3 2", "4/web/base/pod.yaml:3 2", ":0 5 more",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for verb, warnings := range map[string][]bump.Warning{"set": decide(t, tt.files, "app:9").Warnings, "list": list(t, tt.files).Warnings} {
				got := slices.Clone(warnings)
				for i, want := range tt.want {
					if i >= len(got) || !strings.HasPrefix(fmt.Sprintf("%s:%d %s", got[i].File, got[i].Line, got[i].Text), want) {
						t.Fatalf("%s: got %+v, want %q", verb, got, want)
					}
				}
				if len(got) != len(tt.want) {
					t.Errorf("%s: got %+v", verb, got)
				}
			}
		})
	}
}
