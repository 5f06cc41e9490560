package argocd_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzIndex takes any manifest: nothing of it may end the program, and what it declares is told the same twice.
func FuzzIndex(f *testing.F) {
	cases, _ := filepath.Glob("testdata/owners/*.txtar")
	for _, file := range cases {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(string(file.Data))
		}
	}
	f.Add("namePrefix: a-\ncomponents: [b]\npatches:\n- {target: {kind: App.*}, patch: '[{op: add, path: /spec/source/path, value: x}]'}\n" +
		"patchesStrategicMerge: [a]\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec: {source: {repoURL: r, path: p}}\n")
	f.Fuzz(func(t *testing.T, data string) {
		argocd.Declares([]byte(data))
		argocd.Inputs("kustomization.yaml", []byte(data))
		k := argocd.ParseKustomization("kustomization.yaml", []byte(data), func(p string) (string, []byte) { return p, []byte(data) })
		argocd.Parse("a.yaml", []byte(data)).Kustomized([][]argocd.Kustomization{{k}, {k, k}})
		argocd.ValueAt([]byte(data), "image", "tag")
		files := tree{"apps/a.yaml": data, "web/kustomization.yaml": data, "web/pod.yaml": "", "chart/Chart.yaml": "", "chart/values.yaml": ""}
		index := func() string {
			x, err := argocd.New([]argocd.Declared{argocd.Parse("apps/a.yaml", []byte(data))}, argocd.Place{}, files)
			if err != nil {
				t.Fatal(err)
			}
			return told(x, files)
		}
		if first, second := index(), index(); first != second {
			t.Errorf("told\n%s\nand then\n%s", first, second)
		}
	})
}

const setOf = "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: set}\nspec:\n  generators: [%s]\n" +
	"  template: {metadata: {name: '%s'}, spec: {source: {repoURL: r, path: web}}}\n"

func goSetOf(name string) string {
	return strings.Replace(fmt.Sprintf(setOf, "{list: {elements: [{a: bbbb}]}}", name), "spec:", "spec:\n  goTemplate: true", 1)
}

// TestHostile gives manifests that ask for more than anybody would look at. Each is refused in words, and soon.
func TestHostile(t *testing.T) {
	many := strings.Repeat("{a: b},", 20_000)
	bomb := "x: &a [1]\n"
	for c := 'b'; c < 'p'; c++ {
		bomb += fmt.Sprintf("y%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9))
	}
	for name, tt := range map[string]struct{ manifest, want string }{
		"too many applications": {fmt.Sprintf(setOf, "{list: {elements: ["+many+"]}}", "{{a}}"), "it makes more than 10000 applications"},
		"too many of several":   {strings.Repeat(fmt.Sprintf(setOf, "{list: {elements: ["+many[:7*9000]+"]}}", "{{a}}")+"---\n", 2), "some applications are left out of account"},
		"too long a name":       {fmt.Sprintf(setOf, "{list: {elements: [{a: "+strings.Repeat("b", 2000)+"}]}}", "{{a}}{{a}}{{a}}"), "a text of more than 4096 bytes"},
		"too much to compare": {
			fmt.Sprintf(setOf, "{git: {repoURL: r, directories: ["+strings.Repeat("{path: '*/*'},", 30_000)+"]}}", "{{path}}"), "its generator looks through too much",
		},
		"too many in a folder": {strings.Repeat("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec: {source: {repoURL: r, path: web}}\n---\n", 1100),
			"only 1000 of the applications that deploy web are known"},
		"aliases upon aliases": {bomb + fmt.Sprintf(setOf, "{list: {elements: [{a: *o}]}}", "{{a}}"), "excessive aliasing"},
		"too deep":             {fmt.Sprintf(setOf, "{list: {elements: [{values: "+strings.Repeat("[", 9000)+strings.Repeat("]", 9000)+"}]}}", "{{values}}"), "nothing that the generator gives"},
		"deep":                 {fmt.Sprintf(setOf, "{list: {elements: [{values: "+strings.Repeat("[", 40)+"b"+strings.Repeat("]", 40)+"}]}}", "{{values"+strings.Repeat(".0", 40)+"}}"), "nothing that the generator gives"},
		"a loop":               {goSetOf("{{range 1000000000}}a{{end}}"), "is not rendered"},
		"itself":               {goSetOf(`{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`), "is not rendered"},
		"a wide field":         {goSetOf(`{{printf "%1000000000s" .a}}`), "a text of more than 4096 bytes"},
		"more of more":         {goSetOf(`{{.a` + strings.Repeat(` | replace "b" "bbbbbbbbbb"`, 20) + `}}`), "a text of more than 4096 bytes"},
		"braces": {"apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: '{{a}}'}\nspec: {source: {repoURL: r, path: web, directory: {include: '" + strings.Repeat("{a,b,c,d}", 30) + "'}}}\n---\n" +
			"apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec: {source: {repoURL: r, path: web, directory: {include: '" + strings.Repeat("{a,b,c,d}", 30) + "'}}}\n", "is a template"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			files := tree{"a.yaml": tt.manifest, "web/pod.yaml": ""}
			for n := range 2000 {
				files[fmt.Sprintf("x/%d/pod.yaml", n)] = ""
			}
			x, err := argocd.New([]argocd.Declared{argocd.Parse("a.yaml", []byte(tt.manifest))}, argocd.Place{}, files)
			if err != nil {
				t.Fatal(err)
			}
			x.Owners("web/pod.yaml")
			if unclear := x.Unclear(); len(unclear) == 0 || !strings.Contains(fmt.Sprint(unclear), tt.want) {
				t.Errorf("unclear is %.300v, not %s", unclear, tt.want)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestDeclares(t *testing.T) {
	for data, want := range map[string]bool{
		"apiVersion: argoproj.io/v1alpha1\nkind: Application\n":                                                  true,
		"kind: 'ApplicationSet'\napiVersion: \"argoproj.io/v1alpha1\"\n":                                         true,
		`{"kind":"Application","apiVersion":"argoproj.io/v1alpha1"}`:                                             true,
		"apiVersion: argoproj.io/v1alpha1\nkind: Rollout\n":                                                      false,
		"apiVersion: argoproj.io/v1alpha1\nkind: AppProject\n# of an Application\n":                              false,
		"apiVersion: apiextensions.k8s.io/v1\nspec: {group: argoproj.io/v1alpha1, names: {kind: Application}}\n": false,
		"apiVersion: app.k8s.io/v1\nkind: Application\n":                                                         false,
		"":                        false,
		"argoproj.io/Application": false,
	} {
		if argocd.Declares([]byte(data)) != want {
			t.Errorf("%q: not %v", data, want)
		}
	}
}
