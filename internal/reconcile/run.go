package reconcile

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/status"
)

// idle is how long nothing needs to be looked at when nothing is due.
const idle = time.Hour

// Run brings all targets up to date and keeps them so until the context ends. Then no round begins, and those that are under
// way have the grace to end by themselves. The error says that some had to be given up: whole commits are published or none.
// A loop runs once.
func (l *Loop) Run(ctx context.Context) error {
	l.prepare()
	for ctx.Err() == nil {
		timer := time.NewTimer(l.dispatch(ctx))
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return l.drain()
}

// dispatch begins the rounds that are due, as many as may be under way, and says how long nothing else is.
func (l *Loop) dispatch(ctx context.Context) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, q := range l.ready(now) {
		l.begin(ctx, q, now)
	}
	wait := idle
	for _, q := range l.queues {
		due := q.due(l.Window)
		if !l.standby && due.After(now) {
			wait = min(wait, due.Sub(now))
		}
		l.show(q, now, due)
	}
	return wait
}

// ready are the targets whose rounds are to begin now, the longest due first.
func (l *Loop) ready(now time.Time) []*queue {
	var ready []*queue
	free := l.Parallel
	for _, q := range l.queues {
		switch {
		case q.stop != nil:
			free--
		case !l.standby && !q.due(l.Window).After(now):
			ready = append(ready, q)
		}
	}
	slices.SortStableFunc(ready, func(a, b *queue) int { return a.due(l.Window).Compare(b.due(l.Window)) })
	return ready[:min(len(ready), max(free, 0))]
}

// show tells the board what becomes of a target, if that is new.
func (l *Loop) show(q *queue, now, due time.Time) {
	showing := q.show(now, due)
	if l.standby {
		showing.state, showing.next = status.Idle, time.Time{}
	}
	if showing != q.shown {
		q.shown = showing
		l.Board.Mark(q.target.Name, showing.state, showing.next)
	}
}

// begin has a round of the target under way, which outlives the context.
func (l *Loop) begin(ctx context.Context, q *queue, now time.Time) {
	taken := q.take(now)
	ctx, q.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	l.rounds.Go(func() {
		r := l.round(ctx, q.target, taken)
		l.with(func(now time.Time) {
			if ctx.Err() == nil { // one that was to be given up is no failure: who leads next looks at everything
				q.settle(taken, r, now, l.Interval)
			}
			q.stop(nil)
			q.stop = nil
		})
	})
}

// round is a round of the target, with what came of it on the board and in the log.
func (l *Loop) round(ctx context.Context, t Target, taken waiting) status.Round {
	began := time.Now()
	r := l.look(ctx, t, taken)
	ended := time.Now()
	r.Whole = taken.all
	if r.Err != nil && ctx.Err() != nil {
		r.Err = &fault.Error{What: "gave up the round", Err: context.Cause(ctx)}
	}
	if pushed := taken.pushed(r); !pushed.IsZero() {
		for i := range r.Commits {
			r.Commits[i].Lag = r.Commits[i].At.Sub(pushed)
		}
	}
	l.Board.Record(t.Name, ended, r)
	l.log(ctx, t, taken, r, ended.Sub(began))
	if l.Observe != nil {
		l.Observe(t.Name, r, ended.Sub(began), taken.events())
	}
	return r
}

// look is the target's own round. One that panics has failed like any other: the branch that brings a mistake of ours to light
// must not keep all others from being updated, and nothing is shared between them.
func (l *Loop) look(ctx context.Context, t Target, taken waiting) (r status.Round) {
	defer func() {
		if broken := recover(); broken != nil {
			l.Log.ErrorContext(ctx, "a round panicked", "target", t.Name, "panic", fault.Said(fmt.Sprint(broken), 500), "stack", string(debug.Stack()))
			r = status.Round{Err: &fault.Error{What: "look at", Where: t.Name, Hint: "this is a mistake in imgbump: please report what its log says",
				Err: errors.New("the round panicked")}}
		}
	}()
	return t.Round(ctx, taken.refs())
}

// log writes how a round ended; the target itself tells what it did. That polling found nothing new is nothing new.
func (l *Loop) log(ctx context.Context, t Target, taken waiting, r status.Round, took time.Duration) {
	log := l.Log.With("target", t.Name, "images", taken.names(), "events", taken.events(), "commits", len(r.Commits), "failures", len(r.Failures), "took", took)
	if len(r.Commits) > 0 && r.Commits[0].Lag > 0 {
		log = log.With("lag", r.Commits[0].Lag)
	}
	switch {
	case r.Err != nil:
		log.ErrorContext(ctx, "round failed", "error", r.Err.Error(), "hint", fault.HintOf(r.Err))
	case taken.all && taken.events() == 0 && len(r.Commits) == 0:
		log.DebugContext(ctx, "round")
	default:
		log.InfoContext(ctx, "round")
	}
}

// errStopped is why a round is given up when the loop ends.
var errStopped = errors.New("the time to stop was up")

// drain waits for the rounds that are under way, and ends them when the grace is over.
func (l *Loop) drain() error {
	done := make(chan struct{})
	go func() { l.rounds.Wait(); close(done) }()
	timer := time.NewTimer(l.Grace)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
	}
	var names []string
	l.with(func(time.Time) {
		for _, q := range l.queues {
			if q.stop != nil {
				q.stop(errStopped)
				names = append(names, q.target.Name)
			}
		}
	})
	<-done
	return &fault.Error{What: "stop", Err: fmt.Errorf("rounds were given up after %s: %s", l.Grace, strings.Join(names, ", "))}
}

// Once is one round for all images of each target, in the order of the targets.
func (l *Loop) Once(ctx context.Context) []status.Round {
	l.prepare()
	rounds := make([]status.Round, len(l.Targets))
	slots := make(chan struct{}, l.Parallel)
	var all sync.WaitGroup
	for i, t := range l.Targets {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			rounds[i] = l.round(ctx, t, waiting{all: true})
		})
	}
	all.Wait()
	return rounds
}
