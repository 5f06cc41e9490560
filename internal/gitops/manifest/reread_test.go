package manifest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// TestReread sees that only edited lines are read where these say it all: what else there is may even be no YAML then. And
// that a line is not believed which says something else.
func TestReread(t *testing.T) {
	const before = "a: {image: 'app:1'} # x\nb: c\nimages:\n- {d: e, repository: app, tag: 1.9, g: h}\nmainImage: app:1\n"
	sites, err := manifest.Find("values.yaml", []byte(before), manifest.Rules{})
	if err != nil || len(sites) != 3 {
		t.Fatal(sites, err)
	}
	want := imageref.Ref{Repository: "app", Tag: "1.10"}
	out, edits := setAll(t, before, sites, want)
	reread := func(after string) ([]imageref.Ref, error) {
		return manifest.Reread(sites, []byte(before), slices.Clip([]byte(after)), edits, manifest.Rules{})
	}
	refs, err := reread(strings.Replace(out, "b: c", "b: [", 1))
	if diff := cmp.Diff([]imageref.Ref{want, want, want}, refs); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	for after, want := range map[string]string{
		strings.Replace(out, "mainImage: app:1.10", "mainImage: app:1.11", 1):                               "1.10 1.10 1.11",
		strings.Replace(out, "d: e", "d: f", 1):                                                             "1.10 1.10 1.10",
		strings.Replace(out, "g: h", "g: i", 1):                                                             "1.10 1.10 1.10",
		strings.Replace(out, `d: e, repository: app, tag: "1.10"`, `d: f, repository: app, tag: 1.9   `, 1): "1.10 1.9 1.10",
		out[:len(out)-2]: "1.10 1.10 1.1",
	} {
		refs, err := reread(after)
		if err != nil || refs[0].Tag+" "+refs[1].Tag+" "+refs[2].Tag != want {
			t.Errorf("%q: %v, %v", after, refs, err)
		}
	}
}

// TestRereadRuled changes a value that a rule takes for an image, and that is the registry of another one.
func TestRereadRuled(t *testing.T) {
	const before = "image: {registry: host:5000, repository: app, tag: v1}\n"
	rules := manifest.Rules{Fields: []manifest.FieldRule{{File: "values.yaml", Path: "image.registry"}}}
	sites, err := manifest.Find("values.yaml", []byte(before), rules)
	if err != nil || len(sites) != 2 {
		t.Fatal(sites, err)
	}
	out, edits := setAll(t, before, sites[:1], imageref.Ref{Tag: "6000"})
	refs, err := manifest.Reread(sites, []byte(before), []byte(out), edits, rules)
	if err != nil || refs[1].Registry != "host:6000" {
		t.Errorf("%v, %v", refs, err)
	}
}

// setAll lets the sites name a version.
func setAll(t *testing.T, data string, sites []manifest.Site, want imageref.Ref) (string, []manifest.Edit) {
	t.Helper()
	var edits []manifest.Edit
	for _, site := range sites {
		more, err := site.Set(want, false)
		if err != nil {
			t.Fatal(err)
		}
		edits = append(edits, more...)
	}
	out, err := manifest.Apply([]byte(data), edits)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), edits
}

// FuzzReread holds Reread, which reads only the edited lines where that is enough, against Find, which reads the whole file.
func FuzzReread(f *testing.F) {
	addForms(f, func(data []byte, name byte) { f.Add(data, name) })
	for _, hard := range []string{
		"- image: a:1\n- {image: 'b:2', x: {image: b:3}} # c:1\n", "image: a:1\n  b\n", "{\nimage: a:1\n}\n", "image: a:1 #&x\n", "images: [{name: a,\nnewTag: 1}]\n",
		"image: |\n  a:1\n", "values: |\n  image: a:1\n  tag: 1\n", "--- {image: a:1}\n", "image: a:1\rimage: b:1\n", "? image: a:1\n: 2\n", "image:\n  repository: r\n  tag:\n", "image: {repository: r, tag: &t v1}\nmy: {image: {repository: *t, tag: v2}}\n",
		"image:\n  repository: r\n  tag: v1 # {\"$imagepolicy\": \"n:q:name\"}\n  other: v2 # {\"$imagepolicy\": \"n:q:tag\"}\n",
		"image: {repository: a, tag: 1, image: a:1}\n",
	} {
		f.Add([]byte(hard), byte(0))
	}
	wants := []imageref.Ref{{Tag: "1.10"}, {Tag: "v2"}, {Tag: "v2", Digest: "sha256:" + strings.Repeat("1", 64)}}
	f.Fuzz(func(t *testing.T, data []byte, name byte) {
		file := fuzzNames[int(name)%len(fuzzNames)]
		sites, err := manifest.Find(file, data, manifest.Rules{})
		if err != nil {
			return
		}
		for n := max(0, len(sites)-8); n < len(sites); n++ {
			for _, want := range wants {
				var edits []manifest.Edit
				for _, site := range sites[n:] { // the last ones, down to one alone
					more, _ := site.Set(want, false)
					edits = append(edits, more...)
				}
				if out, err := manifest.Apply(data, edits); err == nil && len(edits) > 0 {
					rereadBoth(t, file, data, out, sites, edits)
				}
			}
		}
	})
}

func rereadBoth(t *testing.T, name string, data, out []byte, sites []manifest.Site, edits []manifest.Edit) {
	found, err := manifest.Find(name, out, manifest.Rules{})
	refs, problem := manifest.Reread(sites, data, out, edits, manifest.Rules{})
	if (err == nil && len(found) == len(sites)) != (problem == nil) {
		t.Fatalf("%q became %q: Find says %v, %v, Reread %v", data, out, found, err, problem)
	}
	for i, ref := range refs {
		if found[i].Ref != ref {
			t.Fatalf("%q became %q: site %d says %s, Reread %s", data, out, i, found[i].Ref, ref)
		}
	}
}
