package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/reconcile"
	"github.com/ksera524/imgbump/internal/status"
)

// A world is a loop in changing weather, and what was seen of it. Moments count what happens, as much of it happens at the
// same time.
type world struct {
	t       *testing.T
	loop    *reconcile.Loop
	targets []*kept
	calm    bool // no failures, all lead, everybody has a slot

	mu      sync.Mutex
	dice    *rand.Rand
	moment  int
	stormy  bool // rounds may fail
	leads   bool
	running int
	events  []seen
}

// kept is a target, with the rounds of it that ended and the one that is under way.
type kept struct {
	name   string
	names  []string
	rounds []look
	now    *look
}

// look is a round.
type look struct {
	began, ended int
	from, to     time.Duration
	images       []string // nil: all
	failed       bool
}

func (l look) at(image string) bool { return l.images == nil || slices.Contains(l.images, image) }

// seen is an event that the loop took.
type seen struct {
	moment int
	at     time.Duration
	image  string
}

// tick is the next moment. The caller holds mu.
func (w *world) tick() int {
	w.moment++
	return w.moment
}

// round of a target takes a random time, and fails at random, or when its context ends.
func (w *world) round(ctx context.Context, k *kept, images []imageref.Ref) status.Round {
	w.mu.Lock()
	if k.now != nil {
		w.t.Errorf("two rounds of %s at a time", k.name)
	}
	if w.running++; w.running > w.loop.Parallel {
		w.t.Errorf("%d rounds at a time, want no more than %d", w.running, w.loop.Parallel)
	}
	if !w.leads && ctx.Err() == nil {
		w.t.Errorf("a round of %s began on a standby", k.name)
	}
	k.now = &look{began: w.tick(), from: clock()}
	for _, image := range images {
		k.now.images = append(k.now.images, image.Canonical())
	}
	takes := time.Duration(w.dice.Int64N(int64(10 * time.Second)))
	fails, panics, deaf := w.stormy && w.dice.IntN(3) == 0, w.stormy && w.dice.IntN(20) == 0, w.dice.IntN(3) == 0
	w.mu.Unlock()

	ended := ctx.Done()
	if deaf {
		ended = nil
	}
	select {
	case <-time.After(takes):
	case <-ended:
		fails = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	k.now.ended, k.now.to, k.now.failed = w.tick(), clock(), fails || panics
	k.rounds = append(k.rounds, *k.now)
	k.now = nil
	w.running--
	switch {
	case panics:
		panic("a mistake")
	case fails:
		return status.Round{Err: errors.New("refused")}
	}
	var r status.Round
	for _, name := range k.names {
		if len(images) == 0 || k.rounds[len(k.rounds)-1].at(name) {
			r.Images = append(r.Images, status.Image{Name: name})
		}
	}
	return r
}

// newWorld is one that a seed decides.
func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, dice: rand.New(rand.NewPCG(seed, seed)), leads: true}
	w.calm = w.dice.IntN(3) == 0
	w.stormy = !w.calm
	w.loop = &reconcile.Loop{
		Window: time.Duration(w.dice.Int64N(int64(10 * time.Second))), Interval: time.Duration(1+w.dice.IntN(300)) * time.Second,
		Parallel: 1 + w.dice.IntN(4), Log: slog.New(slog.DiscardHandler),
	}
	var targets []status.Target
	for i := range 1 + w.dice.IntN(4) {
		k := &kept{name: fmt.Sprint(i)}
		for n := range 12 {
			if w.dice.IntN(3) == 0 {
				k.names = append(k.names, imageOf(n))
			}
		}
		w.targets = append(w.targets, k)
		w.loop.Targets = append(w.loop.Targets, reconcile.Target{Name: k.name, Round: func(ctx context.Context, images []imageref.Ref) status.Round {
			return w.round(ctx, k, images)
		}})
		targets = append(targets, status.Target{Name: k.name})
	}
	if w.calm {
		w.loop.Parallel = len(w.targets)
	}
	w.loop.Board = status.NewBoard(time.Now(), targets...)
	return w
}

func imageOf(n int) string { return fmt.Sprintf("a.example/%d", n) }

// live has random things happen, then lets the loop come to rest.
func (w *world) live() {
	for range 300 {
		w.mu.Lock()
		what, image, target, pause := w.dice.IntN(40), imageOf(w.dice.IntN(14)), w.dice.IntN(len(w.targets)), time.Duration(0)
		if w.dice.IntN(3) > 0 {
			pause = time.Duration(w.dice.Int64N(int64(5 * time.Second)))
		}
		w.mu.Unlock()
		switch {
		case what == 0 && !w.calm:
			w.lead(!w.leads)
		case what < 3:
			w.ask(target, image)
		default:
			w.push(image)
		}
		if n := w.loop.Waiting(); n > 14 {
			w.t.Errorf("%d of 14 images wait", n)
		}
		time.Sleep(pause)
	}
	w.mu.Lock()
	w.stormy = false
	w.mu.Unlock()
	w.lead(true)
	time.Sleep(time.Hour)
}

// lead gains or loses the lead. Rounds may begin while it does.
func (w *world) lead(leads bool) {
	w.mu.Lock()
	w.leads = true
	w.mu.Unlock()
	w.loop.Lead(leads)
	w.mu.Lock()
	w.leads = leads
	w.mu.Unlock()
}

func (w *world) push(image string) {
	w.mu.Lock()
	e := seen{w.tick(), clock(), image}
	w.mu.Unlock()
	named := slices.ContainsFunc(w.targets, func(k *kept) bool { return slices.Contains(k.names, image) })
	switch known := w.loop.Push(event(image)); {
	case named && !known:
		w.t.Errorf("%s is named, but not known", image)
	case named:
		w.events = append(w.events, e)
	}
}

func (w *world) ask(target int, image string) {
	if err := w.loop.Ask(fmt.Sprint(target), ref(image)); err != nil {
		w.t.Error(err)
	}
}

// check holds what happened against what may happen.
func (w *world) check() {
	for _, k := range w.targets {
		for _, e := range w.events {
			if !slices.Contains(k.names, e.image) {
				continue
			}
			i := slices.IndexFunc(k.rounds, func(l look) bool { return l.began > e.moment && l.at(e.image) && !l.failed })
			if i < 0 {
				w.t.Errorf("%s was pushed at %s, and %s did not look at it any more", e.image, e.at, k.name)
				continue
			}
			if w.calm {
				w.inTime(k, e, k.rounds[i])
			}
		}
	}
}

// inTime holds the time that an event waited against the window and the round that was under way.
func (w *world) inTime(k *kept, e seen, then look) {
	due := e.at + w.loop.Window
	for _, l := range k.rounds {
		if l.from <= due && l.to > due {
			due = l.to
		}
	}
	if then.from > due {
		w.t.Errorf("%s was pushed at %s, and %s looked at it at %s, want no later than %s", e.image, e.at, k.name, then.from, due)
	}
}

// Whatever happens: each event is followed by a round that looks at its image, which began after it and did not fail; in calm
// weather no later than the window and the rounds under way make it; no target has two rounds at a time; no more rounds than
// allowed are under way; and no more waits than there are images.
func FuzzLoop(f *testing.F) {
	for seed := range uint64(150) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed)
			stop := run(t, w.loop)
			w.live()
			if err := stop(); err != nil {
				t.Error(err)
			}
			w.check()
		})
	})
}
