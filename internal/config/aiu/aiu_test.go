package aiu_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/config/aiu"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// files are a tree, in which kustomizations and charts lie where their files do.
type files map[string]string

func (f files) Has(file string) bool { _, ok := f[file]; return ok }

func (f files) Files() iter.Seq2[manifest.File, error] {
	return func(func(manifest.File, error) bool) {}
}
func (f files) Kustomization(dir string) bool {
	return slices.ContainsFunc(manifest.KustomizationsIn(dir), f.Has)
}
func (f files) Chart(dir string) bool    { return f.Has(dir + "/Chart.yaml") }
func (f files) Builders(string) []string { return nil }

// policies reads the policies of a tree.
func policies(t testing.TB, f files, place argocd.Place) ([]config.Found, []config.Notice) {
	t.Helper()
	var declared []argocd.Declared
	var updaters []aiu.Updater
	var notices []config.Notice
	for name, data := range f {
		declared = append(declared, argocd.Parse(name, []byte(data)))
		if aiu.Declares([]byte(data)) {
			u, n := aiu.Parse(name, []byte(data))
			updaters, notices = append(updaters, u...), append(notices, n...)
		}
	}
	index, err := argocd.New(declared, place, f)
	if err != nil {
		t.Fatal(err)
	}
	found, more := aiu.Policies(index, updaters, f)
	return found, append(notices, more...)
}

// told is what came of it, one thing a line.
func told(found []config.Found, notices []config.Notice) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s %s: %s %s", f.Where(), f.Scope.Application, strings.TrimSpace(f.Name+" "+f.Image.String()), f.Rules.Strategy)
		add := func(name string, value any) {
			if text := fmt.Sprint(value); text != "" && text != "[]" && text != "/" && text != "false" {
				fmt.Fprintf(&b, " %s=%s", name, text)
			}
		}
		add("in", f.Rules.Constraint)
		add("allow", f.Rules.AllowTags)
		add("ignore", f.Rules.IgnoreTags)
		add("platforms", f.Rules.Platforms)
		add("names", f.Scope.Names.String())
		add("login", f.Credentials)
		add("signed", f.Signed != "")
		if w := f.WriteBack; w != nil {
			fmt.Fprintf(&b, " -> %s %s", w.Kind, w.File)
			add("entry", w.Kustomization)
			add("name", w.Name)
			add("tag", w.Tag)
			add("spec", w.Spec)
			add("always", w.Always)
		}
		if f.Unsupported != "" {
			b.WriteString(" UNSUPPORTED " + f.Unsupported)
		}
		b.WriteString("\n")
		notices = append(notices, f.Notices...)
	}
	for _, n := range notices {
		fmt.Fprintf(&b, "%s %s\n", n.Where(), n.Text)
	}
	return b.String()
}

// TestPolicies reads the trees of testdata: what comes of each is its file "want".
func TestPolicies(t *testing.T) {
	all, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, file := range all {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tree, want := files{}, ""
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				tree[f.Name] = string(f.Data)
			}
			place := argocd.Place{Repository: "https://git.example.com/team/gitops", Branch: "main"}
			got := told(policies(t, tree, place))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\nall of it:\n%s", diff, got)
			}
		})
	}
}

// TestResolve are the paths of targets.
func TestResolve(t *testing.T) {
	for _, c := range [][3]string{{"a/b", ".", "a/b"}, {"a/b", "../c", "a/c"}, {"a", "/c/./d", "c/d"}, {"", "values.yaml", "values.yaml"}, {".", "./x", "x"}, {"a", "../..", ".."}} {
		if got := aiu.Resolve(c[0], c[1]); got != c[2] {
			t.Errorf("%s of %s is %s, want %s", c[1], c[0], got, c[2])
		}
	}
}

// TestResolvePeers runs what Image Updater's own tests expect of targets, where IMGBUMP_CASES names them.
func TestResolvePeers(t *testing.T) {
	dir := os.Getenv("IMGBUMP_CASES")
	if dir == "" {
		t.Skip("not run: IMGBUMP_CASES names no folder")
	}
	data, err := os.ReadFile(filepath.Join(dir, "kustomize_writeback_aiu.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			Name, Op string
			Input    json.RawMessage
			Want     json.RawMessage
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range file.Cases {
		var input struct {
			Target string
			Path   string `json:"source_path"`
		}
		var want string
		if c.Op != "resolve write-back target path" || json.Unmarshal(c.Input, &input) != nil || json.Unmarshal(c.Want, &want) != nil {
			continue
		}
		n++
		kind, rest, _ := strings.Cut(input.Target, ":")
		if rest == "" {
			rest = map[string]string{"kustomization": ".", "helmvalues": "values.yaml"}[kind]
		}
		if got := aiu.Resolve(input.Path, rest); got != want {
			t.Errorf("%s: %s, want %s", c.Name, got, want)
		}
	}
	if n == 0 {
		t.Error("there are no cases")
	}
}

// FuzzPolicies reads anything as an Application and as an ImageUpdater.
func FuzzPolicies(f *testing.F) {
	f.Add("image-list", "a=b:1", "namePattern: '*'")
	f.Add("write-back-target", "kustomization:../../x", "images: [{alias: a, imageName: b}]")
	f.Add("a.helm.image-tag", "x\ny: z", "labelSelectors: {matchExpressions: [{key: a, operator: In}]}")
	f.Fuzz(func(t *testing.T, key, value, ref string) {
		app := fmt.Sprintf("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: a\n  annotations:\n    argocd-image-updater.argoproj.io/image-list: a=b:1\n    argocd-image-updater.argoproj.io/write-back-method: git\n    argocd-image-updater.argoproj.io/%s: %q\nspec:\n  source: {repoURL: x, path: p, kustomize: {}}\n", key, value)
		found, _ := policies(t, files{"a.yaml": app, "p/kustomization.yaml": ""}, argocd.Place{})
		for _, f := range found {
			if w := f.WriteBack; w != nil && (strings.HasPrefix(w.File, "/") || strings.HasPrefix(w.File, "../") || strings.ContainsAny(w.Name+w.Tag+w.Spec, "\n#'\"{}")) {
				t.Errorf("it is written to %+v", w)
			}
		}
		cr := "apiVersion: argocd-image-updater.argoproj.io/v1alpha1\nkind: ImageUpdater\nspec:\n  applicationRefs:\n  - namePattern: a\n  - " + strings.ReplaceAll(ref, "\n", "\n    ") + "\n"
		policies(t, files{"a.yaml": app, "u.yaml": cr}, argocd.Place{})
	})
}

// TestAliases reads a resource that says one thing a thousand times a thousand times.
func TestAliases(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: argocd-image-updater.argoproj.io/v1alpha1\nkind: ImageUpdater\nspec:\n  applicationRefs:\n  - &r\n    namePattern: '*'\n    images:\n    - &i {imageName: a, commonUpdateSettings: {platforms: &p [")
	b.WriteString(strings.Repeat("linux/amd64,", 1000) + "]}}\n" + strings.Repeat("    - *i\n", 1000) + strings.Repeat("  - *r\n", 1000))
	_, notices := aiu.Parse("u.yaml", []byte(b.String()))
	if len(notices) == 0 || !strings.Contains(notices[0].Text, "more than 200000 things") {
		t.Errorf("%v", notices)
	}
}
