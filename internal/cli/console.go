package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/ksera524/imgbump/internal/fault"
)

// Streams are where a command reads and writes, and its environment.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
}

// Workflow is the CI system around the command, as GitHub Actions offers it; all of it does nothing elsewhere.
type Workflow interface {
	Active() bool
	Group(title string)
	EndGroup()
	Error(file string, line int, message string)
	Warning(file string, line int, message string)
	Mask(secret string)
	Output(name, value string) error
	Summary(markdown string) error
	Untrusted(write func(io.Writer))
}

// Console talks to the person: results on stdout and only those, everything else on stderr.
// It is safe for use by several goroutines.
type Console struct {
	Streams
	Workflow Workflow

	binary string
	format string
	quiet  bool
	chatty bool

	log      *slog.Logger // that lines go to in place of stderr, or nil
	drawing  string       // "tty" or "plain" when somebody asked for it
	mu       sync.Mutex
	progress *Progress // what is drawn below the lines, nil for nothing
}

// Agent is the program as it names itself to servers: "imgbump/v1.2.3".
func (c *Console) Agent() string { return c.binary + "/" + cmp.Or(Version, "devel") }

// Logging is the console of a part of the program that runs on for long: what it says becomes records of the log.
func (c *Console) Logging(log *slog.Logger) *Console {
	return &Console{Streams: c.Streams, Workflow: c.Workflow, binary: c.binary, format: c.format, log: log}
}

// Level is from which level on a log tells what goes on.
func (c *Console) Level() slog.Level {
	switch {
	case c.quiet:
		return slog.LevelWarn
	case c.chatty:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// JSON reports whether the result is wanted as one JSON document.
func (c *Console) JSON() bool { return c.format == formatJSON }

// Format is what the result is wanted as: text, json, or what Formats added.
func (c *Console) Format() string { return c.format }

// Print writes the result to stdout: doc as one JSON document, or text.
func (c *Console) Print(doc any, text string) error {
	if !c.JSON() {
		return c.printText(text)
	}
	enc := json.NewEncoder(c.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}

// printText writes text to stdout. What a runner could take for a command, a line of a diff for example, is fenced off on
// stderr, so that stdout holds the result and only that.
func (c *Console) printText(text string) (err error) {
	write := func(io.Writer) { _, err = io.WriteString(c.Out, text) }
	if c.Workflow.Active() && mayCommand(text) {
		c.Workflow.Untrusted(write)
	} else {
		write(nil)
	}
	return err
}

// Progressf tells what is going on; --quiet silences it.
func (c *Console) Progressf(format string, args ...any) {
	switch {
	case c.log != nil:
		c.log.Info(fmt.Sprintf(format, args...))
	case !c.quiet:
		c.say("", format, args...)
	}
}

// Detailf tells what only --verbose wants to know.
func (c *Console) Detailf(format string, args ...any) {
	switch {
	case c.log != nil:
		c.log.Debug(fmt.Sprintf(format, args...))
	case c.chatty:
		c.say("", format, args...)
	}
}

// Warnf tells what the person should know although the work goes on; under GitHub Actions it is an annotation,
// at file and line where those are known.
func (c *Console) Warnf(file string, line int, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	switch {
	case c.log != nil:
		c.log.Warn(place(file, line) + message)
		return
	case c.Workflow.Active():
		c.Workflow.Warning(file, line, message)
		return
	}
	c.say("warning: ", "%s%s", place(file, line), message)
}

// Group bundles the lines that follow, where the CI system can fold them, until the returned function is called.
func (c *Console) Group(title string) (end func()) {
	if c.quiet {
		return func() {}
	}
	if c.Workflow.Active() {
		c.Workflow.Group(title)
		return c.Workflow.EndGroup
	}
	c.Progressf("%s", title)
	return func() {}
}

// hintPrefix begins a hint, which may hold a file to copy: its lines stay as they are.
const hintPrefix = "hint: "

// failure is the last word about an error: what failed and what to do next.
func (c *Console) failure(err error) {
	message, hint := err.Error(), fault.HintOf(err)
	if c.Workflow.Active() {
		file, line := placeOf(err)
		c.Workflow.Error(file, line, strings.TrimSpace(message+"\n"+hint))
	}
	c.say("error: ", "%s", message)
	if hint != "" {
		c.say(hintPrefix, "%s", hint)
	}
}

func (c *Console) say(prefix, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := printable(strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
	text = c.binary + ": " + prefix + setIn(text, prefix == hintPrefix) + "\n"
	if c.Workflow.Active() && mayCommand(text) {
		c.Workflow.Untrusted(func(w io.Writer) { io.WriteString(w, text) })
		return
	}
	if c.progress != nil {
		c.progress.erase()
		defer c.progress.draw()
	}
	io.WriteString(c.Err, text)
}

// mayCommand reports whether a runner could take a part of text for a workflow command.
func mayCommand(text string) bool {
	return strings.Contains(text, "::") || strings.Contains(text, "##[")
}

func place(file string, line int) string {
	switch {
	case file == "":
		return ""
	case line == 0:
		return file + ": "
	}
	return fmt.Sprintf("%s:%d: ", file, line)
}
