package manifest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// sites is "LINE FIELD SHAPE REF [hold: REASON]" of each site.
func sites(t *testing.T, path, in string, rules manifest.Rules) []string {
	t.Helper()
	found, err := manifest.Find(path, []byte(in), rules)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range found {
		line := s.Field + " " + string(s.Shape) + " " + s.Ref.String()
		if s.Hold != "" {
			line += " hold: " + s.Hold
		}
		lines = append(lines, line)
	}
	return lines
}

func TestFieldRules(t *testing.T) {
	object := "apiVersion: example.com/v1\nkind: Runner\nspec:\n  runner: {ref: app:1}\n  steps:\n    - uses: app:1\n    - uses: app:2\n"
	values := "image.tag: v1\na: {b.c: v1}\nlist:\n  - {v: 1.2}\n  - {v: \"sha256:" + zeros + "\"}\nmap: {repository: app, tag: v1}\nempty:\n"
	for name, tt := range map[string]struct {
		path, in string
		rule     manifest.FieldRule
		want     []string
	}{
		"kind":                 {"r.yaml", object, manifest.FieldRule{Kind: "Runner", Path: "spec.runner.ref"}, []string{"spec.runner.ref string app:1"}},
		"kind in a list":       {"r.yaml", "kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Runner, ref: app:1}\n", manifest.FieldRule{Kind: "Runner", Path: "ref"}, []string{"items[0].ref string app:1"}},
		"other kind":           {"r.yaml", object, manifest.FieldRule{Kind: "Walker", Path: "spec.runner.ref"}, nil},
		"kind and file":        {"r.yaml", object, manifest.FieldRule{Kind: "Runner", File: "s.yaml", Path: "spec.runner.ref"}, nil},
		"every element":        {"r.yaml", object, manifest.FieldRule{Kind: "Runner", Path: "spec.steps.uses"}, []string{"spec.steps[0].uses string app:1", "spec.steps[1].uses string app:2"}},
		"one element":          {"r.yaml", object, manifest.FieldRule{Kind: "Runner", Path: "spec.steps[1].uses"}, []string{"spec.steps[1].uses string app:2"}},
		"any key":              {"r.yaml", object, manifest.FieldRule{Kind: "Runner", Path: "spec.*.ref"}, []string{"spec.runner.ref string app:1"}},
		"literal key":          {"values.yaml", values, manifest.FieldRule{File: "values.yaml", Path: "image.tag", Image: "team/app"}, []string{`["image.tag"] version team/app:v1`}},
		"quoted key":           {"values.yaml", values, manifest.FieldRule{File: "values.yaml", Path: `a["b.c"]`, Image: "team/app"}, []string{`a["b.c"] version team/app:v1`}},
		"escaped key":          {"values.yaml", values, manifest.FieldRule{File: "values.yaml", Path: `a.b\.c`, Image: "team/app"}, []string{`a["b.c"] version team/app:v1`}},
		"tag and digest":       {"values.yaml", values, manifest.FieldRule{File: "values.yaml", Path: "list[*].v", Image: "team/app"}, []string{"list[0].v version team/app:1.2", "list[1].v version team/app@sha256:" + zeros}},
		"map":                  {"values.yaml", values, manifest.FieldRule{File: "values.yaml", Path: "map"}, []string{"map.tag helm app:v1"}},
		"empty":                {"values.yaml", values, manifest.FieldRule{File: "values.yaml", Path: "empty", Image: "team/app"}, []string{"empty version team/app"}},
		"file at any depth":    {"a/b/values.yaml", "v: 1", manifest.FieldRule{File: "*/values.yaml", Path: "v", Image: "app"}, []string{"v version app:1"}},
		"file below a folder":  {"values.yaml", "v: 1", manifest.FieldRule{File: "*/values.yaml", Path: "v", Image: "app"}, nil},
		"file of other tools":  {"docker-compose.yml", "x: {image: app:1}", manifest.FieldRule{File: "docker-*", Path: "x.image"}, []string{"x.image string app:1"}},
		"found already":        {"r.yaml", "apiVersion: v1\nkind: Pod\nspec: {image: app:1}\n", manifest.FieldRule{Kind: "Pod", Path: "spec.image"}, []string{"spec.image string app:1"}},
		"a block of JSON":      {"c.yaml", "kind: ConfigMap\napiVersion: v1\ndata:\n  agent: |\n    {\n        \"image\" : \"app:1\"\n    }\n  other: |\n    image: app:1\n    a: b\n", manifest.FieldRule{Kind: "ConfigMap", Path: "data.agent"}, []string{"data.agent.image string app:1"}},
		"a block of one line":  {"c.yaml", "a: |\n  app:1\n", manifest.FieldRule{File: "c.yaml", Path: "a"}, []string{"a string app:1"}},
		"a list inside itself": {"r.yaml", "l: &l [*l, {ref: app:1}]\n", manifest.FieldRule{File: "r.yaml", Path: "l.ref"}, []string{"l[0][1].ref string app:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tt.rule.Validate(); err != nil {
				t.Error(err)
			}
			rules := manifest.Rules{Fields: []manifest.FieldRule{tt.rule}}
			if diff := cmp.Diff(tt.want, sites(t, tt.path, tt.in, rules)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if tt.rule.File != "" && len(tt.want) > 0 && !manifest.IsManifest(tt.path, rules) {
				t.Error("IsManifest is false")
			}
		})
	}
}

var zeros = strings.Repeat("0", 64)

func TestFieldRuleValidate(t *testing.T) {
	for part, rule := range map[string]manifest.FieldRule{
		"neither a kind nor a file": {Path: "a"},
		"syntax error in pattern":   {File: "[", Path: "a"},
		"it is empty":               {Kind: "A"},
		"key between two dots":      {Kind: "A", Path: "a..b"},
		"ends in a dot":             {Kind: "A", Path: "a."},
		"brackets hold":             {Kind: "A", Path: "a[x]"},
		"quoted key":                {Kind: "A", Path: `a["x]`},
		"a dot is missing":          {Kind: "A", Path: `a[1]b`},
		"]: brackets":               {Kind: "A", Path: `a[`},
		"lower case":                {Kind: "A", Path: "a", Image: "a/B"},
		"without tag or digest":     {Kind: "A", Path: "a", Image: "a:1"},
	} {
		if err := rule.Validate(); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(part, "]: ")) {
			t.Errorf("%+v: %v, want %q", rule, err, part)
		}
	}
}

func TestVersionOnly(t *testing.T) {
	rules := manifest.Rules{Fields: []manifest.FieldRule{{File: "v.yaml", Path: "tag", Image: "team/app"}, {File: "v.yaml", Path: "digest", Image: "team/app"}}}
	digest := "sha256:" + zeros
	for _, tt := range []struct{ in, want, out, fails string }{
		{"tag: v1 # x\n", "team/app:1.10", "tag: \"1.10\" # x\n", ""},
		{"tag:\n", "team/app:v2", "tag: v2\n", ""},
		{"tag: v1\n", "team/app:v2@" + digest, "tag: v2@" + digest + "\n", ""},
		{"tag: v1\n", "team/app@" + digest, "", "no digest key"},
		{"tag: v1\n", "other/app:v2", "", "only its version"},
		{"digest: " + digest + "\n", "team/app@" + strings.Replace(digest, "0", "1", 1), "digest: " + strings.Replace(digest, "0", "1", 1) + "\n", ""},
		{"digest: " + digest + "\n", "team/app:v2", "", "no tag to write to"},
	} {
		found, err := manifest.Find("v.yaml", []byte(tt.in), rules)
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		want := parse(t, tt.want)
		edits, err := found[0].Set(want, !found[0].Ref.Same(want))
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%q to %s: %v, want %q", tt.in, want, err, tt.fails)
			}
			continue
		}
		if out, err2 := manifest.Apply([]byte(tt.in), edits); err != nil || err2 != nil || string(out) != tt.out {
			t.Errorf("%q to %s: %q, %v, %v", tt.in, want, out, err, err2)
		}
	}
}

func TestInclude(t *testing.T) {
	compose := "services:\n  web: {image: 'nginx:1'}\n  db: {image: 'postgres:${VERSION}'}\nx: {image: app:1}\n"
	workflow := "jobs:\n  a:\n    container: app:1\n    services: {db: {image: postgres:1}}\n    steps:\n" +
		"      - uses: docker://alpine:3\n      - {uses: actions/checkout@v4, with: {image: app:1}}\n  b:\n    container: {image: app:2}\n"
	for _, tt := range []struct {
		path, in string
		want     []string
	}{
		{"docker-compose.yml", compose, []string{"services.web.image string nginx:1"}},
		{".github/workflows/ci.yml", workflow, []string{
			"jobs.a.container string app:1", "jobs.b.container.image string app:2", "jobs.a.services.db.image string postgres:1",
			"jobs.a.steps[0].uses string alpine:3",
		}},
		{".gitlab-ci.yml", "image: app:1", nil},
	} {
		if got := sites(t, tt.path, tt.in, manifest.Rules{Include: true}); !cmp.Equal(got, tt.want) {
			t.Errorf("%s: %s", tt.path, cmp.Diff(tt.want, got))
		}
		if got := sites(t, tt.path, tt.in, manifest.Rules{}); got != nil {
			t.Errorf("%s without Include: %q", tt.path, got)
		}
	}
	if !manifest.IsManifest("compose.yaml", manifest.Rules{Include: true}) {
		t.Error("Compose files do not count")
	}
	found, _ := manifest.Find(".github/workflows/ci.yml", []byte(workflow), manifest.Rules{Include: true})
	edits, err := found[3].Set(parse(t, "alpine:4"), false)
	if err != nil || len(edits) != 1 || edits[0].New != "docker://alpine:4" {
		t.Errorf("%+v, %v", edits, err)
	}
}

func TestExcludedKinds(t *testing.T) {
	in := "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, image: app:1}\n- {apiVersion: v1, kind: Job, image: app:1}\n" +
		"---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {image: app:1}\n"
	if got := sites(t, "a.yaml", in, manifest.Rules{ExcludeKinds: []string{"Job"}}); !cmp.Equal(got, []string{"items[0].image string app:1"}) {
		t.Errorf("%q", got)
	}
}

func TestHold(t *testing.T) {
	for in, want := range map[string]string{
		"image: app:1 # imgbump: hold":                                                         "hold",
		"image: app:1 # imgbump: hold until 2.0.1 is out\r\n":                                  "until 2.0.1 is out",
		"image: app:1 #imgbump:hold: broken":                                                   "broken",
		"# imgbump: hold a\n# b\nimage: app:1":                                                 "a",
		"# imgbump: hold a\n\n# b\n \nimage: app:1":                                            "a",
		"# imgbump: hold a\n---\nimage: app:1":                                                 "",
		"# imgbump: hold a\nb: 1\nimage: app:1":                                                "",
		"# imgbump: hold it\n- name: a\n  image: app:1":                                        "it",
		"# imgbump: hold it\n\n- name: a\n  image: {repository: app, tag: 1}":                  "it",
		"# imgbump: hold it\n- image: app\n  a: 1\n  imageTag: 1":                              "it",
		"# imgbump: hold it\n-\n  name: a\n  image: app:1":                                     "it",
		"- # imgbump: hold it\n  name: a\n  image: app:1":                                      "it",
		"- name: a # imgbump: hold it\n  image: app:1":                                         "it",
		"# imgbump: hold a\n- b: 1\n- name: a\n  image: app:1":                                 "",
		"# imgbump: hold a\nb:\n- name: a\n  image: app:1":                                     "",
		"# imgbump: hold a\nb:\n  image: app:1":                                                "a",
		"image: &x app:1\nb:\n  image: *x # imgbump: hold there":                               "there",
		"image: &x {repository: app, tag: 1}\nb:\n  # imgbump: hold there\n  image: *x":        "there",
		"image: # imgbump: hold a\n  app:1":                                                    "a",
		"image: app:1 # imgbump: holder":                                                       "",
		"image: app:1 # see imgbump: hold":                                                     "",
		"image: app:1\nb: 2 # imgbump: hold":                                                   "",
		"a: 2 # imgbump: hold\nimage: app:1":                                                   "",
		"image:\n  repository: app # imgbump: hold r\n  tag: 1":                                "r",
		"# imgbump: hold above\nimage:\n  repository: app\n  tag: 1":                           "above",
		"image: {repository: app, tag: 1} # imgbump: hold flow":                                "flow",
		"- a: 1\n  # imgbump: hold it\n  image: app:1":                                         "it",
		"image:\n  repository: app\n  # imgbump: hold tag\n  tag: 1":                           "tag",
		"apiVersion: v1\nkind: A\npatch: |\n  # imgbump: hold nested\n  image: app:1\n":        "nested",
		"apiVersion: v1\nkind: A\npatch: |\n  image: app:1 # imgbump: hold nested\nb: app:1\n": "nested",
	} {
		found, err := manifest.Find("a.yaml", []byte(in), manifest.Rules{})
		if err != nil || len(found) != 1 || found[0].Hold != want {
			t.Errorf("%q: %+v, %v, want %q", in, found, err, want)
		}
	}
	beside := "- name: a\n  image: a:v1\n# imgbump: hold second\n\n- name: b\n  image: b:v1\n- name: c\n  image: c:v1\n"
	one := []string{"[0].image string a:v1", "[1].image string b:v1 hold: second", "[2].image string c:v1"}
	if got := sites(t, "a.yaml", beside, manifest.Rules{}); !cmp.Equal(got, one) {
		t.Errorf("%q", got)
	}
	in := "images:\n# imgbump: hold first\n- name: a\n  newTag: v1\n- name: b # imgbump: hold second\n  newTag: v1\n- name: c\n  newTag: v1\n"
	want := []string{"images[0].newTag kustomize a:v1 hold: first", "images[1].newTag kustomize b:v1 hold: second", "images[2].newTag kustomize c:v1"}
	if diff := cmp.Diff(want, sites(t, "kustomization.yaml", in, manifest.Rules{})); diff != "" {
		t.Error(diff)
	}
}
