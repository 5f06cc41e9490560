package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// fuzzNames are the names under which a file means something else, fuzzRules what is looked for besides.
var (
	fuzzNames = []string{"values.yaml", "kustomization.yaml", ".argocd-source-a.yaml", "docker-compose.yml", ".github/workflows/ci.yml"}
	fuzzRules = manifest.Rules{Include: true, Fields: []manifest.FieldRule{
		{File: "values.yaml", Path: "*.ref"}, {File: "values.yaml", Path: "version", Image: "team/app"}, {Kind: "A", Path: "a.*[0].b"},
	}}
)

// FuzzSet sets a version at each site of any file. Whatever the bytes are: no panic, no byte outside the edits
// changes, no value but the edited ones, the sites stay the same, the site says what was asked, and a second run
// changes nothing.
func FuzzSet(f *testing.F) {
	addForms(f, func(data []byte, name byte) { f.Add(data, name) })
	f.Add([]byte("services:\n  a: {image: app:1}\n  b: &b {image: \"app:1\"}\n  c: *b\n"), byte(3))
	f.Add([]byte("jobs:\n  a:\n    container: é\n    steps:\n    - uses: docker://app:1\n    - uses: 'docker://app'\n"), byte(4))
	f.Add([]byte("kustomize:\n  images: [a=b:1, c:2]\nhelm:\n  parameters: [{name: image.name, value: a}, {name: image.tag, value: b}]\n"), byte(2))
	f.Add([]byte("a: &base\n  repository: &tag x\nimage:\n  <<: *base\n  tag: *tag"), byte(0))
	f.Add([]byte("images:\n  - name: a\n    newName: b/c # {\"$imagepolicy\": \"p:name\"}\n    newTag: v1 # {\"$imagepolicy\": \"n:p:tag\"}\n"), byte(0))
	f.Add([]byte("{\"image\": \"x.io\\/a:1\", \"é\\/\\\\\": {\"image\": {\"repository\": \"a\\/b\", \"tag\": 1.2}}}"), byte(0))
	digest := "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	wants := []imageref.Ref{{Tag: "1.10"}, {Digest: digest}, {Tag: "v2", Digest: digest}}
	f.Fuzz(func(t *testing.T, data []byte, name byte) {
		file := fuzzNames[int(name)%len(fuzzNames)]
		sites, err := manifest.Find(file, data, fuzzRules)
		if err != nil {
			return
		}
		for i := range sites {
			for _, want := range wants {
				setOne(t, file, data, sites, i, want)
			}
			if out, err := manifest.Apply(data, sites[i].SetVersionLabel("1.10")); err != nil {
				t.Fatalf("labels of %q: %q, %v", data, out, err)
			}
		}
	})
}

// addForms adds all forms that tests have, with the name that they go by.
func addForms(f *testing.F, add func(data []byte, name byte)) {
	paths, _ := filepath.Glob("testdata/set/*.txtar")
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			add(file.Data, 0)
			add(bytes.ReplaceAll(file.Data, []byte("\n"), []byte("\r\n")), 1)
		}
	}
}

func setOne(t *testing.T, name string, data []byte, sites []manifest.Site, i int, want imageref.Ref) {
	edits, err := sites[i].Set(want, false)
	if err != nil {
		return
	}
	out, err := manifest.Apply(data, edits)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	if !untouched(data, out, edits) {
		t.Fatalf("bytes outside the edits changed: %q -> %q", data, out)
	}
	if err := sameValues(data, out, edits); err != nil {
		t.Fatalf("%q became %q: %v", data, out, err)
	}
	after, err := manifest.Find(name, out, fuzzRules)
	if err != nil || len(after) != len(sites) {
		t.Fatalf("%q became %q: %d sites, then %d, %v", data, out, len(sites), len(after), err)
	}
	if got := after[i].Ref; got.Tag != want.Tag || got.Digest != want.Digest || !got.Same(sites[i].Ref) {
		t.Fatalf("%q became %q: the site says %s, not %s", data, out, got, want)
	}
	if again, err := after[i].Set(want, false); err != nil || len(again) != 0 {
		t.Fatalf("%q: a second run edits again: %v, %v", out, again, err)
	}
}

// untouched reports whether out is data but for what lies between the first and the last edited byte, and whether
// that has the length that the edits give it.
func untouched(data, out []byte, edits []manifest.Edit) bool {
	if len(edits) == 0 {
		return bytes.Equal(data, out)
	}
	first, last, grown := len(data), 0, 0
	for _, e := range edits {
		first, last, grown = min(first, e.Start), max(last, e.End), grown+len(e.New)-len(e.Old)
	}
	return len(out) == len(data)+grown && bytes.Equal(out[:first], data[:first]) && bytes.HasSuffix(out, data[last:])
}

// sameValues compares the scalars of both files, by their way from the root: one edit changes one value, and may add one
// or take one away.
func sameValues(before, after []byte, edits []manifest.Edit) error {
	was, is := values(before), values(after)
	changed := 0
	for way, value := range was {
		if now, ok := is[way]; !ok || now != value {
			changed++
		}
	}
	for way := range is {
		if _, ok := was[way]; !ok {
			changed++
		}
	}
	inserted := 0
	for _, e := range edits {
		inserted += strings.Count(e.New, ": ")
	}
	if changed > len(edits)+inserted {
		return fmt.Errorf("%d values differ, %d edits were made", changed, len(edits))
	}
	return nil
}

// values are the scalars of all documents by their way from the root.
func values(data []byte) map[string]string {
	found := map[string]string{}
	var walk func(n *yaml.Node, way string)
	walk = func(n *yaml.Node, way string) {
		switch n.Kind {
		case yaml.ScalarNode, yaml.AliasNode:
			found[way] = n.Tag + " " + n.Value
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(n.Content[i+1], way+"\x00"+n.Content[i].Value)
			}
		default:
			for i, inner := range n.Content {
				walk(inner, fmt.Sprintf("%s\x00%d", way, i))
			}
		}
	}
	dec := yaml.NewDecoder(bytes.NewReader(bytes.Replace(data, []byte("%YAML 1.2"), []byte("%YAML 1.1"), 1)))
	for n := 0; ; n++ {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil {
			if !errors.Is(err, io.EOF) {
				found["error"] = err.Error()
			}
			return found
		}
		walk(&doc, fmt.Sprint(n))
	}
}

// FuzzAddImage adds an entry to any kustomization: the result has one site more, and no other byte changed.
func FuzzAddImage(f *testing.F) {
	for _, seed := range []string{
		"resources:\n- a.yaml\n", "images:\n  - name: a\n", "images: [{name: a}]\n# x", "{}", "{\"images\": []}", "a: |+\n  b\n\n", "a: [1,\n 2]\r\nb: *x",
		"0:\n- \n- 0", "0:\n#\n !", "images: [{0}:]", "0: \n |\n 0", "a: b\n  c # d\n", "images: &x\n  -\n   name: 'a\n\n  b'\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ref := imageref.Ref{Repository: "team/app", Tag: "1.10"}
		edits, err := manifest.AddImage("kustomization.yaml", data, ref)
		if err != nil {
			return
		}
		out, err := manifest.Apply(data, edits)
		if err != nil || len(edits) != 1 || edits[0].Old != "" {
			t.Fatalf("%q: %v, %v", data, edits, err)
		}
		before, _ := manifest.Find("kustomization.yaml", data, manifest.Rules{})
		after, err := manifest.Find("kustomization.yaml", out, manifest.Rules{})
		if err != nil || len(after) != len(before)+1 {
			t.Fatalf("%q became %q: %d sites, then %d, %v", data, out, len(before), len(after), err)
		}
	})
}
