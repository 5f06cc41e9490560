package repo

import "strings"

// parseConfig reads git's configuration syntax (git-config, "CONFIGURATION FILE") and reports each line. It passes
// over what it does not understand: git itself will complain, and a strange alias must not stop a bump.
func parseConfig(text string, report func(setting) error) error {
	s := scanner{strings.TrimPrefix(text, "\ufeff")}
	var at setting
	for s.skip(" \t\r\n"); s.rest != ""; s.skip(" \t\r\n") {
		switch c := s.rest[0]; {
		case c == '[':
			at.section, at.subsection = s.header()
		case isLetter(c):
			at.key = strings.ToLower(s.take(isKey))
			at.value = "true"
			if s.skip(" \t"); strings.HasPrefix(s.rest, "=") {
				s.rest = s.rest[1:]
				at.value = s.value()
			}
			if err := report(at); err != nil {
				return err
			}
		default: // a comment, most likely
			s.take(func(c byte) bool { return c != '\n' })
		}
	}
	return nil
}

// scanner takes text off its front.
type scanner struct{ rest string }

func (s *scanner) skip(cutset string) { s.rest = strings.TrimLeft(s.rest, cutset) }

func (s *scanner) take(while func(byte) bool) string {
	n := 0
	for n < len(s.rest) && while(s.rest[n]) {
		n++
	}
	taken := s.rest[:n]
	s.rest = s.rest[n:]
	return taken
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isKey(c byte) bool    { return isLetter(c) || c >= '0' && c <= '9' || c == '-' }

// header reads [section], [section "subsection"] or the old [section.subsection].
func (s *scanner) header() (section, subsection string) {
	s.rest = s.rest[1:]
	name := strings.ToLower(s.take(func(c byte) bool { return isKey(c) || c == '.' }))
	section, subsection, _ = strings.Cut(name, ".")
	if s.skip(" \t"); strings.HasPrefix(s.rest, `"`) {
		s.rest = s.rest[1:]
		subsection = s.quoted()
	}
	s.take(func(c byte) bool { return c != ']' && c != '\n' })
	s.rest = strings.TrimPrefix(s.rest, "]")
	return section, subsection
}

// quoted reads to the closing quote; a backslash stands for the character after it.
func (s *scanner) quoted() string {
	var text strings.Builder
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return text.String()
		case c == '\\' && i+1 < len(s.rest):
			i++
			text.WriteByte(s.rest[i])
		default:
			text.WriteByte(c)
		}
	}
	s.rest = ""
	return text.String()
}

var escapes = map[byte]string{'n': "\n", 't': "\t", 'b': "\b", '"': `"`, '\\': `\`, '\n': ""}

// value reads to the end of the line, or of its last continuation, without the space around it and the comment behind.
func (s *scanner) value() string {
	var text strings.Builder
	solid := 0 // the length that trailing space does not count into
	inQuotes := false
	s.skip(" \t")
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '\n' || !inQuotes && (c == '#' || c == ';'):
			s.rest = s.rest[i:]
			return text.String()[:solid]
		case c == '"':
			inQuotes = !inQuotes
			solid = text.Len()
		case c == '\\' && i+1 < len(s.rest):
			if strings.HasPrefix(s.rest[i+1:], "\r\n") {
				i++
			}
			i++
			text.WriteString(escapes[s.rest[i]])
			solid = text.Len()
		default:
			text.WriteByte(c)
			if inQuotes || !strings.ContainsRune(" \t\r", rune(c)) {
				solid = text.Len()
			}
		}
	}
	s.rest = ""
	return text.String()[:solid]
}
