package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/ship"
)

// steps shows the instructions of a build: a terminal has those that are carried out now, with their time; elsewhere each is a
// line when it begins, and one more when it took long. It remembers them for the summary.
type steps struct {
	console   *cli.Console
	transfers *transfers
	platforms bool // there are several
	stop      chan struct{}

	mu      sync.Mutex
	running map[int]time.Time
	known   map[int]dockerfile.Step
}

func newSteps(c *cli.Console, t *transfers, platforms bool) *steps {
	s := &steps{console: c, transfers: t, platforms: platforms, stop: make(chan struct{}), running: map[int]time.Time{}, known: map[int]dockerfile.Step{}}
	if t.drawing.Live() {
		go s.tick()
	}
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
			s.draw()
		}
	}
}

func (s *steps) end() { close(s.stop) }

func (s *steps) draw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for number, began := range s.running {
		s.transfers.drawing.Show(s.place(number), s.title(s.known[number])+in(time.Since(began)))
	}
}

// place is the line of a step: above those of layers.
func (s *steps) place(number int) int { return number - s.known[number].Total - 1 }

func (s *steps) title(step dockerfile.Step) string {
	on := ""
	if s.platforms {
		on = step.Platform + " "
	}
	return fmt.Sprintf("[%d/%d] %s%s", step.Number, step.Total, on, step.Instruction)
}

// noticeable is how long a step takes that is worth a line of its own.
const noticeable = 100 * time.Millisecond

func (s *steps) step(step dockerfile.Step) {
	s.mu.Lock()
	s.known[step.Number] = step
	live := s.transfers.drawing.Live()
	if step.Done {
		delete(s.running, step.Number)
		s.transfers.drawing.Remove(s.place(step.Number))
	} else {
		s.running[step.Number] = time.Now()
	}
	s.mu.Unlock()
	switch {
	case live && step.Done:
		s.console.Progressf("%s%s", s.title(step), in(step.Took))
	case live:
		s.draw()
	case !step.Done:
		s.console.Progressf("%s", s.title(step))
	case step.Took >= noticeable:
		s.console.Progressf("[%d/%d] done%s", step.Number, step.Total, in(step.Took))
	}
}

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
	for number := 1; number <= len(s.known); number++ {
		step := s.known[number]
		took, layer := step.Took, " | | "
		if step.Layer != nil {
			digest, _ := step.Layer.Digest() // that of a layer which another stage has is not known
			took += s.transfers.took[digest.String()]
			if i := slices.IndexFunc(result.Layers, func(l image.LayerReceipt) bool { return l.Digest == digest }); i >= 0 {
				l := result.Layers[i]
				layer = fmt.Sprintf("`%s` | %s | %s", digest.Hex[:12], size(l.Size), l.Status)
			}
		}
		fmt.Fprintf(&b, "| %s | %.1fs | %s |\n", cell(shortened(s.title(step))), took.Seconds(), layer)
	}
	return b.String()
}

// widest is how much of an instruction the summary shows, in characters.
const widest = 120

func shortened(text string) string {
	if runes := []rune(text); len(runes) > widest {
		return string(runes[:widest]) + "…"
	}
	return text
}
