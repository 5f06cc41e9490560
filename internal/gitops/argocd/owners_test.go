package argocd_test

import (
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/rogpeppe/go-internal/txtar"
)

// tree is files by path.
type tree map[string]string

func (t tree) Files() iter.Seq2[manifest.File, error] {
	return func(yield func(manifest.File, error) bool) {
		for _, p := range t.paths() {
			if !yield(manifest.File{Path: p, Read: func([]byte) ([]byte, error) { return []byte(t[p]), nil }}, nil) {
				return
			}
		}
	}
}

func (t tree) paths() []string {
	var paths []string
	for p := range t {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

func (t tree) has(p string) bool {
	_, has := t[p]
	return has
}

func (t tree) Chart(dir string) bool { return t.has(path.Join(dir, "Chart.yaml")) }

func (t tree) Kustomization(dir string) bool {
	return slices.ContainsFunc(manifest.KustomizationsIn(dir), t.has)
}

func (t tree) Builders(file string) []string {
	dirs := map[string]bool{}
	if manifest.IsKustomization(file) {
		dirs[path.Dir(file)] = true
	}
	for more := true; more; {
		more = false
		for p, data := range t {
			if !manifest.IsKustomization(p) || dirs[path.Dir(p)] {
				continue
			}
			for _, input := range argocd.Inputs(p, []byte(data)) {
				if input == file || dirs[input] {
					dirs[path.Dir(p)], more = true, true
				}
			}
		}
	}
	var all []string
	for dir := range dirs {
		all = append(all, dir)
	}
	return all
}

// declared is what the files declare, in the order of the paths.
func (t tree) declared() []argocd.Declared {
	var all []argocd.Declared
	for _, p := range t.paths() {
		if argocd.Declares([]byte(t[p])) {
			all = append(all, argocd.Parse(p, []byte(t[p])))
		}
	}
	return all
}

// told is what an index tells: a line for each file that is deployed, and for each thing that is unclear.
func told(x *argocd.Index, t tree) string {
	var b strings.Builder
	for _, p := range t.paths() {
		var all []string
		for _, o := range x.Owners(p) {
			all = append(all, fmt.Sprintf("%s %d %s", o.Name, o.Wave, o.Revision))
		}
		if len(all) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", p, strings.Join(all, ", "))
		}
	}
	for _, u := range x.Unclear() {
		fmt.Fprintf(&b, "? %s:%d %s\n", u.File, u.Line, u.Text)
	}
	return b.String()
}

// TestOwners reads testdata/owners: files, the place of the tree as the file "place" says it, and what is told of them.
func TestOwners(t *testing.T) {
	cases, err := filepath.Glob("testdata/owners/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files, place, want := tree{}, argocd.Place{}, ""
			for _, f := range archive.Files {
				switch data := string(f.Data); f.Name {
				case "place":
					fmt.Sscan(data, &place.Repository, &place.Prefix)
				case "want":
					want = data
				default:
					files[f.Name] = data
				}
			}
			declared := files.declared()
			for range 3 {
				x, err := argocd.New(declared, place, files)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, told(x, files)); diff != "" {
					t.Fatal(diff)
				}
				rand.Shuffle(len(declared), func(i, j int) { declared[i], declared[j] = declared[j], declared[i] })
			}
		})
	}
}

func TestSameRepository(t *testing.T) {
	for _, same := range []string{
		"https://github.com/team/home.git", "https://github.com/team/home", "https://GitHub.com/Team/Home.git/",
		"git@github.com:team/home.git", "ssh://git@github.com/team/home", "https://x:secret@github.com:443/team/home.git",
		"git@github.com:/team/home",
	} {
		if !argocd.SameRepository(same, "https://github.com/team/home") {
			t.Errorf("%s is another one", same)
		}
	}
	for _, other := range []string{"https://github.com/team/homes", "https://gitlab.com/team/home", "https://github.com/other/home", "/srv/team/home.git", ""} {
		if argocd.SameRepository(other, "https://github.com/team/home") {
			t.Errorf("%s is the same", other)
		}
	}
	if !argocd.SameRepository("file:///srv/git/home.git", "/srv/git/home") {
		t.Error("a path is no file URL")
	}
}

// broken is a tree that cannot be listed.
type broken struct{ tree }

func (broken) Files() iter.Seq2[manifest.File, error] {
	return func(yield func(manifest.File, error) bool) { yield(manifest.File{}, fs.ErrPermission) }
}

func TestTreeThatCannotBeListed(t *testing.T) {
	files := tree{"set.yaml": "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nspec: {generators: [{git: {repoURL: x, directories: [{path: a}]}}]}\n"}
	if _, err := argocd.New(files.declared(), argocd.Place{}, broken{files}); err == nil {
		t.Error("no error")
	}
}

func TestDeclared(t *testing.T) {
	files := tree{
		"a.yaml": `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: a}
spec: {source: {repoURL: x, path: a, targetRevision: v1}}
---
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: set}
spec:
  generators: [{list: {elements: [{name: c}, {name: b}]}}]
  template: {metadata: {name: '{{name}}'}, spec: {source: {repoURL: x, path: '{{name}}'}}}
`,
	}
	x, err := argocd.New(files.declared(), argocd.Place{}, files)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ file, kind, name, want string }{
		{"a.yaml", "Application", "a", "[a v1]"},
		{"a.yaml", "ApplicationSet", "set", "[b HEAD c HEAD]"},
		{"a.yaml", "Application", "b", "[]"},
		{"b.yaml", "Application", "a", "[]"},
	} {
		got := []string{}
		for _, o := range x.Declared(tt.file, tt.kind, tt.name) {
			got = append(got, o.Name+" "+o.Revision)
		}
		if fmt.Sprint(got) != tt.want {
			t.Errorf("%s %s of %s: %v, not %s", tt.kind, tt.name, tt.file, got, tt.want)
		}
	}
}

// Which of several applications deploy the same is told once for all of them, and not of those that are others' own.
func TestTwice(t *testing.T) {
	app := func(name, folder string) string {
		return "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: " + name + "}\nspec: {source: {repoURL: r, path: " + folder + "}}\n---\n"
	}
	for name, tt := range map[string]struct {
		files tree
		want  string
	}{
		"alone and in a tree": {tree{"a.yaml": app("a", "web") + app("b", "web") + app("root", "apps"), "apps/c.yaml": app("c", "web")}, "[{[0 1 2] web/pod.yaml false}]"},
		"declared again":      {tree{"one/a.yaml": app("a", "web"), "two/a.yaml": app("a", "web")}, "[]"},
		"in two trees":        {tree{"r.yaml": app("r", "one") + app("s", "two"), "one/a.yaml": app("a", "web"), "two/b.yaml": app("b", "web")}, "[]"},
		"in one tree":         {tree{"r.yaml": app("r", "one") + app("s", "one/more"), "one/s.yaml": app("a", "web"), "one/more/b.yaml": app("b", "web")}, "[]"},
		"of one root":         {tree{"r.yaml": app("r", "one"), "one/s.yaml": app("a", "web") + app("s", "two"), "two/b.yaml": app("b", "web")}, "[{[0 1] web/pod.yaml false}]"},
	} {
		tt.files["web/pod.yaml"] = ""
		x, err := argocd.New(tt.files.declared(), argocd.Place{}, tt.files)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(x.Twice(tt.files.paths())); got != tt.want {
			t.Errorf("%s: %s, not %s", name, got, tt.want)
		}
	}
}

// An ApplicationSet's applications are in its namespace, whatever the template says.
func TestSetNamespace(t *testing.T) {
	set := strings.Replace(fmt.Sprintf(setOf, "{list: {elements: [{a: b}]}}", "{{a}}"), "{name: set}", "{name: set, namespace: argo}", 1)
	x, err := argocd.New([]argocd.Declared{argocd.Parse("a.yaml", []byte(set))}, argocd.Place{}, tree{})
	if err != nil || x.Applications()[0].Qualified() != "argo/b" {
		t.Error(err, x.Applications())
	}
}
