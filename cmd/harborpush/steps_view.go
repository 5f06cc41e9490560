package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
)

// liveSteps is for a terminal: below what is done stand the steps that run, with their time and what they said last.
type liveSteps struct {
	console *cli.Console
	drawing *cli.Progress
}

// liveLines is how much of what a running process says is shown.
const liveLines = 5

func (v liveSteps) said(s *shownStep, _ []string) { v.draw(s) }

func (v liveSteps) tick(running []*shownStep) {
	for _, s := range running {
		v.draw(s)
	}
}

// place is the line of a step: above those of layers.
func (v liveSteps) place(s *shownStep) int { return s.Number - s.Total - 1 }

func (v liveSteps) draw(s *shownStep) {
	instruction := strings.TrimPrefix(s.title, number(s.Step)+" ")
	lines := []string{fmt.Sprintf("%s %4.1fs  %s", number(s.Step), time.Since(s.began).Seconds(), instruction)} // the time is not cut
	for _, line := range s.last[max(0, len(s.last)-liveLines):] {
		lines = append(lines, "  | "+line)
	}
	v.drawing.Show(v.place(s), lines...)
}

func (v liveSteps) ended(s *shownStep) {
	v.drawing.Remove(v.place(s))
	v.console.Progressf("%s%s", s.title, outcome(s))
	explain(v.console, s)
	if s.failed() {
		v.console.Show("  | ", s.last...)
	}
}

// failed reports whether the step is to blame for its end.
func (s *shownStep) failed() bool { return s.Err != nil && !errors.Is(s.Err, context.Canceled) }

func (v liveSteps) end() {}

// outcome is how a step ended, for the end of its line.
func outcome(s *shownStep) string {
	switch {
	case s.Err != nil:
		return fmt.Sprintf("  %s after %.1fs", s.status(), s.Took.Seconds())
	case s.Cached:
		return "  cached"
	}
	return in(s.Took)
}

// explain says why a step is not from the cache, when that was asked for.
func explain(c *cli.Console, s *shownStep) {
	if s.Why != "" {
		c.Progressf("%s not cached: %s", number(s.Step), s.Why)
	}
}

// plainSteps is for a file: a line for each step when it is done, or when it says something or takes long.
type plainSteps struct {
	console *cli.Console
	told    map[*shownStep]bool
	spoke   *shownStep // last
}

// patience is how long a step may go on before its line is written.
const patience = time.Second

func (v *plainSteps) said(s *shownStep, lines []string) {
	v.begin(s)
	v.spoke = s
	v.console.Output(number(s.Step)+" | ", lines...)
}

func (v *plainSteps) begin(s *shownStep) {
	if !v.told[s] {
		v.told[s] = true
		v.console.Progressf("%s", s.title)
	}
}

func (v *plainSteps) tick(running []*shownStep) {
	for _, s := range running {
		if time.Since(s.began) >= patience {
			v.begin(s)
		}
	}
}

func (v *plainSteps) ended(s *shownStep) {
	switch {
	case !v.told[s]:
		v.console.Progressf("%s%s", s.title, outcome(s))
	case s.Err == nil && !s.Cached:
		v.console.Progressf("%s done%s", number(s.Step), in(s.Took))
	default:
		v.console.Progressf("%s%s", number(s.Step), outcome(s)[1:])
	}
	explain(v.console, s)
	if s.failed() && (v.spoke != s || v.console.Quiet()) {
		v.console.Show(number(s.Step)+" | ", s.last...)
	}
}

func (v *plainSteps) end() {}

// groupedSteps is for a workflow's log, where what a process says folds below its step. Groups cannot lie in each other: what
// comes while one is open waits for its end.
type groupedSteps struct {
	plainSteps
	open    *shownStep // whose group is open
	close   func()
	waiting []*waitingStep // in the order in which they came
}

// waitingStep is a step that something is to be said of.
type waitingStep struct {
	*shownStep
	lines []string
	bytes int
	left  int // out, for want of room
	ended bool
}

// maxWaiting is how much of what a process says is kept until it can be shown, in bytes.
const maxWaiting = 8 << 20

func (v *groupedSteps) said(s *shownStep, lines []string) {
	switch v.open {
	case s:
		v.console.Output("", lines...)
	case nil:
		v.begin(s)
		v.console.Output("", lines...)
	default:
		v.wait(s).add(lines)
	}
}

func (v *groupedSteps) begin(s *shownStep) {
	v.open, v.close = s, v.console.Group(s.title)
}

func (v *groupedSteps) wait(s *shownStep) *waitingStep {
	for _, w := range v.waiting {
		if w.shownStep == s {
			return w
		}
	}
	w := &waitingStep{shownStep: s}
	v.waiting = append(v.waiting, w)
	return w
}

func (w *waitingStep) add(lines []string) {
	for _, line := range lines {
		w.lines, w.bytes = append(w.lines, line), w.bytes+len(line)
	}
	for w.bytes > maxWaiting {
		w.bytes -= len(w.lines[0])
		w.lines, w.left = w.lines[1:], w.left+1
	}
}

func (v *groupedSteps) tick(running []*shownStep) {
	if v.open == nil {
		v.plainSteps.tick(running)
	}
}

func (v *groupedSteps) ended(s *shownStep) {
	switch v.open {
	case s:
		v.conclude(s)
	case nil:
		v.plainSteps.ended(s)
	default:
		v.wait(s).ended = true
		return
	}
	v.next()
}

// conclude closes the group of a step. What a process that failed said last is shown outside of it, too: a reader need not unfold.
func (v *groupedSteps) conclude(s *shownStep) {
	v.close()
	v.open = nil
	v.told[s] = true
	v.plainSteps.ended(s)
}

// next shows what waited: steps that have ended whole, and what another has said so far.
func (v *groupedSteps) next() {
	for i := 0; i < len(v.waiting); {
		w := v.waiting[i]
		if !w.ended {
			i++
			continue
		}
		v.waiting = append(v.waiting[:i], v.waiting[i+1:]...)
		if len(w.lines) == 0 {
			v.plainSteps.ended(w.shownStep)
			continue
		}
		v.unfold(w)
		v.conclude(w.shownStep)
	}
	if len(v.waiting) > 0 {
		w := v.waiting[0]
		v.waiting = v.waiting[1:]
		v.unfold(w)
	}
}

func (v *groupedSteps) unfold(w *waitingStep) {
	v.begin(w.shownStep)
	if w.left > 0 {
		v.console.Output("", fmt.Sprintf("(%d lines are left out)", w.left))
	}
	v.console.Output("", w.lines...)
}

// end closes the group of a step that nobody has seen the end of.
func (v *groupedSteps) end() {
	if v.open != nil {
		v.close()
		v.open = nil
	}
}
