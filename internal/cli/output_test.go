package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLines(t *testing.T) {
	for in, want := range map[string][]string{
		"one\ntwo\r\nthr|ee":                      {"one", "two", "three"},
		"10%\r20%|\r100%\n":                       {"100%"},
		"\x1b[1;31mred\x1b[0m\x1b[2K\x1b[1A up\n": {"red up"},
		"\x1b]0;title\x07text \x1bM\x1b(B!\n":     {"text !"},
		"\x1b]52;c;stolen\x1b\\text\n":            {"text"},
		"\xff\xfe|\n\n":                           {"\ufffd", ""},
		strings.Repeat("x", maxLine) + "y\n":      {strings.Repeat("x", maxLine), "y"},
		"":                                        nil,
	} {
		var l Lines
		var got []string
		for part := range strings.SplitSeq(in, "|") {
			got = append(got, l.Add([]byte(part))...)
		}
		if d := cmp.Diff(want, append(got, l.End()...)); d != "" {
			t.Errorf("%.40q: %s", in, d)
		}
	}
}

// TestOutput wants a workflow to be told by no line of another program what to do.
func TestOutput(t *testing.T) {
	var out bytes.Buffer
	guarded := 0
	c := &Console{Streams: Streams{Err: &out}, Workflow: guarding{&out, &guarded}}
	for line, commands := range map[string]int{
		"::error::x": 1, "  ::set-output name=x::y": 1, "\u00a0::x::": 1, "a ##[group]b": 1, "std::vector": 0, "x": 0,
	} {
		guarded = 0
		if c.Output("", line); guarded != commands {
			t.Errorf("%q: guarded %d times, want %d", line, guarded, commands)
		}
	}
	out.Reset()
	c.Output("[1/2] | ", "a\x1bb", "::x::")
	if got := out.String(); got != "[1/2] | a\ufffdb\n[1/2] | ::x::\n" {
		t.Errorf("%q", got)
	}
	c.quiet = true
	out.Reset()
	if c.Output("", "x"); out.Len() > 0 {
		t.Error("quiet says something")
	}
	if c.Show("", "x"); out.String() != "x\n" {
		t.Errorf("%q", out.String())
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		line    string
		columns int
		want    string
	}{{"four", 4, "four"}, {"fives", 4, "fiv…"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"any", 0, "any"}} {
		if got := cut(tt.line, tt.columns); got != tt.want {
			t.Errorf("%s in %d: %s", tt.line, tt.columns, got)
		}
	}
}

// guarding counts how often text is guarded from the runner.
type guarding struct {
	out     *bytes.Buffer
	guarded *int
}

func (guarding) Active() bool                { return true }
func (guarding) Group(string)                {}
func (guarding) EndGroup()                   {}
func (guarding) Error(string, int, string)   {}
func (guarding) Warning(string, int, string) {}
func (guarding) Mask(string)                 {}
func (guarding) Output(string, string) error { return nil }
func (guarding) Summary(string) error        { return nil }
func (g guarding) Untrusted(write func(io.Writer)) {
	*g.guarded++
	write(g.out)
}

// FuzzLines wants the same lines whatever the pieces in which a text comes, and nothing in them that moves a terminal's cursor.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\x1b[31mb\r\nc\rd\n\x1b]0;t\x07e"), 3)
	f.Fuzz(func(t *testing.T, text []byte, at int) {
		at = max(0, min(at, len(text)))
		var whole, parts Lines
		want := append(whole.Add(text), whole.End()...)
		got := append(parts.Add(text[:at]), parts.Add(text[at:])...)
		if d := cmp.Diff(want, append(got, parts.End()...)); d != "" {
			t.Error(d)
		}
		for _, line := range want {
			if strings.ContainsAny(line, "\x1b\r\n") {
				t.Errorf("%q", line)
			}
		}
	})
}
