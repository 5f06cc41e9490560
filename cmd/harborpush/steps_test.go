package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/githubactions"
)

// shownSteps is what a log has of events: "N+" begins step N, "N text" says something, "N." ends it, "N!" and "N~" end it with
// an error and because of another's.
func shownSteps(t *testing.T, actions bool, events ...string) string {
	t.Helper()
	var log bytes.Buffer
	getenv := func(name string) string {
		if name == "GITHUB_ACTIONS" && actions {
			return "true"
		}
		return ""
	}
	c := &cli.Console{Streams: cli.Streams{Err: &log, Getenv: getenv}, Workflow: githubactions.New(getenv, &log)}
	s := newSteps(c, newTransfers(c), false)
	defer s.end()
	for _, event := range events {
		var number int
		fmt.Sscan(event[:1], &number)
		step := dockerfile.Step{Number: number, Total: 3, Instruction: fmt.Sprintf("RUN %d", number), Took: time.Second}
		switch what := event[1:]; what {
		case "+":
		case ".":
			step.Done = true
		case "!":
			step.Err = errors.New("failed")
		case "~":
			step.Err = context.Canceled
		default:
			step.Output = []byte(strings.TrimPrefix(what, " "))
		}
		s.step(step)
	}
	return strings.ReplaceAll(log.String(), ": [", "[")
}

// TestGroupedSteps wants a workflow's log to have what each step says in one place, and to lose nothing.
func TestGroupedSteps(t *testing.T) {
	got := shownSteps(t, true, "1+", "2+", "3+", "1 a\n", "2 b\n", "3.", "1 a2\nrest", "2 b2\n::x::\n", "1.", "2 b3\n", "2!")
	want := `::group::[1/3] RUN 1
a
a2
rest
::endgroup::
[1/3] done  1.0s
[3/3] RUN 3  1.0s
::group::[2/3] RUN 2
::stop-commands::TOKEN
b
b2
::x::
::TOKEN::
b3
::endgroup::
[2/3] failed after 1.0s
[2/3] | b
[2/3] | b2
[2/3] | ::x::
[2/3] | b3
`
	_, token, _ := strings.Cut(got, "::stop-commands::")
	token, _, _ = strings.Cut(token, "\n")
	got = strings.ReplaceAll(got, token, "TOKEN")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestWaitingSteps bounds what is kept of a step while another one is shown.
func TestWaitingSteps(t *testing.T) {
	w := &waitingStep{}
	line := strings.Repeat("x", maxWaiting/4)
	for range 6 {
		w.add([]string{line})
	}
	if len(w.lines) != 4 || w.left != 2 {
		t.Errorf("%d lines are kept, %d left out", len(w.lines), w.left)
	}
}

// TestPlainSteps wants a line for each step, its output after its number, and what a failed one said last where others spoke
// after it.
func TestPlainSteps(t *testing.T) {
	for name, tt := range map[string]struct {
		events []string
		want   string
	}{
		"short":           {[]string{"1+", "1."}, "[1/3] RUN 1  1.0s\n"},
		"talking":         {[]string{"1+", "1 a\nb", "1."}, "[1/3] RUN 1\n[1/3] | a\n[1/3] | b\n[1/3] done  1.0s\n"},
		"failing":         {[]string{"1+", "1 a\n", "1!"}, "[1/3] RUN 1\n[1/3] | a\n[1/3] failed after 1.0s\n"},
		"failing earlier": {[]string{"1+", "2+", "1 a\n", "2 b\n", "1!", "2~"}, "[1/3] RUN 1\n[1/3] | a\n[2/3] RUN 2\n[2/3] | b\n[1/3] failed after 1.0s\n[1/3] | a\n[2/3] cancelled after 1.0s\n"},
		"twice":           {[]string{"1+", "1.", "1+", "1."}, "[1/3] RUN 1  1.0s\n[1/3] RUN 1  1.0s\n"},
	} {
		if d := cmp.Diff(tt.want, shownSteps(t, false, tt.events...)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
