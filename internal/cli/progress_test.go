package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestProgress draws two lines that change, with a line of the log in between, and removes them.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	c := &Console{Streams: Streams{Err: &out, Getenv: func(string) string { return "" }}, Workflow: nowhere{}, binary: "tool"}
	p := c.Progress()
	p.Show(1, "unseen")
	if p.End(); out.Len() > 0 {
		t.Errorf("what is no terminal got %q", out.String())
	}

	now := time.Unix(1000, 0)
	p = c.Progress()
	p.now, c.progress = func() time.Time { return now }, p // as on a terminal
	p.Show(2, "two")
	p.Show(1, "too soon")
	now = now.Add(redrawAfter)
	p.Show(1, "one\x1b[31m")
	c.Progressf("done")
	p.Remove(2)
	now = now.Add(redrawAfter)
	p.Show(1, "one more")
	p.End()
	c.Progressf("over")
	want := "two\n" +
		"\x1b[1A\x1b[J" + "one\ufffd[31m\ntwo\n" +
		"\x1b[2A\x1b[J" + "tool: done\n" + "one\ufffd[31m\ntwo\n" +
		"\x1b[2A\x1b[J" + "one more\n" +
		"\x1b[1A\x1b[J" + "tool: over\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
