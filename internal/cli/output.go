package cli

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"unicode"
)

// Output shows lines that a program other than ours has written, each after a prefix; --quiet silences it.
func (c *Console) Output(prefix string, lines ...string) {
	if !c.quiet {
		c.Show(prefix, lines...)
	}
}

// Quiet reports whether only warnings and errors are wanted.
func (c *Console) Quiet() bool { return c.quiet }

// Show is Output that --quiet does not silence.
func (c *Console) Show(prefix string, lines ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.progress != nil {
		c.progress.erase()
		defer c.progress.draw()
	}
	var text strings.Builder
	commands := false
	for _, line := range lines {
		line = prefix + printable(line)
		commands = commands || obeyed(line)
		text.WriteString(line + "\n")
	}
	if commands && c.Workflow.Active() {
		c.Workflow.Untrusted(func(w io.Writer) { io.WriteString(w, text.String()) })
		return
	}
	io.WriteString(c.Err, text.String())
}

// obeyed reports whether a runner would take a line for a workflow command.
func obeyed(line string) bool {
	return strings.HasPrefix(strings.TrimLeftFunc(line, unicode.IsSpace), "::") || strings.Contains(line, "##[")
}

// Lines parts what a program writes into lines as a terminal would show them at last, without what moves the cursor or changes
// colours: what was written over is gone.
type Lines struct{ rest []byte }

// maxLine is how long a line may be, in bytes. A longer one is parted.
const maxLine = 16 << 10

// Add takes more of the text, and gives the lines that are whole now.
func (l *Lines) Add(text []byte) (whole []string) {
	l.rest = append(l.rest, text...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		next := end + 1
		switch {
		case end > maxLine, end < 0 && len(l.rest) > maxLine:
			end, next = maxLine, maxLine
		case end < 0:
			return whole
		}
		whole = append(whole, shown(l.rest[:end]))
		l.rest = l.rest[next:]
	}
}

// End gives the last line, if it has no end.
func (l *Lines) End() []string {
	rest := l.rest
	if l.rest = nil; len(rest) == 0 {
		return nil
	}
	return []string{shown(rest)}
}

// shown is the text of a line.
func shown(line []byte) string {
	text := strings.TrimRight(string(line), "\r")
	text = text[strings.LastIndexByte(text, '\r')+1:]
	return strings.ToValidUTF8(escapes.ReplaceAllString(text, ""), "�")
}

// escapes are control sequences (ECMA-48): CSI, then strings such as a window's title, then others.
var escapes = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(\x07|\x1b\\)?|\x1b[ -/]*[0-~]?`)
