package manifest_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzSet sets a version at each site of any file. Whatever the bytes are: no panic, no byte outside the edits
// changes, the result is YAML with the same sites, the site says what was asked, and a second run changes nothing.
func FuzzSet(f *testing.F) {
	paths, _ := filepath.Glob("testdata/set/*.txtar")
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(file.Data, true)
			f.Add(bytes.ReplaceAll(file.Data, []byte("\n"), []byte("\r\n")), false)
		}
	}
	digest := "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	wants := []imageref.Ref{{Tag: "1.10"}, {Digest: digest}, {Tag: "v2", Digest: digest}}
	f.Fuzz(func(t *testing.T, data []byte, kustomization bool) {
		name := "values.yaml"
		if kustomization {
			name = "kustomization.yaml"
		}
		sites, err := manifest.Find(name, data)
		if err != nil {
			return
		}
		for i := range sites {
			for _, want := range wants {
				setOne(t, name, data, sites, i, want)
			}
		}
	})
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
	after, err := manifest.Find(name, out)
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
