package manifest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

func TestAddImage(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"no list":            {"resources:\n- a.yaml\n", "resources:\n- a.yaml\nimages:\n- name: team/app\n  newTag: \"1.10\"\n"},
		"indented":           {"resources:\n  - a.yaml", "resources:\n  - a.yaml\nimages:\n  - name: team/app\n    newTag: \"1.10\""},
		"other quotes":       {"namePrefix: 'a'\n", "namePrefix: 'a'\nimages:\n- name: team/app\n  newTag: '1.10'\n"},
		"CRLF":               {"a: b # c\r\n# end\r\n", "a: b # c\r\nimages:\r\n- name: team/app\r\n  newTag: \"1.10\"\r\n# end\r\n"},
		"last list":          {"images:\n-   name: a # one\n    newTag: v1 # two\n\nb: 1\n", "images:\n-   name: a # one\n    newTag: v1 # two\n-   name: team/app\n    newTag: \"1.10\"\n\nb: 1\n"},
		"after a flow":       {"images:\n- {name: a,\n   newTag: v1, # x\n  }\n", "images:\n- {name: a,\n   newTag: v1, # x\n  }\n- name: team/app\n  newTag: \"1.10\"\n"},
		"after a block":      {"a: |\n  x\n\n  y\n\n# end\n", "a: |\n  x\n\n  y\nimages:\n- name: team/app\n  newTag: \"1.10\"\n\n# end\n"},
		"after a kept block": {"a: |+\n  x\n\n# end\n", "a: |+\n  x\n\nimages:\n- name: team/app\n  newTag: \"1.10\"\n# end\n"},
		"after nothing":      {"a: 1\nb:\n", "a: 1\nb:\nimages:\n- name: team/app\n  newTag: \"1.10\"\n"},
		"after an alias":     {"a: &x 1\nb: *x\n", "a: &x 1\nb: *x\nimages:\n- name: team/app\n  newTag: \"1.10\"\n"},
		"nothing in it":      {"images: # none\nb: 1\n", "images: # none\n- name: team/app\n  newTag: \"1.10\"\nb: 1\n"},
		"empty":              {"images: []\n", "images: [{name: team/app, newTag: \"1.10\"}]\n"},
		"flow":               {"images: [ {name: a} ]\n", "images: [ {name: a}, {name: team/app, newTag: \"1.10\"} ]\n"},
		"all flow":           {"{a: b}\n", "{a: b, images: [{name: team/app, newTag: \"1.10\"}]}\n"},
		"anchored":           {"x: 1\nimages: &i # all\n  -  name: a\n     newTag: v1\n", "x: 1\nimages: &i # all\n  -  name: a\n     newTag: v1\n  -  name: team/app\n     newTag: \"1.10\"\n"},
		"dash on its own":    {"images:\n  -\n    name: a\n", "images:\n  -\n    name: a\n  - name: team/app\n    newTag: \"1.10\"\n"},
		"after plain lines":  {"a: b\n    c\n  d # e\n", "a: b\n    c\n  d # e\nimages:\n- name: team/app\n  newTag: \"1.10\"\n"},
		"after quoted lines": {"a: 'b''\n\n  c' # d\n", "a: 'b''\n\n  c' # d\nimages:\n- name: team/app\n  newTag: '1.10'\n"},
		"after an escape":    {"a: [\"b\\\"\n  c\"]\n", "a: [\"b\\\"\n  c\"]\nimages:\n- name: team/app\n  newTag: \"1.10\"\n"},
		"JSON":               {"{\"images\":[]}", "{\"images\":[{\"name\": \"team/app\", \"newTag\": \"1.10\"}]}"},
		"end of document":    {"--- # x\na: b\n...\n", "--- # x\na: b\nimages:\n- name: team/app\n  newTag: \"1.10\"\n...\n"},
	} {
		edits, err := manifest.AddImage("kustomization.yaml", []byte(tt.in), parse(t, "team/app:1.10"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, err := manifest.Apply([]byte(tt.in), edits)
		if diff := cmp.Diff(tt.want, string(out)); diff != "" || err != nil {
			t.Errorf("%s: %v -want +got:\n%s", name, err, diff)
		}
		found, err := manifest.Find("kustomization.yaml", out, manifest.Rules{})
		if err != nil || len(found) == 0 || !strings.Contains(found[0].Ref.String()+found[len(found)-1].Ref.String(), "team/app:1.10") {
			t.Errorf("%s: the entry is not found: %+v, %v", name, found, err)
		}
		if _, err := manifest.AddImage("kustomization.yaml", out, parse(t, "team/app:2")); err == nil || !strings.Contains(err.Error(), "entry for team/app already") {
			t.Errorf("%s: a second one: %v", name, err)
		}
	}
	for in, part := range map[string]string{"": "empty", "# a\n": "empty", "- a\n": "no mapping", "a: 1\n---\nb: 1\n": "several", "images: x\n": "no list", "a: [": "not valid YAML", "{a: }": "by hand once", "? a\n: b\n": "does not begin a line", "a: &l []\nimages: *l\n": "alias"} {
		if _, err := manifest.AddImage("kustomization.yaml", []byte(in), parse(t, "app:1")); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", in, err, part)
		}
	}
}

func TestSetVersionLabel(t *testing.T) {
	in := `apiVersion: apps/v1
kind: Deployment
metadata: {labels: {app.kubernetes.io/version: 1.9, app: web}} # 1.9
spec:
  selector: {matchLabels: {app.kubernetes.io/version: "1.9"}}
  template:
    metadata:
      labels:
        app.kubernetes.io/version: 'v1.9'
    spec: {containers: [{image: app:1.9}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {labels: {app.kubernetes.io/version: "1.9"}}
`
	want := strings.NewReplacer("version: 1.9,", "version: \"1.10\",", "'v1.9'", "'1.10'").Replace(in)
	found, err := manifest.Find("a.yaml", []byte(in), manifest.Rules{})
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	out, err := manifest.Apply([]byte(in), found[0].SetVersionLabel("1.10"))
	if diff := cmp.Diff(want, string(out)); diff != "" || err != nil {
		t.Errorf("%v -want +got:\n%s", err, diff)
	}
	for _, tag := range []string{"", strings.Repeat("a", 64), "a-", "_a"} {
		if edits := found[0].SetVersionLabel(tag); len(edits) > 0 {
			t.Errorf("%q: %v", tag, edits)
		}
	}
	found, _ = manifest.Find("a.yaml", out, manifest.Rules{})
	if edits := found[0].SetVersionLabel("1.10"); len(edits) > 0 {
		t.Errorf("a second time: %v", edits)
	}
	if found, _ = manifest.Find("a.yaml", []byte("image: app:1\nmetadata: {labels: {app.kubernetes.io/version: x}}\n"), manifest.Rules{}); len(found[0].SetVersionLabel("1")) > 0 {
		t.Error("a file that is no object has no labels")
	}
}
