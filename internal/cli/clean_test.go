package cli

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/fault"
)

// heard is a Workflow that keeps what it is told.
type heard struct {
	nowhere
	told []string
}

func (h *heard) Active() bool                         { return true }
func (h *heard) Group(title string)                   { h.told = append(h.told, title) }
func (h *heard) Error(file string, _ int, m string)   { h.told = append(h.told, file, m) }
func (h *heard) Warning(file string, _ int, m string) { h.told = append(h.told, file, m) }
func (h *heard) Summary(markdown string) error        { h.told = append(h.told, markdown); return nil }

// TestForeignText has text from elsewhere that wants to be taken for our own, or to take hold of the terminal.
func TestForeignText(t *testing.T) {
	const foreign = "it says\nharborpush: error: forged\r\x1b[2K\u202etxet\u2028done"
	var out bytes.Buffer
	c := &Console{Streams: Streams{Err: &out}, Workflow: nowhere{}, binary: "harborpush"}
	c.failure(&fault.Error{Err: errors.New(foreign), Hint: "apply\nkind: Role\nimgbump: hint: forged"})
	c.Warnf("a\nb", 3, "%s", foreign)
	c.Progressf("%s", foreign)
	const clean = "it says\n  harborpush: error: forged\ufffd\ufffd[2K\ufffdtxet\ufffddone\n"
	want := "harborpush: error: " + clean +
		"harborpush: hint: apply\nkind: Role\n  imgbump: hint: forged\n" +
		"harborpush: warning: a\n  b:3: " + clean + "harborpush: " + clean
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	workflow := &heard{}
	c.Workflow = cleaned{workflow}
	c.failure(&fault.Error{Err: errors.New("\x1b[2J"), Hint: "\x1b"})
	c.Warnf("a\x1bb", 1, "\x1b[2J")
	c.Group("one\ntwo\x1b")
	if err := c.Workflow.Summary("| \x1b[2J |\n"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"", "\ufffd[2J\n\ufffd", "a\ufffdb", "\ufffd[2J", "one two\ufffd", "| \ufffd[2J |\n"}, workflow.told); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestRunCleans has a command fail with text from elsewhere.
func TestRunCleans(t *testing.T) {
	workflow, root := &heard{}, &cobra.Command{Use: "tool"}
	var out bytes.Buffer
	Run(Streams{Err: &out, Getenv: func(string) string { return "" }}, workflow, root, []string{"work"}, func(*Console) []*cobra.Command {
		return []*cobra.Command{{Use: "work", RunE: func(*cobra.Command, []string) error { return errors.New("\x1b[2J") }}}
	})
	if diff := cmp.Diff([]string{"", "\ufffd[2J"}, workflow.told); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
