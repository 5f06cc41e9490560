// Package githubactions speaks to the GitHub Actions runner: outputs, the step summary, annotations, masks, groups.
//
// It wraps go-githubactions, which panics when it cannot write, closes every output with the same public delimiter
// (a value that holds it can set any other output), and lets the runner drop a summary that is too large.
package githubactions

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	protocol "github.com/sethvargo/go-githubactions"

	"github.com/ksera524/imgbump/internal/fault"
)

// The environment variables that name the runner's files.
const (
	outputFile  = "GITHUB_OUTPUT"
	summaryFile = "GITHUB_STEP_SUMMARY"
)

// The runner drops a whole step summary beyond 1 MiB; the rest of that is room for the notice and for masks.
const (
	maxSummary    = 1_000_000
	summaryNotice = "\n\n_This summary was cut: GitHub shows up to 1 MiB of it._"
)

// minMask is the shortest line of a secret that is masked: the brace that closes a JSON key would hide every brace.
const minMask = 4

// Action is the running step. Outside of GitHub Actions its methods do nothing, except that Output and Summary write
// wherever GITHUB_OUTPUT and GITHUB_STEP_SUMMARY point.
type Action struct {
	getenv func(string) string
	w      io.Writer
	runner *protocol.Action
	token  func() string // guards what others wrote: nobody can guess it
}

// New is the step that getenv describes; workflow commands are written to w, which the runner reads: stdout or stderr.
func New(getenv func(string) string, w io.Writer) *Action {
	return &Action{
		getenv: getenv,
		w:      w,
		runner: protocol.New(protocol.WithGetenv(getenv), protocol.WithWriter(unfailing{w})),
		token:  random,
	}
}

// Active reports whether a runner reads what is written.
func (a *Action) Active() bool { return a.getenv("GITHUB_ACTIONS") == "true" }

// Output sets an output of the step; it does nothing when GITHUB_OUTPUT is not set. The value may be any text, also of
// several lines: it stands between lines that nobody can guess.
func (a *Action) Output(name, value string) error {
	if a.getenv(outputFile) == "" {
		return nil
	}
	if name == "" || strings.ContainsAny(name, "=\r\n") || strings.Contains(name, "<<") {
		return fmt.Errorf("output %q: not a name that the runner can read", name)
	}
	end := "ghadelimiter_" + a.token()
	if strings.Contains(value, end) {
		return fmt.Errorf("output %s: the value holds its own delimiter", name)
	}
	return a.write(outputFile, name+"<<"+end+"\n"+value+"\n"+end)
}

// Summary adds Markdown to the summary of the step; it does nothing when GITHUB_STEP_SUMMARY is not set. What would
// exceed 1,000,000 bytes, counting what the step has written before, is cut at the end of a line, with a notice.
func (a *Action) Summary(markdown string) error {
	path := a.getenv(summaryFile)
	if path == "" {
		return nil
	}
	room := maxSummary
	if file, err := os.Stat(path); err == nil {
		room -= int(min(file.Size(), maxSummary))
	}
	if len(markdown)+1 > room { // write adds a newline
		markdown = cut(markdown, room-len(summaryNotice)-1)
	}
	if markdown == "" {
		return nil
	}
	return a.write(summaryFile, markdown)
}

// cut keeps at most size bytes of s, up to the end of a line, or of a character when s is one long line.
func cut(s string, size int) string {
	if size <= 0 {
		return ""
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	if end := strings.LastIndexByte(s[:size], '\n'); end > 0 {
		size = end
	}
	return s[:size] + summaryNotice
}

// Mask hides a secret in the log from here on, each of its lines, since the runner compares line by line.
func (a *Action) Mask(secret string) {
	if !a.Active() {
		return
	}
	secret = strings.TrimSpace(secret)
	for line := range strings.Lines(secret) {
		if line = strings.TrimSpace(line); line == secret || len(line) >= minMask {
			a.runner.AddMask(line)
		}
	}
}

// Group folds the log from here to EndGroup under a title.
func (a *Action) Group(title string) {
	if a.Active() {
		a.runner.Group(title)
	}
}

// EndGroup closes what Group opened.
func (a *Action) EndGroup() {
	if a.Active() {
		a.runner.EndGroup()
	}
}

// Error annotates a line of a file, relative to the workspace; file may be "" and line, which counts from 1, may be 0.
func (a *Action) Error(file string, line int, msg string) { a.annotate("error", file, line, msg) }

// Warning is Error's milder kin.
func (a *Action) Warning(file string, line int, msg string) { a.annotate("warning", file, line, msg) }

func (a *Action) annotate(level, file string, line int, msg string) {
	if !a.Active() {
		return
	}
	at := protocol.CommandProperties{}
	if file != "" {
		at["file"] = file
		if line > 0 {
			at["line"] = strconv.Itoa(line)
		}
	}
	a.runner.IssueCommand(&protocol.Command{Name: level, Message: msg, Properties: at})
}

// Untrusted lets print write text from elsewhere (a file's lines, a server's answer) that the runner must not obey:
// workflow commands are off until print returns.
func (a *Action) Untrusted(print func(w io.Writer)) {
	if !a.Active() {
		print(a.w)
		return
	}
	resume := a.token()
	text := &lineEnd{w: a.w, closed: true}
	a.runner.IssueCommand(&protocol.Command{Name: "stop-commands", Message: resume})
	defer func() {
		text.close()
		a.runner.IssueCommand(&protocol.Command{Name: resume})
	}()
	print(text)
}

// write appends a line to the file that the environment variable names.
func (a *Action) write(variable, text string) error {
	path := a.getenv(variable)
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = file.WriteString(text + "\n")
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return &fault.Error{What: "write to " + variable, Hint: variable + " must name a file that can be written to; under GitHub Actions the runner sets it", Err: err}
	}
	return nil
}

// random is 128 bits in hex.
func random() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// unfailing hides write errors from the library, which would panic: a log that is gone must not end the work.
type unfailing struct{ w io.Writer }

func (u unfailing) Write(p []byte) (int, error) {
	u.w.Write(p)
	return len(p), nil
}

// lineEnd remembers whether the last line was closed: a command is one only at the start of a line.
type lineEnd struct {
	w      io.Writer
	closed bool
}

func (l *lineEnd) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.closed = p[len(p)-1] == '\n'
	}
	return l.w.Write(p)
}

func (l *lineEnd) close() {
	if !l.closed {
		io.WriteString(l.w, "\n")
	}
}
