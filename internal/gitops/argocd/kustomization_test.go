package argocd_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
)

const plainApp = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web, namespace: argocd, annotations: {argocd.argoproj.io/sync-wave: "1"}}
spec:
  sources:
  - {repoURL: r, path: a, targetRevision: main}
  - {repoURL: r, path: b}
`

// kustomized is what a kustomization makes of an Application, in a line: its sources, and what is unclear.
func kustomized(kustomization string) string {
	k := argocd.ParseKustomization("prod/kustomization.yaml", []byte(kustomization), func(p string) (string, []byte) {
		return p, []byte(map[string]string{"prod/patch.yaml": "- {op: replace, path: /spec/sources/1/path, value: from-file}\n"}[p])
	})
	d := argocd.Parse("app.yaml", []byte(plainApp)).Kustomized([][]argocd.Kustomization{{k}})
	var b strings.Builder
	for _, a := range d.Applications {
		fmt.Fprintf(&b, "%s %d", a.Qualified(), a.Wave)
		for _, s := range a.Sources {
			fmt.Fprintf(&b, " %s@%s", s.Path, s.Revision)
		}
	}
	for _, u := range d.Unclear {
		fmt.Fprintf(&b, " ? %s:%d %s", u.File, u.Line, u.Text)
	}
	return b.String()
}

// The expectations are what kustomize v5.8 builds, or why nothing is known.
func TestKustomized(t *testing.T) {
	const (
		same = "argocd/web 1 a@main b@HEAD"
		may  = " ? app.yaml:1 Application web may be another than it seems: prod/kustomization.yaml: "
	)
	inline := func(target, patch string) string {
		return "patches:\n- target: " + target + "\n  patch: |-\n    " + patch + "\n"
	}
	merge := func(rest string) string {
		return "patches:\n- patch: |-\n    apiVersion: argoproj.io/v1alpha1\n    kind: Application\n    " + rest + "\n"
	}
	for name, tt := range map[string]struct{ kustomization, want string }{
		"nothing":             {"resources: [app.yaml]", same},
		"names":               {"namePrefix: x-\nnameSuffix: -y\nnamespace: team", "team/x-web-y 1 a@main b@HEAD"},
		"annotations":         {"commonAnnotations: {argocd.argoproj.io/sync-wave: '7'}", "argocd/web 7 a@main b@HEAD"},
		"replace":             {inline("{kind: Application}", "- {op: replace, path: /spec/sources/0/targetRevision, value: v1}"), "argocd/web 1 a@v1 b@HEAD"},
		"add to a list":       {inline("{name: w.b}", "- {op: add, path: /spec/sources/-, value: {repoURL: r, path: c}}"), same + " c@HEAD"},
		"add into a list":     {inline("{name: web}", "- {op: add, path: /spec/sources/0, value: {repoURL: r, path: c}}"), "argocd/web 1 c@HEAD a@main b@HEAD"},
		"remove":              {inline("{name: web}", "- {op: remove, path: /spec/sources/0}"), "argocd/web 1 b@HEAD"},
		"escaped":             {inline("{name: web}", "- {op: replace, path: /metadata/annotations/argocd.argoproj.io~1sync-wave, value: '3'}"), "argocd/web 3 a@main b@HEAD"},
		"a file":              {"patchesJson6902:\n- {target: {kind: Application, name: web}, path: patch.yaml}\n", "argocd/web 1 a@main from-file@HEAD"},
		"another's name":      {inline("{name: we}", "- {op: remove, path: /spec/sources/0}"), same},
		"another kind":        {inline("{kind: App}", "- {op: remove, path: /spec/sources/0}"), same},
		"another version":     {inline("{group: argoproj.io, version: v1}", "- {op: remove, path: /spec/sources/0}"), same},
		"another namespace":   {inline("{namespace: other}", "- {op: remove, path: /spec/sources/0}"), same},
		"lists are replaced":  {merge("metadata: {name: web, namespace: argocd}\n    spec: {sources: [{repoURL: r, path: c}]}"), "argocd/web 1 c@HEAD"},
		"null removes":        {merge("metadata: {name: web, namespace: argocd, annotations: null}"), "argocd/web 0 a@main b@HEAD"},
		"a merge for another": {merge("metadata: {name: other, namespace: argocd}\n    spec: {sources: []}"), same},
		"in another place":    {merge("metadata: {name: web, namespace: other}\n    spec: {sources: []}"), same},
		"a name stays":        {inline("{kind: Application}", "{kind: Application, metadata: {name: any}, spec: {sources: [{repoURL: r, path: c}]}}"), "argocd/web 1 c@HEAD"},
		"no such element":     {inline("{name: web}", "- {op: replace, path: /spec/sources/2, value: {}}"), same + may + "a patch is not understood"},
		"a move":              {inline("{name: web}", "- {op: move, path: /spec/sources/1, from: /spec/sources/0}"), same + may + "a patch is not understood"},
		"a directive":         {merge("metadata: {name: web}\n    $patch: delete"), same + may + "a patch is not understood"},
		"a selector":          {inline("{labelSelector: a=b}", "- {op: remove, path: /spec/sources/0}"), same + may + "the selector of a patch is not evaluated"},
		"replacements":        {"replacements: [{path: r.yaml}]", same + may + "its replacements, transformers and vars are not applied"},
		"no YAML":             {"patches: {", same + may + "it cannot be read"},
		"no expression":       {inline("{name: '['}", "- {op: remove, path: /spec/sources/0}"), same + may + "it cannot be read"},
	} {
		if diff := cmp.Diff(tt.want, kustomized(tt.kustomization)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A kustomization that asks for more than anybody would look at is given up in words.
func TestHostileKustomization(t *testing.T) {
	components := "components: [" + strings.Repeat("a,", 50) + "]\n"
	k := argocd.ParseKustomization("kustomization.yaml", []byte(components), func(p string) (string, []byte) { return p, []byte(components) })
	d := argocd.Parse("app.yaml", []byte(plainApp)).Kustomized([][]argocd.Kustomization{{k}})
	if len(d.Applications) != 1 || len(d.Unclear) == 0 || !strings.HasSuffix(d.Unclear[0].Text, "it has too many components") {
		t.Error(d.Applications, d.Unclear)
	}
	k = argocd.ParseKustomization("kustomization.yaml", []byte("patches:\n"+strings.Repeat("- {patch: '[]', target: {name: x}}\n", 1001)), func(p string) (string, []byte) { return p, nil })
	d = argocd.Parse("app.yaml", []byte(strings.Repeat(plainApp+"---\n", 1000))).Kustomized([][]argocd.Kustomization{{k}})
	if len(d.Applications) != 1000 || len(d.Unclear) != 1 || !strings.HasSuffix(d.Unclear[0].Text, "too many patches are for them") {
		t.Error(len(d.Applications), d.Unclear)
	}
}
