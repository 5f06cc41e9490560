package bump_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
)

// application is the manifest of an Application of this repository, with what follows its path.
func application(name, path string, wave int, more ...string) string {
	return fmt.Sprintf("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: %s, annotations: {argocd.argoproj.io/sync-wave: '%d'}}\n"+
		"spec: {source: {repoURL: 'https://example.com/home', path: %s%s}}\n---\n", name, wave, path, strings.Join(more, ""))
}

// cluster is a tree with Applications beside the kustomizations and the chart that they deploy.
func cluster() tree {
	files := web("app:0", "images: [{name: app, newTag: '2'}]\n")
	files["argocd/apps.yaml"] = application("one", "web/one", 2) + application("two", "web/two", 1) +
		application("itself", "nowhere", 0, ", kustomize: {images: ['app:1']}")
	files["alone/pod.yaml"] = pod("app:0")
	files["chart/Chart.yaml"] = "name: chart\n"
	files["chart/templates/app.yaml"] = application("'{{ .Values.name }}'", "web", 0)
	files["sets/set.yaml"] = "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: set}\nspec: {generators: [{clusters: {}}]}\n"
	return files
}

// deployed are the changes of a plan as FILE: APPLICATION.
func deployed(p bump.Plan) []string {
	lines := []string{}
	for _, c := range p.Changes {
		lines = append(lines, c.Site.File+": "+c.Application)
	}
	return lines
}

func TestApplications(t *testing.T) {
	here := argocd.Place{Repository: "git@example.com:home.git"}
	all := []string{"alone/pod.yaml: ", "argocd/apps.yaml: itself", "web/base/pod.yaml: two, one", "web/one/kustomization.yaml: one", "web/two/kustomization.yaml: two"}
	for name, tt := range map[string]struct {
		job  bump.Job
		want []string
	}{
		"whole tree":                    {bump.Job{Place: here}, all},
		"repository unknown":            {bump.Job{}, all},
		"another repository":            {bump.Job{Place: argocd.Place{Repository: "https://example.com/other"}}, []string{"alone/pod.yaml: ", "argocd/apps.yaml: itself", "web/base/pod.yaml: ", "web/one/kustomization.yaml: ", "web/two/kustomization.yaml: "}},
		"paths, no need":                {bump.Job{Paths: []string{"web/one"}}, []string{"web/one/kustomization.yaml: "}},
		"paths, and owners are needed":  {bump.Job{Paths: []string{"web/base", "web/one"}, Owners: true}, []string{"web/base/pod.yaml: two, one", "web/one/kustomization.yaml: one"}},
		"one application":               {bump.Job{Applications: []string{"two"}}, []string{"web/base/pod.yaml: two, one", "web/two/kustomization.yaml: two"}},
		"one application within a path": {bump.Job{Applications: []string{"two"}, Paths: []string{"web/two"}}, []string{"web/two/kustomization.yaml: two"}},
		"its own images":                {bump.Job{Applications: []string{"itself"}}, []string{"argocd/apps.yaml: itself"}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.job.Images, _ = bump.ParseImages([]string{"app:9"})
			plan, err := tt.job.Decide(t.Context(), cluster().below)
			if err != nil || len(plan.Failures) > 0 {
				t.Fatal(err, plan.Failures)
			}
			if diff := cmp.Diff(tt.want, deployed(plan)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is not asked for does not change, and what an application does not have is missing there.
func TestOneApplication(t *testing.T) {
	files := cluster()
	files["alone/pod.yaml"] = pod("other:0")
	job := bump.Job{Applications: []string{"one"}}
	job.Images, _ = bump.ParseImages([]string{"other:9"})
	plan, err := job.Decide(t.Context(), files.below)
	if err != nil || fault.KindOf(plan.Err()) != fault.Missing || len(plan.Changes) > 0 {
		t.Errorf("%v, plan %v: %v", err, plan.Err(), deployed(plan))
	}
	job.Applications = []string{"once"}
	if _, err := job.Decide(t.Context(), files.below); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "one") {
		t.Errorf("%v, hint %s", err, fault.HintOf(err))
	}
	if _, err := (bump.Job{Applications: []string{"once"}}).List(t.Context(), files.below); fault.KindOf(err) != fault.Usage {
		t.Errorf("list: %v", err)
	}
}

// An entry is added to the kustomizations of the application alone.
func TestKustomizeAddForOneApplication(t *testing.T) {
	files := cluster()
	files["web/one/kustomization.yaml"] = "resources:\n- ../base\n"
	files["web/two/kustomization.yaml"] = "resources:\n- ../base\n"
	job := bump.Job{KustomizeAdd: true, Applications: []string{"two"}, Paths: []string{"web"}}
	job.Images, _ = bump.ParseImages([]string{"app:9"})
	plan, err := job.Decide(t.Context(), files.below)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"web/two/kustomization.yaml: two"}, deployed(plan)); diff != "" {
		t.Error(diff)
	}
}

func TestListTellsOwners(t *testing.T) {
	l, err := bump.Job{Paths: []string{"web"}, Applications: []string{"one"}}.List(t.Context(), cluster().below)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range l.Sites {
		got = append(got, fmt.Sprintf("%s: %s", s.File, s.Application()))
	}
	if diff := cmp.Diff([]string{"web/base/pod.yaml: two, one", "web/one/kustomization.yaml: one"}, got); diff != "" {
		t.Error(diff)
	}
}

// What is not known is warned of where applications are asked for, not more than anybody reads.
func TestUnclearApplications(t *testing.T) {
	files := cluster()
	files["sets/more.yaml"] = strings.Repeat(files["sets/set.yaml"]+"---\n", 6)
	l, err := bump.Job{}.List(t.Context(), files.below)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, w := range l.Warnings {
		texts = append(texts, fmt.Sprintf("%s:%d %s", w.File, w.Line, w.Text))
	}
	if len(texts) != 6 || texts[0] != "chart/templates/app.yaml:0 a template of a chart declares applications: what they deploy is not known" ||
		texts[1] != "sets/more.yaml:1 ApplicationSet set: its generator clusters is not rendered; what it deploys is not known" || !strings.HasPrefix(texts[5], ":0 3 more ") {
		t.Errorf("%q", texts)
	}
	job := bump.Job{}
	job.Images, _ = bump.ParseImages([]string{"app:9"})
	plan, err := job.Decide(t.Context(), files.below)
	if err != nil || slices.ContainsFunc(plan.Warnings, func(w bump.Warning) bool { return strings.Contains(w.Text, "ApplicationSet") }) {
		t.Errorf("%v, warnings %v", err, plan.Warnings)
	}
}

func TestNamesApplications(t *testing.T) {
	for text, want := range map[string]bool{"": false, "{{.Summary}}": false, "{{with .AppName}}{{.}}{{end}} x": true} {
		if m, err := bump.ParseMessage(text); err != nil || m.NamesApplications() != want {
			t.Errorf("%q: %v, %v", text, m.NamesApplications(), err)
		}
	}
}
