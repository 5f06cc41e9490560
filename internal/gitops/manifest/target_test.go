package manifest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

func ref(t *testing.T, s string) imageref.Ref {
	t.Helper()
	r, err := imageref.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTarget sets images at places that are there, partly there, or not at all. Nothing else may change.
func TestTarget(t *testing.T) {
	helm := manifest.Target{Image: ref(t, "ghcr.io/team/app"), Name: "image.name", Tag: "image.tag"}
	override := helm
	override.Override = true
	images := manifest.Target{Override: true, Image: helm.Image, Replaces: helm.Image}
	renamed := manifest.Target{Override: true, Image: helm.Image, Replaces: ref(t, "app")}
	entry := manifest.Target{Image: helm.Image, Replaces: ref(t, "app")}
	at := func(target manifest.Target, name, tag, spec string) manifest.Target {
		target.Name, target.Tag, target.Spec = name, tag, spec
		return target
	}
	for _, c := range []struct {
		name          string
		target        manifest.Target
		before, after string
		was           string
	}{
		{"new values", helm, "", "image:\n  name: ghcr.io/team/app\n  tag: v2\n", "ghcr.io/team/app"},
		{"values of comments", helm, "# ours\n---\n", "# ours\n---\nimage:\n  name: ghcr.io/team/app\n  tag: v2\n", "ghcr.io/team/app"},
		{"a tag", helm, "image:\n  name: ghcr.io/team/app # hm\n\n  tag:   'v1' # x\nb: 1\n", "image:\n  name: ghcr.io/team/app # hm\n\n  tag:   'v2' # x\nb: 1\n", "ghcr.io/team/app:v1"},
		{"no tag yet", helm, "image:\n    name: ghcr.io/team/app\n# end\nb: 1", "image:\n    name: ghcr.io/team/app\n    tag: v2\n# end\nb: 1", "ghcr.io/team/app"},
		{"no value yet", helm, "image:\nb: 1\n", "image:\n  name: ghcr.io/team/app\n  tag: v2\nb: 1\n", "ghcr.io/team/app"},
		{"short name", helm, "image:\n  registry: ghcr.io\n  name: team/app\n  tag: v1\n", "image:\n  registry: ghcr.io\n  name: team/app\n  tag: v2\n", "ghcr.io/team/app:v1"},
		{"another name", helm, "image: {name: other, tag: v2}\n", "image: {name: ghcr.io/team/app, tag: v2}\n", "ghcr.io/team/app"},
		{"dots", helm, "image.name: ghcr.io/team/app\nimage.tag: \"v1\"\n", "image.name: ghcr.io/team/app\nimage.tag: \"v2\"\n", "ghcr.io/team/app:v1"},
		{"braces", helm, "{}", "{image: {name: ghcr.io/team/app, tag: v2}}", "ghcr.io/team/app"},
		{"alias", helm, "a: &a\n  name: ghcr.io/team/app\n  tag: v1\nimage: *a\n", "a: &a\n  name: ghcr.io/team/app\n  tag: v2\nimage: *a\n", "ghcr.io/team/app:v1"},
		{"windows", helm, "image:\r\n  name: ghcr.io/team/app\r\n", "image:\r\n  name: ghcr.io/team/app\r\n  tag: v2\r\n", "ghcr.io/team/app"},
		{"element", at(helm, "", "x[1].tag", ""), "x:\n- tag: v1\n- tag: v1\n", "x:\n- tag: v1\n- tag: v2\n", "ghcr.io/team/app:v1"},
		{"element without", at(helm, "", "x[1].tag", ""), "x:\n- tag: v1\n- name: b\n", "x:\n- tag: v1\n- name: b\n  tag: v2\n", "ghcr.io/team/app"},
		{"deep", at(helm, "", "a.b.c", ""), "a:\n  x: 1\n", "a:\n  x: 1\n  b:\n    c: v2\n", "ghcr.io/team/app"},
		{"spec", at(helm, "", "", "image"), "image: ghcr.io/team/app:v1\n", "image: ghcr.io/team/app:v2\n", "ghcr.io/team/app:v1"},
		{"new override", override, "", "helm:\n  parameters:\n  - name: image.name\n    value: ghcr.io/team/app\n    forcestring: true\n  - name: image.tag\n    value: v2\n    forcestring: true\n", "ghcr.io/team/app"},
		{"parameters", override, "helm:\n  parameters:\n  - {name: image.tag, value: v1}\n  - {name: image.name, value: team/app}\n", "helm:\n  parameters:\n  - {name: image.tag, value: v2}\n  - {name: image.name, value: team/app}\n", "ghcr.io/team/app:v1"},
		{"another parameter", at(override, "", "tag", ""), "helm:\n  parameters:\n    - name: x\n      value: y\nkustomize: {}\n", "helm:\n  parameters:\n    - name: x\n      value: y\n    - name: tag\n      value: v2\n      forcestring: true\nkustomize: {}\n", "ghcr.io/team/app"},
		{"JSON", at(override, "", "tag", ""), `{"helm": {"parameters": []}}`, `{"helm": {"parameters": [{"name": "tag", "value": "v2", "forcestring": true}]}}`, "ghcr.io/team/app"},
		{"new images", images, "# by us\n", "# by us\nkustomize:\n  images:\n  - ghcr.io/team/app:v2\n", "ghcr.io/team/app"},
		{"images", images, "kustomize:\n  images:\n  - nginx:1\n  - ghcr.io/team/app:v1\n", "kustomize:\n  images:\n  - nginx:1\n  - ghcr.io/team/app:v2\n", "ghcr.io/team/app:v1"},
		{"more images", renamed, "kustomize:\n  images: [\"nginx:1\"]\n", "kustomize:\n  images: [\"nginx:1\", \"app=ghcr.io/team/app:v2\"]\n", "ghcr.io/team/app"},
		{"images beside", renamed, "helm:\n  parameters: []\nkustomize:\n  namePrefix: x\n", "helm:\n  parameters: []\nkustomize:\n  namePrefix: x\n  images:\n  - app=ghcr.io/team/app:v2\n", "ghcr.io/team/app"},
		{"new entry", entry, "resources:\n- a.yaml\n", "resources:\n- a.yaml\nimages:\n- name: app\n  newName: ghcr.io/team/app\n  newTag: v2\n", "ghcr.io/team/app"},
		{"entry", entry, "images:\n- newTag: v1 # now\n  newName: ghcr.io/team/app\n  name: app\n  tagSuffix: -x\n", "images:\n- newTag: v2 # now\n  newName: ghcr.io/team/app\n  name: app\n  tagSuffix: -x\n", "ghcr.io/team/app:v1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := "values.yaml"
			if c.target == entry {
				p = "o/kustomization.yaml"
			}
			site, err := c.target.Site(p, []byte(c.before))
			if err != nil || site.Ref.String() != c.was {
				t.Errorf("it names %s, %v; want %s", site.Ref, err, c.was)
			}
			after, err := c.target.Set(p, []byte(c.before), ref(t, "ghcr.io/team/app:v2"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.after, string(after)); diff != "" {
				t.Error(diff)
			}
			again, err := c.target.Set(p, after, ref(t, "ghcr.io/team/app:v2"))
			if err != nil || string(again) != string(after) {
				t.Errorf("again: %v\n%s", err, again)
			}
			pinned, err := c.target.Set(p, after, ref(t, "ghcr.io/team/app:1.0@sha256:"+strings.Repeat("a", 64)))
			if err != nil || !strings.Contains(string(pinned), "1.0") || !strings.Contains(string(pinned), "sha256:aaa") {
				t.Errorf("pinned: %v\n%s", err, pinned)
			}
		})
	}
}

// TestTargetRefusals leaves alone what has no place for the image.
func TestTargetRefusals(t *testing.T) {
	helm := manifest.Target{Image: ref(t, "app"), Tag: "image.attributes.tag"}
	for name, c := range map[string]struct {
		key, data, want string
	}{
		"text on the way":                {"image.attributes.tag", "image:\n  attributes: v1\n", "attributes is no mapping"},
		"mapping":                        {"image", "image: {tag: v1}\n", "image is not a single value"},
		"no list":                        {"images[0].tag", "a: 1\n", "is not there, and a list is not made"},
		"too short":                      {"images[1].tag", "images: [{tag: a}]\n", "images has no element 1"},
		"below zero":                     {"images[-1].tag", "images: [{tag: a}]\n", "an element is NAME[0]"},
		"no number":                      {"images[x].tag", "images: [{tag: a}]\n", "an element is NAME[0]"},
		"two documents":                  {"tag", "a: 1\n---\nb: 1\n", "several documents"},
		"list":                           {"tag", "- a\n", "no mapping"},
		"twice":                          {"tag", "tag: a\nb: 1\ntag: b\n", ""},
		"no YAML":                        {"tag", "a: [\n", "not valid YAML"},
		"null":                           {"a.tag", "a: null\n", "take that away"},
		"text that would get a line end": {"tag", "a: |\n  x", "would not say the same at [0].a"},
		"a word":                         {"tag", "random content", "no mapping"},
	} {
		helm.Tag = c.key
		after, err := helm.Set("values.yaml", []byte(c.data), ref(t, "app:v2"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v\n%s", name, err, after)
		}
	}
}

func TestTargetHolds(t *testing.T) {
	helm := manifest.Target{Image: ref(t, "app"), Tag: "image.tag"}
	site, err := helm.Site("values.yaml", []byte("image:\n  tag: v1 # imgbump: hold until monday\n"))
	if err != nil || site.Hold != "until monday" || site.Line != 2 {
		t.Errorf("%+v %v", site, err)
	}
}

// FuzzTarget sets an image in anything. Either nothing comes of it, or the file names the image, and the rest is as it was.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"", "{}", "image:\n  tag: v1\n", "a: &a\n  tag: v1\nimage: *a\n", "image:\n- x\n", "a: |\n x", "a: |+\n", "# c\n---\n...\n", "image: |\n  a\n", "image: {tag: 1,}\n", "kustomize:\n  images:\n  - app:1\n", "helm: {parameters: [{name: image.tag, value: 1}]}"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, data string, override bool) {
		target := manifest.Target{Override: override, Image: imageref.Ref{Repository: "app"}, Tag: "image.tag"}
		want := imageref.Ref{Repository: "app", Tag: "v2"}
		_, _ = target.Site("values.yaml", []byte(data))
		after, err := target.Set("values.yaml", []byte(data), want)
		if err == nil {
			if site, err := target.Site("values.yaml", after); err != nil || site.Ref != want {
				t.Errorf("%q became %q, which names %s (%v)", data, after, site.Ref, err)
			}
			unchanged(t, data, string(after))
		}
		target.Tag, target.Replaces = "", imageref.Ref{Repository: "app"}
		_, _ = target.Set("values.yaml", []byte(data), want)
	})
}

// unchanged compares what two files say at their top, but for what is set. A value that others share changes with them.
func unchanged(t *testing.T, before, after string) {
	t.Helper()
	var was, is map[string]any
	if strings.Contains(before, "&") || yaml.Unmarshal([]byte(before), &was) != nil {
		return
	}
	if err := yaml.Unmarshal([]byte(after), &is); err != nil {
		t.Errorf("%q became %q: %v", before, after, err)
	}
	for _, m := range []map[string]any{was, is} {
		for _, key := range []string{"image", "image.tag", "helm", "kustomize"} {
			delete(m, key)
		}
	}
	if len(was)+len(is) > 0 && !cmp.Equal(was, is, cmpopts.EquateNaNs()) {
		t.Errorf("%q became %q", before, after)
	}
}

// TestTargetPeers runs the expectations of Image Updater's own tests about Helm's values, where IMGBUMP_CASES names them.
func TestTargetPeers(t *testing.T) {
	dir := os.Getenv("IMGBUMP_CASES")
	if dir == "" {
		t.Skip("not run: IMGBUMP_CASES names no folder")
	}
	data, err := os.ReadFile(filepath.Join(dir, "helmvalues_paths_aiu.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			Name, Op  string
			Input     map[string]string
			Change    struct{ Path, Value string }
			Want      json.RawMessage
			WantError json.RawMessage `json:"want_error"`
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Cases {
		if c.Op != "set helm value by path" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			target := manifest.Target{Image: imageref.Ref{Repository: "x"}, Tag: c.Change.Path}
			after, err := target.Set("values.yaml", []byte(c.Input["values.yaml"]), imageref.Ref{Repository: "x", Tag: c.Change.Value})
			var want map[string]string
			_ = json.Unmarshal(c.Want, &want)
			switch {
			case len(want) == 0:
				t.Logf("refused upstream (%s), here: %v %q", c.WantError, err, after)
				if err == nil {
					t.Error("it is not refused")
				}
			case err != nil:
				t.Errorf("%v in %q", err, c.Input["values.yaml"])
			case strings.TrimSpace(string(after)) != strings.TrimSpace(want["values.yaml"]):
				t.Error(cmp.Diff(want["values.yaml"], string(after)))
			}
		})
	}
}
