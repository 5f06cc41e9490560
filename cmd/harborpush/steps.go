package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/ship"
)

// steps follows the instructions of a build: it has them shown, and remembers them for the summary.
type steps struct {
	console   *cli.Console
	transfers *transfers
	platforms bool // there are several
	stop      chan struct{}

	mu    sync.Mutex // of what follows
	view  view
	known map[int]*shownStep
}

// shownStep is a step, and what its process has said.
type shownStep struct {
	dockerfile.Step
	title string
	began time.Time
	text  cli.Lines
	last  []string // of its lines
}

// view shows steps. Its methods are called one after the other.
type view interface {
	said(s *shownStep, lines []string)
	tick(running []*shownStep)
	ended(s *shownStep) // it is done, or failed
	end()
}

func newSteps(c *cli.Console, t *transfers, platforms bool) *steps {
	s := &steps{console: c, transfers: t, platforms: platforms, stop: make(chan struct{}), known: map[int]*shownStep{}}
	switch {
	case t.drawing.Live():
		s.view = liveSteps{c, t.drawing}
	case c.Workflow.Active():
		s.view = &groupedSteps{plainSteps: plainSteps{console: c, told: map[*shownStep]bool{}}}
	default:
		s.view = &plainSteps{console: c, told: map[*shownStep]bool{}}
	}
	go s.tick()
	return s
}

// redraw is how often the times of running steps change.
const redraw = 500 * time.Millisecond

func (s *steps) tick() {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.mu.Lock()
			s.view.tick(s.running())
			s.mu.Unlock()
		}
	}
}

// end stops showing steps.
func (s *steps) end() {
	close(s.stop)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.end()
}

// ordered are the steps that were begun, in their order.
func (s *steps) ordered() []*shownStep {
	return slices.SortedFunc(maps.Values(s.known), func(a, b *shownStep) int { return cmp.Compare(a.Number, b.Number) })
}

// running are the steps that have not ended, in their order.
func (s *steps) running() []*shownStep { return slices.DeleteFunc(s.ordered(), (*shownStep).ended) }

// unfinished are the steps that were begun and did not get done.
func (s *steps) unfinished() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var titles []string
	for _, step := range s.ordered() {
		if !step.Done {
			titles = append(titles, step.title)
		}
	}
	return strings.Join(titles, ", ")
}

// lastLines is how much of what a process said is shown again when it has failed.
const lastLines = 50

// step is told of each event of a step. When a cache has lost something, a step may begin again.
func (s *steps) step(event dockerfile.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends, known := event.Done || event.Err != nil, s.known[event.Number]
	if known == nil || known.ended() && !ends && len(event.Output) == 0 {
		known = &shownStep{title: s.title(event), began: time.Now()}
		s.known[event.Number] = known
	}
	ends = ends && !known.ended()
	lines := known.text.Add(event.Output)
	if ends {
		lines = append(lines, known.text.End()...)
	}
	event.Output = nil
	known.Step = event
	if len(lines) > 0 {
		known.last = append(known.last, lines...)
		known.last = slices.Clone(known.last[max(0, len(known.last)-lastLines):])
		s.view.said(known, lines)
	}
	if ends {
		s.view.ended(known)
	} else if len(lines) == 0 {
		s.view.tick(s.running())
	}
}

// ended reports whether the step is over, in whatever way.
func (s *shownStep) ended() bool { return s.Done || s.Err != nil }

// title is the step's number and its instruction, of several lines the first.
func (s *steps) title(step dockerfile.Step) string {
	on := ""
	if strings.Trim(step.Stage, "0123456789") != "" { // it has a name
		on = step.Stage + ": "
	}
	if s.platforms {
		on = step.Platform + " " + on
	}
	first, _, more := strings.Cut(step.Instruction, "\n")
	if more {
		first += " …"
	}
	return fmt.Sprintf("%s %s%s", number(step), on, first)
}

// number is how lines of a step begin.
func number(step dockerfile.Step) string { return fmt.Sprintf("[%d/%d]", step.Number, step.Total) }

// in is a time for the end of a line, "" for none.
func in(took time.Duration) string {
	if took == 0 {
		return ""
	}
	return fmt.Sprintf("  %.1fs", took.Seconds())
}

// summary is a table of the steps for the step summary: how long each took, and what became of its layer.
func (s *steps) summary(result ship.Result) string {
	if s == nil || len(s.known) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n| Step | Time | Layer | Size | |\n| --- | ---: | --- | ---: | --- |\n")
	for _, d := range s.documents(result) {
		layer, step := " | | ", s.known[d.Number]
		if i := slices.IndexFunc(result.Layers, func(l image.LayerReceipt) bool { return l.Digest.String() == d.Layer }); i >= 0 {
			l := result.Layers[i]
			layer = fmt.Sprintf("`%s` | %s | %s", l.Digest.Hex[:12], size(l.Size), l.Status)
		}
		if step.Cached {
			layer += " (cached)"
		}
		fmt.Fprintf(&b, "| %s | %.1fs | %s |\n", cell(shortened(step.title)), float64(d.DurationMS)/1000, layer)
	}
	return b.String()
}

// stepDocument is a step in the JSON document of build.
type stepDocument struct {
	Number      int    `json:"number"`
	Stage       string `json:"stage"`
	Platform    string `json:"platform"`
	Line        int    `json:"line"`
	Instruction string `json:"instruction"`
	DurationMS  int64  `json:"duration_ms"`
	Status      string `json:"status"`
	WhyNot      string `json:"why_not_cached"`
	Layer       string `json:"layer"`
}

// documents are the steps that have ended, with the time that making their layers took.
func (s *steps) documents(result ship.Result) []stepDocument {
	all := []stepDocument{}
	if s == nil {
		return all
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, step := range s.ordered() {
		if !step.ended() {
			continue
		}
		d := stepDocument{Number: step.Number, Stage: step.Stage, Platform: step.Platform, Line: step.Line, Instruction: step.Instruction,
			Status: step.status(), WhyNot: step.Why}
		took := step.Took
		if step.Layer != nil && result.MediaType != "" {
			digest, err := step.Layer.Digest() // that of a layer which another stage has is not known
			if err == nil {
				d.Layer = digest.String()
				took += s.transfers.took[d.Layer]
			}
		}
		d.DurationMS = took.Milliseconds()
		all = append(all, d)
	}
	return all
}

// status is how a step ended, in a word.
func (s *shownStep) status() string {
	switch {
	case s.failed():
		return "failed"
	case s.Err != nil:
		return "cancelled"
	case s.Cached:
		return "cached"
	}
	return "done"
}

// widest is how much of an instruction the summary shows, in characters.
const widest = 120

func shortened(text string) string {
	if runes := []rune(text); len(runes) > widest {
		return string(runes[:widest]) + "…"
	}
	return text
}
