package policy

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// Allow is what AllowTags is for a list of which one has to match: "regexp:" and an expression, or a pattern of a shell that
// the whole tag matches.
func Allow(list []string) string {
	if len(list) == 0 || len(list) == 1 && (strings.HasPrefix(list[0], "regexp:") || list[0] == "any") {
		return strings.Join(list, "")
	}
	var expressions []string
	for _, one := range list {
		expression, found := strings.CutPrefix(one, "regexp:")
		if one == "any" {
			return one
		}
		if !found {
			expression = "^" + ofShell(one) + "$"
		}
		expressions = append(expressions, "(?:"+expression+")")
	}
	return "regexp:" + strings.Join(expressions, "|")
}

// ofShell is a shell's pattern as an expression: * ? [a-z] [^a].
func ofShell(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c, size := utf8.DecodeRuneInString(pattern[i:]); c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteByte('.')
		case '[':
			class, _, closed := strings.Cut(pattern[i:], "]")
			if !closed {
				class = pattern[i:] // no expression either, which is told when it is compiled
			} else {
				class += "]"
			}
			b.WriteString(class)
			i += len(class) - 1
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
			i += size - 1
		}
	}
	return b.String()
}
