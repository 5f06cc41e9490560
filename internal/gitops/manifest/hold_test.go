package manifest_test

import (
	"bytes"
	"cmp"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// chosen are the places of the sites that name the repository.
func chosen(sites []manifest.Site, repository string) (places []int) {
	for i, s := range sites {
		if s.Ref.Name() == repository {
			places = append(places, i)
		}
	}
	return places
}

// commented makes the edits, and tells the errors instead when there are some.
func commented(t *testing.T, data string, made []manifest.Commented, err error) string {
	t.Helper()
	if err != nil {
		return "file: " + err.Error()
	}
	var edits []manifest.Edit
	for _, c := range made {
		if c.Err != nil {
			return c.Err.Error()
		}
		edits = append(edits, c.Edits...)
	}
	after, err := manifest.Apply([]byte(data), edits)
	if err != nil {
		t.Fatal(err)
	}
	return string(after)
}

// unlike is what comes of a place at which a comment would be more than that.
const unlike = "more than a comment would change there"

// TestHoldBack has app held back, wherever it stands.
func TestHoldBack(t *testing.T) {
	const object, literal = "apiVersion: v1\nkind: A\n", "apiVersion: v1\nkind: A\npatch: |\n"
	for name, tt := range map[string]struct{ file, in, want string }{
		"at the end of the line":               {"a.yaml", "image: app:1\nb: 2\n", "image: app:1 # imgbump: hold it\nb: 2\n"},
		"without a line break":                 {"a.yaml", "image: app:1", "image: app:1 # imgbump: hold it"},
		"space stays behind it":                {"a.yaml", "image: 'app:1' \t\r\nb: 2\r\n", "image: 'app:1' # imgbump: hold it \t\r\nb: 2\r\n"},
		"every place, no other image":          {"a.yaml", "- image: app:1\n- image: tool:1\n- image: app:2\n", "- image: app:1 # imgbump: hold it\n- image: tool:1\n- image: app:2 # imgbump: hold it\n"},
		"behind a policy":                      {"a.yaml", "image: app:1 # imgbump: semver ^1", "image: app:1 # imgbump: semver ^1 # imgbump: hold it"},
		"above a comment of others":            {"a.yaml", "a:\r\n  - image: app:1 # x\r\n", "a:\r\n  # imgbump: hold it\r\n  - image: app:1 # x\r\n"},
		"above a comment on the line":          {"a.yaml", "a:\n  b: 1\n  # renovate: x\n  image: app:1 # y\n", "a:\n  b: 1\n  # imgbump: hold it\n  # renovate: x\n  image: app:1 # y\n"},
		"above a marker of Flux":               {"a.yaml", "image: app:1 # {\"$imagepolicy\": \"flux:app\"}", "# imgbump: hold it\nimage: app:1 # {\"$imagepolicy\": \"flux:app\"}"},
		"above a line with a hash in quotes":   {"a.yaml", "{image: app:1, b: 'x #1'}\n", "# imgbump: hold it\n{image: app:1, b: 'x #1'}\n"},
		"above the first line, behind its BOM": {"a.yaml", "\ufeffimage: app:1 # x\n", "\ufeff# imgbump: hold it\nimage: app:1 # x\n"},
		"a kustomization's entry":              {"kustomization.yaml", "images:\n- name: app\n  newTag: \"1\"\n", "images:\n- name: app\n  newTag: \"1\" # imgbump: hold it\n"},
		"values with a tag of their own":       {"values.yaml", "image:\n  repository: app\n  tag: 1\n", "image:\n  repository: app\n  tag: 1 # imgbump: hold it\n"},
		"flow on one line":                     {"values.yaml", "image: {repository: app, tag: 1}\n", "image: {repository: app, tag: 1} # imgbump: hold it\n"},
		"flow on several lines":                {"values.yaml", "image: {\n  repository: app,\n  tag: 1\n}\n", "image: {\n  repository: app,\n  tag: 1 # imgbump: hold it\n}\n"},
		"a value that is a block":              {"a.yaml", "image: |-\n  app:1\n", "image: |- # imgbump: hold it\n  app:1\n"},
		"YAML in a block":                      {"a.yaml", literal + "  image: app:1\n", literal + "  image: app:1 # imgbump: hold it\n"},
		"an anchor, and what uses it":          {"a.yaml", "image: &x app:1\nb:\n  image: *x\n", "image: &x app:1 # imgbump: hold it\nb:\n  image: *x\n"},
		"a document behind others":             {"a.yaml", object + "---\nimage: app:1\n", object + "---\nimage: app:1 # imgbump: hold it\n"},
		"a tag that two repositories share": {
			"values.yaml", "image:\n  repository: app\n  tag: &t 1\nother:\n  image:\n    repository: tool\n    tag: *t\n",
			"image:\n  repository: app # imgbump: hold it\n  tag: &t 1\nother:\n  image:\n    repository: tool\n    tag: *t\n",
		},
		"two images on one line":        {"a.yaml", "[{image: app:1}, {image: tool:1}]\n", "line 1 is about tool, too"},
		"a comment that would go along": {"a.yaml", "- image: app:1\n  sidecarImage: tool:1\n", "line 1 is about tool, too"},
		"a line that is not about it":   {"values.yaml", "a: 1\nb: [{image: {repository: app, tag: 1}}, {image: {repository: tool, tag: 1}}]", "line 2 is about tool, too"},
		"JSON":                          {"a.json", `{"apiVersion": "v1", "kind": "A", "image": "app:1"}`, "JSON has no place for a comment"},
		"JSON in a block":               {"a.yaml", literal + "  [{\"image\": \"app:1\"}]\n", unlike},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := manifest.Find(tt.file, []byte(tt.in), manifest.Rules{})
			if err != nil || len(chosen(found, "app")) == 0 {
				t.Fatalf("%+v, %v", found, err)
			}
			made, err := manifest.HoldBack(tt.file, []byte(tt.in), manifest.Rules{}, chosen(found, "app"), "it")
			held := commented(t, tt.in, made, err)
			if held != tt.want {
				t.Fatalf("held: %q, not %q", held, tt.want)
			}
			if err != nil || made[0].Err != nil {
				return
			}
			made, err = manifest.Release(tt.file, []byte(held), manifest.Rules{}, chosen(found, "app"))
			if released := commented(t, held, made, err); released != tt.in {
				t.Errorf("released: %q, not %q", released, tt.in)
			}
		})
	}
}

// TestRefused has places that a comment cannot stand at among others that it can.
func TestRefused(t *testing.T) {
	const in = "apiVersion: v1\nkind: A\npatch: |\n  [{\"image\": \"app:1\"}]\nimage: app:1\nb: {c: \"\n  d\", image: app:1, e: \"f\n  g\"}\n"
	made, err := manifest.HoldBack("a.yaml", []byte(in), manifest.Rules{}, []int{0, 1, 2}, "it")
	if err != nil || len(made) != 3 {
		t.Fatal(made, err)
	}
	after, err := manifest.Apply([]byte(in), made[1].Edits)
	if want := strings.Replace(in, "\nb:", " # imgbump: hold it\nb:", 1); string(after) != want {
		t.Errorf("%q, %v, not %q", after, err, want)
	}
	for _, n := range []int{0, 2} {
		if m := made[n]; m.Err == nil || m.Err.Error() != unlike || m.Edits != nil {
			t.Errorf("%+v", m)
		}
	}
}

// TestUnchecked has a reason that CheckReason does not let pass.
func TestUnchecked(t *testing.T) {
	for _, reason := range []string{": it", "it # imgbump: semver", "it\nb: 1"} {
		data := "image: app:1"
		made, err := manifest.HoldBack("a.yaml", []byte(data), manifest.Rules{}, []int{0}, reason)
		if got := commented(t, data, made, err); got != "file: "+unlike+"; the file is left alone" && got != unlike {
			t.Errorf("%q: %q", reason, got)
		}
	}
}

// TestRelease takes comments away as people write them.
func TestRelease(t *testing.T) {
	for in, want := range map[string]string{
		"image: app:1   # imgbump: hold because\nb: 1":                     "image: app:1\nb: 1",
		"# why\n# imgbump: hold\n\nimage: app:1":                           "# why\n\nimage: app:1",
		"# imgbump: hold a\n# imgbump: hold b\nimage: app:1 #imgbump:hold": "image: app:1",
		"- # imgbump: hold\n  name: a\n  image: app:1":                     "-\n  name: a\n  image: app:1",
		"# see #12. # imgbump: hold it\nimage: app:1":                      "# see #12.\nimage: app:1",
		"image: app:1 # imgbump: hold it # imgbump: semver":                "image: app:1 # imgbump: semver",
		"# imgbump: hold it # imgbump: semver\nimage: app:1":               "# imgbump: semver\nimage: app:1",
		"image: app:1 # imgbump: semver":                                   "image: app:1 # imgbump: semver",
		"image: app:1 # see # imgbump: Hold（移行待ち） # imgbump: semver":       "image: app:1 # see # imgbump: semver",
		"spec: # imgbump: hold\n  image: app:1\n":                          "spec:\n  image: app:1\n",
		"spec: # imgbump: hold\n  image: app:1\n  sidecarImage: tool:1\n":  "line 1 is about tool, too",
		"a: '# imgbump: hold'\nimage: app:1\n":                             "a: '# imgbump: hold'\nimage: app:1\n",
		"image: &x app:1\nb:\n  image: *x # imgbump: hold\n":               "image: &x app:1\nb:\n  image: *x\n",
		"- b: \"x # imgbump: hold y\n    z\"\n  image: app:1":              unlike,
		"- b: |\n    # imgbump: hold y\n  image: app:1":                    unlike,
		"- b: |\n    x\n    # imgbump: hold y\n  image: app:1":             unlike,
		"- b: >\n    x: 1\n    # imgbump: hold y\n  image: app:1":          unlike,
		"[{image: app:1, b: 'x # imgbump: hold y'}]":                       unlike,
	} {
		found, err := manifest.Find("a.yaml", []byte(in), manifest.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		made, err := manifest.Release("a.yaml", []byte(in), manifest.Rules{}, chosen(found, "app"))
		if got := commented(t, in, made, err); got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
}

// TestReason has what may be a reason, and what not.
func TestReason(t *testing.T) {
	for reason, want := range map[string]string{
		"":                                 "",
		"waits for #12":                    "",
		"データベースの移行　待ち":                     "",
		"a: {b} 'c' \"d\" [e] | > & * ! %": "",
		strings.Repeat("é", 200):           "",
		strings.Repeat("é", 201):           "is longer than 200 characters",
		"a\nimage: evil:1":                 "has a line break or another character that cannot be seen",
		"a\u2028b":                         "has a line break or another character that cannot be seen",
		"a\u0085b":                         "has a line break or another character that cannot be seen",
		"a\u202eb":                         "has a line break or another character that cannot be seen",
		"a\x1b[31m":                        "has a line break or another character that cannot be seen",
		"a\xff":                            "is not UTF-8 text",
		" a":                               "has space around it",
		": a":                              `would be read as "a"`,
		"、a":                               `would be read as "a"`,
		"-- a":                             "",
		"Hold a":                           "",
		"a # imgbump: semver":              "says something to imgbump itself, or to another tool",
		`# {"$imagepolicy": "a:b"}`:        "says something to imgbump itself, or to another tool",
	} {
		got := ""
		if err := manifest.CheckReason(reason); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, not %q", reason, got, want)
		}
	}
}

// FuzzHold holds back and releases any image in any file, for any reason. Whatever the bytes are: no panic, the sites stay the
// same, those that were held say why and no others do, and releasing them gives the file back, byte for byte.
func FuzzHold(f *testing.F) {
	addForms(f, func(data []byte, name byte) { f.Add(data, name, byte(0), "until #1 é") })
	f.Add([]byte("- image: app:1 # x\n- image: app:1 # imgbump: semver\n  # y\n- image: app:2 # y"), byte(3), byte(0), "")
	f.Add([]byte("a: |+\n # b\n\nimage: app:1 # c\n"), byte(0), byte(0), "x")
	f.Add([]byte("a: b\n # c\n\rimage: 'app:1\n ' # d"), byte(0), byte(1), "hold")
	f.Fuzz(func(t *testing.T, data []byte, name, at byte, reason string) {
		file := fuzzNames[int(name)%len(fuzzNames)]
		sites, err := manifest.Find(file, data, fuzzRules)
		if err != nil || len(sites) == 0 || manifest.CheckReason(reason) != nil {
			return
		}
		places := unheld(sites, sites[int(at)%len(sites)].Ref.Name())
		made, err := manifest.HoldBack(file, data, fuzzRules, places, reason)
		if err != nil {
			return
		}
		held, changed := apply(t, data, made, places)
		after, err := manifest.Find(file, held, fuzzRules)
		if err != nil || len(after) != len(sites) {
			t.Fatalf("%q became %q: %d sites, then %d, %v", data, held, len(sites), len(after), err)
		}
		for i := range sites {
			want := sites[i].Hold
			if changed[i] {
				want = cmp.Or(reason, "hold")
			}
			if after[i].Hold != want || after[i].Ref != sites[i].Ref || after[i].Rule != sites[i].Rule {
				t.Fatalf("%q became %q: %s is %q, not %q", data, held, after[i].Field, after[i].Hold, want)
			}
		}
		var back []int
		for i := range after {
			if changed[i] {
				back = append(back, i)
			}
		}
		made, err = manifest.Release(file, held, fuzzRules, back)
		if err != nil {
			t.Fatalf("%q cannot be released: %v", held, err)
		}
		if released, _ := apply(t, held, made, back); !bytes.Equal(released, data) {
			t.Fatalf("%q was held in %q and released in %q", data, held, released)
		}
	})
}

// unheld are those of the repository that may be held back.
func unheld(sites []manifest.Site, repository string) (places []int) {
	for _, i := range chosen(sites, repository) {
		if sites[i].Hold == "" {
			places = append(places, i)
		}
	}
	return places
}

// apply makes the edits, and tells of which places there are any.
func apply(t *testing.T, data []byte, made []manifest.Commented, places []int) ([]byte, map[int]bool) {
	t.Helper()
	var edits []manifest.Edit
	changed := map[int]bool{}
	for n, c := range made {
		if c.Err == nil {
			edits = append(edits, c.Edits...)
			changed[places[n]] = true
		}
	}
	after, err := manifest.Apply(data, edits)
	if err != nil {
		t.Fatal(err)
	}
	return after, changed
}
