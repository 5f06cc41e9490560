// Package ignore says which files the rules of a .gitignore leave out, as gitignore(5) has them.
package ignore

import (
	"bytes"
	"errors"
	"path"
	"strings"
)

// Rules are the lines of one .gitignore, for paths relative to its folder. A later line overrides an earlier one.
type Rules []rule

// rule is one line. A pattern without a slash is matched against the last component alone.
type rule struct {
	components []string
	anywhere   bool   // without a slash
	suffix     string // what follows the star of *.yaml, the most common pattern; "" for others
	folders    bool   // with a slash at the end
	keeps      bool   // with an exclamation mark
}

// Verdict is what rules say about one path.
type Verdict uint8

const (
	Unsaid  Verdict = iota // no rule matches
	Ignored                // the last rule that matches leaves it out
	Kept                   // the last rule that matches starts with "!"
)

// Parse reads a .gitignore. Any content is one: lines that make no sense match nothing.
func Parse(data []byte) Rules {
	var rules Rules
	for line := range bytes.Lines(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if text := trimSpaces(string(line)); text != "" && text[0] != '#' {
			rules = append(rules, parseRule(text))
		}
	}
	return rules
}

// Check says why a line that a person wrote as a pattern can match nothing, or nothing below the rules' folder; nil when
// it can.
func Check(line string) error {
	text := strings.TrimPrefix(trimSpaces(line), "!")
	switch {
	case strings.Trim(text, "/") == "":
		return errors.New("is empty")
	case strings.ContainsAny(text, "\r\n"):
		return errors.New("has more than one line")
	case text[0] == '#':
		return errors.New("is a comment; a file name that starts with # takes a backslash before it")
	}
	for component := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(text, "/"), "/"), "/") {
		switch {
		case component == "" || component == "." || component == "..":
			return errors.New("is not relative to the root; write it without //, ./ and ../")
		case !closed(component):
			return errors.New("has a bracket that is not closed, or ends in a backslash")
		}
	}
	return nil
}

func parseRule(text string) rule {
	var r rule
	text, r.keeps = strings.CutPrefix(text, "!")
	text, r.folders = strings.CutSuffix(text, "/")
	r.anywhere = !strings.Contains(text, "/")
	if rest, ok := strings.CutPrefix(text, "*"); ok && r.anywhere && !strings.ContainsAny(rest, `*?[\`) {
		r.suffix = rest
	}
	r.components = strings.Split(strings.TrimPrefix(text, "/"), "/")
	return r
}

// trimSpaces cuts the spaces off the end that no backslash protects.
func trimSpaces(s string) string {
	end := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ':
		case '\\':
			i++
			end = i + 1
		default:
			end = i + 1
		}
	}
	return s[:min(end, len(s))]
}

// Match says what the rules say about the file or folder at p itself. What lies below a folder that is ignored is
// ignored too, whatever the rules say about it; see Covers.
func (rs Rules) Match(p string, folder bool) Verdict {
	name := path.Base(p)
	for i := len(rs) - 1; i >= 0; i-- {
		if r := &rs[i]; r.match(p, name, folder) {
			if r.keeps {
				return Kept
			}
			return Ignored
		}
	}
	return Unsaid
}

// Covers reports whether the rules leave out the file at p, or a folder on the way to it.
func (rs Rules) Covers(p string) bool {
	for i := range len(p) {
		if p[i] == '/' && rs.Match(p[:i], true) == Ignored {
			return true
		}
	}
	return rs.Match(p, false) == Ignored
}

func (r *rule) match(p, name string, folder bool) bool {
	switch {
	case r.folders && !folder:
		return false
	case r.suffix != "":
		return strings.HasSuffix(name, r.suffix)
	case r.anywhere:
		return matchName(r.components[0], name)
	}
	return matchPath(r.components, p)
}

// matchPath matches component by component. "**" stands for any number of them, for at least one at the end; on a
// mismatch it is the last one that takes one more, which is all that needs to be tried.
func matchPath(pattern []string, p string) bool {
	var again []string // the pattern after the last "**"
	var rest string    // where that was tried
	for {
		if len(pattern) > 0 && len(pattern[0]) > 1 && strings.Trim(pattern[0], "*") == "" {
			if pattern = pattern[1:]; len(pattern) == 0 {
				return p != ""
			}
			again, rest = pattern, p
			continue
		}
		name, below, _ := strings.Cut(p, "/")
		switch {
		case len(pattern) > 0 && p != "" && matchName(pattern[0], name):
			if pattern, p = pattern[1:], below; len(pattern) == 0 && p == "" {
				return true
			}
		case again == nil || rest == "":
			return false
		default:
			_, rest, _ = strings.Cut(rest, "/")
			pattern, p = again, rest
		}
	}
}
