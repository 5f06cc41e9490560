package manifest

import (
	"bytes"
	"cmp"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// ourComment begins what a comment says to us.
var ourComment = regexp.MustCompile(`(?:^|\s)#\s*imgbump:`)

// remark is what a comment says to us: the bytes [start,end) of its line, from the # on. A line may have several, one behind
// the other, each up to the next.
type remark struct {
	text       string
	start, end int
}

// remarks are those of a line.
func remarks(line []byte) (all []remark) {
	begins := ourComment.FindAllIndex(line, -1)
	for i, begin := range begins {
		end := len(line)
		if i+1 < len(begins) {
			end = begins[i+1][0]
		}
		text := string(bytes.Trim(line[begin[1]:end], whitespace))
		if text != "" && text[0] >= 'a' && text[0] <= 'z' || holdText.MatchString(text) {
			start := begin[0] + bytes.IndexByte(line[begin[0]:], '#')
			all = append(all, remark{text, start, len(bytes.TrimRight(line[:end], whitespace))})
		}
	}
	return all
}

// whitespace is what regular expressions call so.
const whitespace = " \t\n\f\r"

// holdText is a comment that forbids to change a site, with its reason. It is as wide as what people write who mean it: "Hold",
// "hold, because", "hold：理由". A hold that was not meant is seen and taken away; one that is not understood is not missed in time.
var holdText = regexp.MustCompile(`^(?i:hold)(?:[\s\p{Z}:,：、，]+(.*)|([^0-9A-Za-z_].*))?$`)

// hold is the reason of a remark that forbids to change a site, "hold" when it gives none.
func (r remark) hold() (reason string, holds bool) {
	m := holdText.FindStringSubmatch(r.text)
	if m == nil {
		return "", false
	}
	return cmp.Or(m[1], m[2], "hold"), true
}

// blankLine is a line without a key or a value: empty, a comment, or the dash of an element that begins on a later one.
var blankLine = regexp.MustCompile(`^\s*(?:-\s+)*(?:-|#.*)?\s*$`)

// note is what a comment for us says, and the line that it stands in.
type note struct {
	text string
	line int
}

// notes are the reasons of hold comments, and what other comments for us ask for, by the line that they are about: their
// own, or the next one with a key or a value.
func (s *source) notes() (holds, rules map[int]note) {
	if !bytes.Contains(s.data, []byte("imgbump:")) {
		return nil, nil
	}
	holds, rules = map[int]note{}, map[int]note{}
	var hold, rule note
	for n := 1; n <= len(s.lines); n++ {
		text := s.line(n)
		for _, r := range remarks(text) {
			if reason, holds := r.hold(); holds {
				hold = note{reason, n}
			} else {
				rule = note{r.text, n}
			}
		}
		if blankLine.Match(text) {
			continue
		}
		if hold.text != "" {
			holds[n], hold = hold, note{}
		}
		if rule.text != "" {
			rules[n], rule = rule, note{}
		}
	}
	return holds, rules
}

// line is the text of a 1-based line.
func (s *source) line(n int) []byte { return s.data[s.lines[n-1]:s.lineEnd(s.lines[n-1])] }

// markerKey is what a comment holds that marks a value for Flux' image automation.
const markerKey = `"$imagepolicy"`

var markerComment = regexp.MustCompile(`#\s*\{\s*"\$imagepolicy"\s*:\s*"([^":]+:[^":]+)(?::(name|tag|digest))?"\s*\}\s*$`)

// marker is a comment that says that the value before it is the part of the image that a policy chooses; part is name,
// tag, digest, or "" for a whole reference. The comment starts at the offset.
type marker struct {
	policy, part string
	start        int
}

// markers are the file's, by line.
func (s *source) markers() map[int]marker {
	if !bytes.Contains(s.data, []byte(markerKey)) {
		return nil
	}
	found := map[int]marker{}
	for n := 1; n <= len(s.lines); n++ {
		if m := markerComment.FindSubmatchIndex(s.line(n)); m != nil {
			line := s.line(n)
			mark := marker{policy: string(line[m[2]:m[3]]), start: s.lines[n-1] + m[0]}
			if m[4] >= 0 {
				mark.part = string(line[m[4]:m[5]])
			}
			found[n] = mark
		}
	}
	return found
}

// marker is the one that stands behind value, the last scalar on its line.
func (f *finder) marker(value *yaml.Node) (marker, bool) {
	m, ok := f.markers[value.Line]
	if !ok || value.Kind != yaml.ScalarNode {
		return marker{}, false
	}
	_, end, err := f.src.token(value)
	if err != nil || end > m.start || strings.Trim(string(f.src.data[end:m.start]), " \t,}]") != "" {
		return marker{}, false
	}
	return m, true
}

// nameKeys are the keys that name the image of a marked tag which stands beside them.
var nameKeys = []string{"repository", "newName", "image", "name"}

// marks finds the sites of m's marked values: whole references, and tags and digests whose image stands beside them.
func (f *finder) marks(m mapping, at *trail) {
	var policies []string
	parts := map[string]*keys{}
	whole := map[string]bool{} // by key
	m.entries(func(k, v *yaml.Node) {
		mark, ok := f.marker(v)
		if !ok {
			return
		}
		if parts[mark.policy] == nil {
			policies = append(policies, mark.policy)
			parts[mark.policy] = &keys{}
		}
		switch p := parts[mark.policy]; mark.part {
		case "name":
			p.name = k.Value
		case "tag":
			p.tag = k.Value
		case "digest":
			p.digest = k.Value
		default:
			whole[k.Value] = true
			f.whole(m, v, at.key(k))
		}
	})
	for _, policy := range policies {
		k := *parts[policy]
		for _, name := range nameKeys {
			if k.name == "" && m.text(name) != "" && !whole[name] {
				k.name = name
			}
		}
		if k.tag != "" || k.digest != "" {
			f.split(m, k, at)
		}
	}
}
