// Package reconcile keeps branches up to date: what registries tell and what polling finds becomes rounds, one at a time for
// each branch.
//
// Nothing is stored. A round for all images comes first, so that whatever was not done before a crash is done after it, and
// an event only says where to look: what is found decides.
package reconcile

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/status"
)

// What holds when the fields of Loop are zero.
const (
	interval = 5 * time.Minute
	grace    = 30 * time.Second
	parallel = 4
)

// late is how old an event may be that tells how long a commit took. An older one was delivered again.
const late = time.Hour

// Target is a branch that is kept up to date. Round makes it so: for the given images, which have no tag and no digest, or for
// all when there are none. A Round whose context ends finishes or abandons whole commits. Whether it was Whole is noted by the
// loop.
type Target struct {
	Name  string
	Round func(ctx context.Context, images []imageref.Ref) status.Round
}

// Event says that there may be a newer version of an image, since a time: the registry's own, zero when it does not say.
type Event struct {
	Image imageref.Ref
	At    time.Time
}

// Loop runs the rounds of all targets. Events are gathered for Window before a round begins, counted from the first of them,
// and a round for all images is due every Interval (5 minutes when 0), give or take a tenth. A round that failed is tried again
// after 10 s, 20 s, 40 s and so on, up to Interval; events wait with it. At most Parallel rounds (4 when 0) are under way, one a
// target. Grace is how long they may go on when the loop is to stop (30 s when 0).
//
// Observe, if any, is told of each round when it has ended, how long it took, and of how many events it took care; it is called
// from several goroutines. A Loop must not be copied, and its fields are not to be changed once it is in use.
type Loop struct {
	Targets          []Target
	Board            *status.Board
	Window, Interval time.Duration
	Grace            time.Duration
	Parallel         int
	Observe          func(target string, r status.Round, took time.Duration, events int)
	Log              *slog.Logger

	prepared sync.Once
	rounds   sync.WaitGroup
	wake     chan struct{} // holds one when there may be something to do

	mu      sync.Mutex // guards what follows, and the queues
	queues  []*queue
	standby bool
}

// prepare makes the queues, so that events are taken before the loop runs.
func (l *Loop) prepare() {
	l.prepared.Do(func() {
		l.Interval, l.Grace, l.Parallel = cmp.Or(l.Interval, interval), cmp.Or(l.Grace, grace), cmp.Or(l.Parallel, parallel)
		l.wake = make(chan struct{}, 1)
		for _, t := range l.Targets {
			l.queues = append(l.queues, newQueue(t))
		}
	})
}

// with lets do have the queues, and wakes the loop.
func (l *Loop) with(do func(now time.Time)) {
	l.prepare()
	l.mu.Lock()
	do(time.Now())
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Push has all targets that name the event's image look at it, and reports whether there is one. As long as it is not known
// what a target names, it may be any image.
func (l *Loop) Push(e Event) (known bool) {
	name := e.Image.Canonical()
	l.with(func(now time.Time) {
		if e.At.IsZero() || e.At.After(now) || now.Sub(e.At) > late {
			e.At = now
		}
		for _, q := range l.queues {
			known = q.push(name, e, now) || known
		}
	})
	return known
}

// Ask has the target look at images, or at all when there are none, without waiting for anything but a round that is under
// way. The error is of kind Missing when there is no such target.
func (l *Loop) Ask(target string, images ...imageref.Ref) error {
	var err error = &fault.Error{Kind: fault.Missing, What: "no target is called", Where: target}
	l.with(func(now time.Time) {
		for _, q := range l.queues {
			if q.target.Name == target {
				q.ask(images, now)
				err = nil
			}
		}
	})
	return err
}

// errLost is why a round is given up when another replica may lead.
var errLost = errors.New("this replica no longer leads")

// Lead says whether this replica leads, which it does unless told otherwise. One that does not begins no rounds and gives up
// those that are under way; that another one may still be writing does no harm, as a commit is published by
// compare-and-swap. One that gains the lead begins with a round for all images. So does whoever leads in its stead: therefore
// being told again that another one leads makes it forget the events that it kept.
func (l *Loop) Lead(leads bool) {
	l.with(func(time.Time) {
		for _, q := range l.queues {
			q.lead(leads, l.standby)
		}
		l.standby = !leads
	})
}
