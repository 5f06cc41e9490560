package cli

import (
	"regexp"
	"strings"
	"unicode"
)

// cleaned is a Workflow that gets no control characters: what is told may be from a server, a file or an archive.
type cleaned struct{ Workflow }

func (w cleaned) Group(title string) { w.Workflow.Group(oneLine(title)) }

func (w cleaned) Error(file string, line int, message string) {
	w.Workflow.Error(oneLine(file), line, printable(message))
}

func (w cleaned) Warning(file string, line int, message string) {
	w.Workflow.Warning(oneLine(file), line, printable(message))
}

func (w cleaned) Summary(markdown string) error { return w.Workflow.Summary(printable(markdown)) }

// printable replaces what could take hold of a terminal, or hide what a text says.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// oneLine is text that a terminal shows as it is, in one line.
func oneLine(text string) string {
	return printable(strings.NewReplacer("\n", " ", "\t", " ").Replace(text))
}

// begun is how the lines of both programs begin.
var begun = regexp.MustCompile(`(?m)^(imgbump|harborpush):`)

// setIn moves all lines but the first to the right, or only those that could be taken for lines of ours: an answer of a
// server must not look like our own words.
func setIn(text string, onlyForged bool) string {
	if onlyForged {
		return begun.ReplaceAllString(text, "  $0")
	}
	return strings.ReplaceAll(text, "\n", "\n  ")
}
