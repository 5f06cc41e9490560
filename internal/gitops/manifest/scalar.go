package manifest

import (
	"bytes"
	"errors"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// scalar is a value in the file: the bytes [start,end) between its quotes, or all of a plain one.
type scalar struct {
	start, end int
	value      string
	plain      bool // unquoted, so that a new value may need quotes
	quote      byte // the quote that a plain value gets when it needs one
}

// errUnlocated means that the bytes at a node's place do not read as the node's value, so they are not touched.
var errUnlocated = errors.New("its exact bytes cannot be told apart; write it as a plain or quoted value on one line")

// scalarOf locates the bytes of a scalar node and makes sure that they are its value.
func (s *source) scalarOf(node *yaml.Node) (scalar, error) {
	at := s.skipProperties(s.offset(node), node)
	if at < 0 || at >= len(s.data) {
		return scalar{}, errUnlocated
	}
	v := scalar{value: node.Value, quote: '"'}
	switch c := s.data[at]; {
	case c == '"' || c == '\'':
		v.start = at + 1
		v.end = closing(s.data, v.start, c)
		if v.end < 0 || !reads(s.data[at:v.end+1], node.Value) {
			return scalar{}, errUnlocated
		}
	case c == '|' || c == '>':
		v.start, v.end = s.blockLine(at)
		if v.start < 0 || string(s.data[v.start:v.end]) != strings.TrimRight(node.Value, "\n") {
			return scalar{}, errUnlocated
		}
		v.value = string(s.data[v.start:v.end])
	default:
		v.start, v.end, v.plain = at, at+len(node.Value), true
		if node.Value == "" || !bytes.HasPrefix(s.data[at:], []byte(node.Value)) {
			return scalar{}, errUnlocated
		}
	}
	return v, nil
}

// skipProperties moves past an anchor and a tag, which the YAML reader counts as the start of the value.
func (s *source) skipProperties(at int, node *yaml.Node) int {
	for at >= 0 && at < len(s.data) && (node.Anchor != "" || node.Style&yaml.TaggedStyle != 0) {
		if c := s.data[at]; c != '&' && c != '!' {
			return at
		}
		end := bytes.IndexAny(s.data[at:], " \t\r\n")
		if end < 0 {
			return -1
		}
		at += end
		for at < len(s.data) && bytes.IndexByte([]byte(" \t\r\n"), s.data[at]) >= 0 {
			at++
		}
	}
	return at
}

// closing is the offset of the quote that ends a value whose content starts at from, or -1.
func closing(data []byte, from int, quote byte) int {
	for i := from; i < len(data); i++ {
		switch {
		case quote == '"' && data[i] == '\\':
			i++
		case data[i] != quote:
		case quote == '\'' && i+1 < len(data) && data[i+1] == '\'':
			i++
		default:
			return i
		}
	}
	return -1
}

// reads reports whether the quoted token is a YAML scalar of that value.
func reads(token []byte, value string) bool {
	if bytes.IndexByte(token, '\\') < 0 {
		return string(token[1:len(token)-1]) == value
	}
	var decoded string
	return yaml.Unmarshal(unslashed(token), &decoded) == nil && decoded == value
}

// blockLine is the range of the only line with content in the block scalar whose indicator is at; -1 if it has more.
func (s *source) blockLine(at int) (start, end int) {
	header := s.lineAt(at)
	indent := indentation(s.data[s.lines[header-1]:])
	start, end = -1, -1
	for n := header; n < len(s.lines); n++ {
		from, to := s.lines[n], len(s.data)
		if n+1 < len(s.lines) {
			to = s.lines[n+1]
		}
		content := bytes.TrimRight(s.data[from:to], "\r\n")
		if len(bytes.TrimSpace(content)) == 0 {
			continue
		}
		if indentation(content) <= indent {
			break
		}
		if start >= 0 {
			return -1, -1
		}
		start, end = from+indentation(content), from+len(content)
	}
	return start, end
}

func indentation(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }

// replace is the edit that makes v say value. Image references, tags and digests hold no character that YAML
// escapes, so only a plain value can need more than its bytes: quotes.
func (v scalar) replace(s *source, value string) Edit {
	text := value
	switch {
	case v.value == value && (!v.plain || plainSafe(value)):
		text = string(s.data[v.start:v.end])
	case v.plain && (!plainSafe(value) || !plainSafe(v.value) && s.afterQuotedKey(v.start)):
		text = quoted(value, v.quote)
	}
	return s.edit(v.start, v.end, text)
}

// afterQuotedKey reports whether a value stands behind a key in double quotes, as in JSON, where all but a number or the like
// has quotes.
func (s *source) afterQuotedKey(at int) bool {
	key, colon := bytes.CutSuffix(bytes.TrimRight(s.data[:at], " \t\r\n"), []byte(":"))
	return colon && bytes.HasSuffix(bytes.TrimRight(key, " \t\r\n"), []byte(`"`))
}

func quoted(value string, quote byte) string { return string(quote) + value + string(quote) }

// ambiguous matches what a YAML 1.1 or 1.2 reader takes for something other than a string when it is not quoted:
// null, booleans, integers in all bases, floats, sexagesimals and timestamps (YAML 1.1 type repository, YAML 1.2
// section 10.3). It is wider than either on purpose: quotes do no harm.
var ambiguous = regexp.MustCompile(`(?i)^(?:` + strings.Join([]string{
	`|~|null|y|n|yes|no|on|off|true|false`,
	`[-+]?0(?:x[0-9a-f_]*|o[0-7_]*|b[01_]*)`,
	`[-+]?[0-9][0-9_]*(?::[0-9_]+)*(?:\.[0-9_]*)?(?:e[-+]?[0-9]*)?`,
	`[-+]?\.(?:[0-9_]+(?:e[-+]?[0-9]*)?|inf|nan)`,
	`[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:t.*)?`,
}, "|") + `)$`)

// plainSafe reports whether every YAML reader reads the unquoted value as that very string.
func plainSafe(value string) bool { return !ambiguous.MatchString(value) }
