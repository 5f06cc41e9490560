package ignore

import "strings"

// MatchText reports whether a glob means the text as a whole: "*" is any text, with slashes in it too, "?" any byte.
func MatchText(glob, text string) bool { return matchName(glob, text) }

// matchName matches one component byte by byte, as git does. On a mismatch the last "*" takes one byte more.
func matchName(pattern, name string) bool {
	var again, rest string // the pattern after the last "*", and where that was tried
	starred := false
	for name != "" {
		if pattern != "" && pattern[0] == '*' {
			pattern = pattern[1:]
			again, rest, starred = pattern, name, true
			continue
		}
		if n := matchByte(pattern, name[0]); n > 0 {
			pattern, name = pattern[n:], name[1:]
			continue
		}
		if !starred {
			return false
		}
		rest = rest[1:]
		pattern, name = again, rest
	}
	return strings.Trim(pattern, "*") == ""
}

// matchByte is the length of what stands for one byte at the pattern's start, when that is c; else 0.
func matchByte(pattern string, c byte) int {
	switch {
	case pattern == "":
		return 0
	case pattern[0] == '?':
		return 1
	case pattern[0] == '[':
		return matchSet(pattern, c)
	case pattern[0] == '\\' && len(pattern) > 1 && pattern[1] == c:
		return 2
	case pattern[0] == c && c != '\\':
		return 1
	}
	return 0
}

// matchSet is the length of the bracket expression that the pattern starts with, when c is in it; else 0.
func matchSet(pattern string, c byte) int {
	if length, in := readSet(pattern, c); in {
		return length
	}
	return 0
}

// readSet reads the bracket expression that the pattern starts with: its length, 0 when it is not closed, and whether c
// is in it.
func readSet(pattern string, c byte) (length int, in bool) {
	i := 1
	negated := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negated {
		i++
	}
	for first := i; i < len(pattern) && (pattern[i] != ']' || i == first); {
		if class, ok := classAt(pattern[i:]); ok {
			in = in || classes[class](c)
			i += len("[::]") + len(class)
			continue
		}
		low, n := member(pattern[i:])
		i += n
		high := low
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			high, n = member(pattern[i+1:])
			i += 1 + n
		}
		if n == 0 {
			return 0, false
		}
		in = in || low <= c && c <= high
	}
	if i >= len(pattern) {
		return 0, false
	}
	return i + 1, in != negated
}

// closed reports whether every bracket of the pattern is closed, and every backslash protects something.
func closed(pattern string) bool {
	for pattern != "" {
		n := 1
		switch pattern[0] {
		case '\\':
			n = 2
		case '[':
			n, _ = readSet(pattern, 0)
		}
		if n == 0 || n > len(pattern) {
			return false
		}
		pattern = pattern[n:]
	}
	return true
}

// member is one byte of a bracket expression and its length, 0 when a backslash protects nothing.
func member(s string) (c byte, length int) {
	switch {
	case s[0] != '\\':
		return s[0], 1
	case len(s) > 1:
		return s[1], 2
	}
	return 0, 0
}

// classAt is the name of the class that s starts with, [:NAME:].
func classAt(s string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(s, "[:")
	if !ok {
		return "", false
	}
	name, _, ok = strings.Cut(rest, ":]")
	return name, ok && classes[name] != nil
}

// classes are those of POSIX, for ASCII.
var classes = map[string]func(c byte) bool{
	"alnum":  func(c byte) bool { return letter(c) || digit(c) },
	"alpha":  letter,
	"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
	"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
	"digit":  digit,
	"graph":  func(c byte) bool { return c > ' ' && c < 0x7f },
	"lower":  lower,
	"print":  func(c byte) bool { return c >= ' ' && c < 0x7f },
	"punct":  func(c byte) bool { return c > ' ' && c < 0x7f && !letter(c) && !digit(c) },
	"space":  func(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' },
	"upper":  upper,
	"xdigit": func(c byte) bool { return digit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' },
}

func lower(c byte) bool  { return c >= 'a' && c <= 'z' }
func upper(c byte) bool  { return c >= 'A' && c <= 'Z' }
func letter(c byte) bool { return lower(c) || upper(c) }
func digit(c byte) bool  { return c >= '0' && c <= '9' }
