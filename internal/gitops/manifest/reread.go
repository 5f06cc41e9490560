package manifest

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/imageref"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Reread is what the sites that Find found in a file name after the edits, read from the bytes after. It is an error when
// these are no YAML, or have other sites.
//
// Most edits replace a value on a line that is YAML by itself. Reading these lines anew says as much as reading the whole
// file, in a tenth of the time.
func Reread(sites []Site, before, after []byte, edits []Edit, rules Rules) ([]imageref.Ref, error) {
	if refs, ok := rereadLines(sites, before, after, edits, rules); ok {
		return refs, nil
	}
	found, err := Find(edits[0].File, after, rules)
	if err != nil || len(found) != len(sites) {
		return nil, errors.New("the result would not be the same manifest")
	}
	refs := make([]imageref.Ref, len(found))
	for i, site := range found {
		refs[i] = site.Ref
	}
	return refs, nil
}

// rereadLines reads the lines of the edits only. It is not ok unless each edit replaces the version of one site, and the
// file has nothing by which a value counts in a second place: an anchor, a marker, a rule.
func rereadLines(sites []Site, before, after []byte, edits []Edit, rules Rules) (refs []imageref.Ref, ok bool) {
	if len(rules.Fields) > 0 || bytes.IndexByte(before, '&') >= 0 || bytes.Contains(before, []byte(markerKey)) {
		return nil, false
	}
	values := make(map[int]string, len(edits)) // by where they start
	edits = slices.Compact(slices.SortedFunc(slices.Values(edits), func(a, b Edit) int { return cmp.Compare(a.Start, b.Start) }))
	for shift := 0; len(edits) > 0; {
		l := lineOf(edits, before)
		if !l.reread(before, after[min(l.from+shift, len(after)):], values) {
			return nil, false
		}
		shift += l.grown
		edits = edits[len(l.edits):]
	}
	found := 0
	for _, site := range sites {
		if value, edited := values[site.Start]; edited {
			found++
			if site.Ref, ok = site.saying(string(before[site.Start:site.End]), value); !ok {
				return nil, false
			}
		}
		refs = append(refs, site.Ref)
	}
	return refs, found == len(values)
}

// editedLine is a line of a file, the edits within it, and by how many bytes they make it longer.
type editedLine struct {
	from, to int
	edits    []Edit
	grown    int
}

// lineOf is the line on which the first of the edits begins. One that goes on to the next line is not within it.
func lineOf(edits []Edit, data []byte) editedLine {
	start := edits[0].Start
	l := editedLine{from: bytes.LastIndexByte(data[:start], '\n') + 1, to: len(data)}
	if i := bytes.IndexByte(data[start:], '\n'); i >= 0 {
		l.to = start + i
	}
	n := 0
	for ; n < len(edits) && edits[n].End <= l.to; n++ {
		l.grown += len(edits[n].New) - len(edits[n].Old)
	}
	l.edits = edits[:n]
	return l
}

// reread reads the line as it was and as it is, at the start of after, and notes the new values. It must be YAML by itself,
// in which nothing but the values of its edits has changed.
func (l editedLine) reread(before, after []byte, values map[int]string) bool {
	length := l.to - l.from + l.grown
	if len(l.edits) == 0 || length > len(after) {
		return false
	}
	was, is := twoDocuments(before[l.from:l.to], after[:length])
	if len(was) == 0 || len(was) != len(is) {
		return false
	}
	edits := l.edits
	for i, value := range is {
		switch {
		case value == was[i]:
		case len(edits) == 0 || value != strings.Trim(edits[0].New, `"'`):
			return false
		default:
			values[edits[0].Start] = value
			edits = edits[1:]
		}
	}
	return true
}

// twoDocuments are the scalars of two texts, in their order; none when either is no YAML.
func twoDocuments(first, second []byte) (one, two []string) {
	dec := yaml.NewDecoder(bytes.NewReader(slices.Concat(first, []byte("\n---\n"), second)))
	var a, b yaml.Node
	if dec.Decode(&a) != nil || dec.Decode(&b) != nil {
		return nil, nil
	}
	return scalars(&a), scalars(&b)
}

// scalars are the values within node, in the order of the text.
func scalars(node *yaml.Node) []string {
	if node.Kind == yaml.ScalarNode {
		return []string{node.Value}
	}
	var values []string
	for _, inner := range node.Content {
		values = append(values, scalars(inner)...)
	}
	return values
}

// saying is what the site names when its value is not old but another one; not ok where its version is spread over more.
func (s Site) saying(old, value string) (ref imageref.Ref, ok bool) {
	switch {
	case s.Shape == Whole:
		return parse(value)
	case old == s.Ref.Tag && (s.Shape == Kustomize || s.Shape == Helm):
		return parse(s.Ref.With(imageref.Ref{Tag: value, Digest: s.Ref.Digest}).String())
	}
	return imageref.Ref{}, false
}
