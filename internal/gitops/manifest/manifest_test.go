package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestSet runs testdata/set: the archive's comment is [OLD=]REF, "in" is the file, "want" what must become of it,
// "sites" (optional) what Find says of it. An empty file named kustomization.yaml gives the file that name.
func TestSet(t *testing.T) {
	paths, _ := filepath.Glob("testdata/set/*.txtar")
	if len(paths) == 0 {
		t.Fatal("no cases")
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name, parts := "values.yaml", map[string]string{}
			for _, f := range archive.Files {
				parts[f.Name] = string(f.Data)
				if len(f.Data) == 0 {
					name = f.Name
				}
			}
			request := strings.TrimSpace(string(archive.Comment))
			got := set(t, name, parts["in"], request)
			if diff := cmp.Diff(parts["want"], got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if again := set(t, name, got, request); again != got {
				t.Errorf("a second run changes the file again:\n%s", cmp.Diff(got, again))
			}
			if want, ok := parts["sites"]; ok {
				if diff := cmp.Diff(want, listing(t, name, parts["in"])); diff != "" {
					t.Errorf("sites -want +got:\n%s", diff)
				}
			}
		})
	}
}

// set makes every site that names OLD's or REF's repository name REF.
func set(t *testing.T, name, in, request string) string {
	t.Helper()
	sites, err := manifest.Find(name, []byte(in), manifest.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	old, ref, rename := strings.Cut(request, "=")
	if !rename {
		ref = old
	}
	want, from := parse(t, ref), parse(t, old)
	var edits []manifest.Edit
	for _, s := range sites {
		if s.Ref.Same(want) || rename && (s.Ref.Same(from) || s.Replaces.Same(from)) {
			e, err := s.Set(want, rename)
			if err != nil {
				t.Fatal(err)
			}
			edits = append(edits, e...)
		}
	}
	out, err := manifest.Apply([]byte(in), edits)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func listing(t *testing.T, name, in string) string {
	t.Helper()
	sites, err := manifest.Find(name, []byte(in), manifest.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range sites {
		o := s.Object
		fmt.Fprintf(&b, "%d %s %s %s %s %s/%s %s\n", s.Line, s.Field, s.Shape, o.APIVersion, o.Kind, o.Namespace, o.Name, s.Ref)
	}
	return b.String()
}

func parse(t *testing.T, s string) imageref.Ref {
	t.Helper()
	r, err := imageref.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBytesStay holds the edits against files whose bytes an archive cannot show.
func TestBytesStay(t *testing.T) {
	for name, in := range map[string]string{
		"CRLF":                  "a: 1\r\nimage: app:1\r\n\r\n# end\r\n",
		"byte order mark":       "\ufeffimage: app:1\n",
		"byte order mark twice": "\ufeff# é\nb: [é, {image: app:1}]\n",
		"no final newline":      "x: ü\nimage: app:1",
		"tabs and trailing":     "image:\tapp:1 \t # c\t\n",
		"line separators":       "a: \"x\u2028y\"\nb: \"x\u0085y\"\nimage: app:1\n",
		"old Mac":               "a: 1\rimage: app:1\r",
		"wide before":           "{ a: '日本語😀', image: app:1 }\n",
		"JSON":                  "{\n\t\"image\":\"app:1\"\n}",
	} {
		want := strings.ReplaceAll(in, "app:1", "app:v2")
		if got := set(t, "x.yaml", in, "app:v2"); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestInsertKeepsLineEndings(t *testing.T) {
	got := set(t, "kustomization.yaml", "images:\r\n- name: app", "app:v2")
	if want := "images:\r\n- name: app\r\n  newTag: v2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestOthersImages holds Find against files that name images which no cluster pulls.
func TestOthersImages(t *testing.T) {
	object := "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"spec\": {\"containers\": [{\"image\": \"app:1\"}]}}"
	for path, tt := range map[string]struct {
		content string
		sites   int
	}{
		"values.yaml":              {"image: app:1", 1},
		".gitlab-ci.yml":           {"image: app:1", 0},
		".github/workflows/ci.yml": {"jobs: {a: {container: {image: app:1}}}", 0},
		".tekton/pipeline.yaml":    {object, 1},
		"devcontainer.json":        {`{"image": "app:1"}`, 0},
		"pod.json":                 {object, 1},
		"switches.yaml":            {"allowCustomImage: true\nenableImage: \"false\"\n", 0},
		"git.yaml":                 {"a: {repository: github.com/team/app, tag: v1}\nb: {repository: app, tag: v1}", 0},
	} {
		sites, err := manifest.Find(path, []byte(tt.content), manifest.Rules{})
		if err != nil || len(sites) != tt.sites {
			t.Errorf("%s: %d sites, %v, want %d", path, len(sites), err, tt.sites)
		}
	}
	for path, want := range map[string]bool{
		"a/b.yaml": true, "a/b.yml": true, "a/b.json": true, "a/Kustomization": true, "docker-compose.prod.yml": false,
		"compose.yaml": false, "a/Dockerfile": false, "yaml": false,
	} {
		if manifest.IsManifest(path, manifest.Rules{}) != want {
			t.Errorf("IsManifest(%s) is not %v", path, want)
		}
	}
}

func TestTemplatesAreNotManifests(t *testing.T) {
	charts := manifest.Charts{}
	charts.Add("apps/web/Chart.yaml")
	charts.Add("apps/web/values.yaml")
	for path, want := range map[string]bool{
		"apps/web/templates/a/deployment.yaml": true, "apps/web/values.yaml": false, "apps/templates/x.yaml": false, "templates/x.yaml": false,
	} {
		if charts.Template(path) != want {
			t.Errorf("Template(%s) is not %v", path, want)
		}
	}
}

func TestSyntaxErrorNamesTheLine(t *testing.T) {
	_, err := manifest.Find("x.yaml", []byte("a: 1\nb: {{ .Values.x }}\n c: 2\n"), manifest.Rules{})
	var syntax *manifest.SyntaxError
	if !errors.As(err, &syntax) || syntax.Line == 0 || !strings.HasPrefix(syntax.Message, "not valid YAML: ") {
		t.Errorf("got %#v", err)
	}
	if _, err := manifest.Find("x.yaml", []byte("\xff\xfea\x00"), manifest.Rules{}); err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Errorf("UTF-16: %v", err)
	}
}

// TestSetRefuses holds Set against sites that can be read, but have no place for what is wanted.
func TestSetRefuses(t *testing.T) {
	digest := "app@sha256:" + zeros
	for _, tt := range []struct{ path, in, want, fails string }{
		{"values.yaml", "image: {repository: app, tag: v1}", digest, "image.tag: no digest key to write to"},
		{"values.yaml", "a: &x app\nimage: {repository: *x, tag: *x}", "app:v2", "repository and tag are one value"},
		{"values.yaml", "image: {repository: app, tag: v1, tag: v2}", "app:v3", "tag is not a single value"},
		{"values.yaml", "global: {imageRegistry: x.io}\nimage: {repository: app, tag: v1}", "y.io/app:v2", "its registry is x.io, from global.imageRegistry"},
		{"kustomization.yaml", "images: [{name: a, newName: 'app:v1', newTag: v2}]", "app:v3", "newName carries a version, and so does a key beside it"},
		{".argocd-source.yaml", "helm: {parameters: [{name: image.name, value: app}, {name: image.digest, value: ''}]}", "app:v2", "no tag to write to"},
		{"values.yaml", "image:\n  repository: app\n  imageVersion: '1'\n", "app:v2", "no tag to write to"},
		{"values.yaml", "a: {registry: x.io, repository: app, version: '1'}", "x.io/app:v2", "no tag to write to"},
		{"values.yaml", "image: app\nimageVersion: '1'\n", "app:v2", "no tag to write to"},
	} {
		found, err := manifest.Find(tt.path, []byte(tt.in), manifest.Rules{})
		if err != nil || len(found) != 1 {
			t.Errorf("%s: %d sites, %v", tt.in, len(found), err)
			continue
		}
		want := parse(t, tt.want)
		if edits, err := found[0].Set(want, !found[0].Ref.Same(want)); err == nil || !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: %v, %v, want %q", tt.in, edits, err, tt.fails)
		}
	}
}

func TestApply(t *testing.T) {
	data := []byte("0123456789")
	for _, tt := range []struct {
		edits []manifest.Edit
		want  string
		fails string
	}{
		{[]manifest.Edit{{Start: 8, End: 9, Old: "8", New: "x"}, {Start: 1, End: 3, Old: "12", New: ""}}, "034567x9", ""},
		{[]manifest.Edit{{Start: 1, End: 2, Old: "1", New: "a"}, {Start: 1, End: 2, Old: "1", New: "a"}}, "0a23456789", ""},
		{[]manifest.Edit{{Start: 1, End: 3, Old: "12"}, {Start: 2, End: 4, Old: "23"}}, "", "overlap"},
		{[]manifest.Edit{{Start: 1, End: 2, Old: "1", New: "a"}, {Start: 1, End: 2, Old: "1", New: "b"}}, "", "overlap"},
		{[]manifest.Edit{{Start: 1, End: 2, Old: "x"}}, "", "the file has changed"},
		{[]manifest.Edit{{Start: 9, End: 11, Old: "9"}}, "", "overlap"},
	} {
		got, err := manifest.Apply(data, tt.edits)
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%v: %v, want %q", tt.edits, err, tt.fails)
			}
		} else if err != nil || string(got) != tt.want {
			t.Errorf("%v: %q, %v, want %q", tt.edits, got, err, tt.want)
		}
	}
	if !bytes.Equal(data, []byte("0123456789")) {
		t.Error("Apply wrote into its input")
	}
}
