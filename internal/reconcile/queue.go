package reconcile

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/status"
)

const (
	backoff = 10 * time.Second // before the first repetition
	most    = 1024             // images that wait for a round; beyond it, all images do
)

// queue is what a target has to do, and when. It is no more than the images that are to be looked at, however many events name
// them. Loop.mu guards it.
type queue struct {
	target   Target
	known    map[string]bool         // the images that the target names, nil before a whole round told
	waiting                          // what the next round will take
	poll     time.Time               // when all images are due
	urgent   bool                    // somebody asked: the next round waits neither for more events nor for after
	after    time.Time               // no round begins before it, since the last one failed
	failures int                     // in a row
	stop     context.CancelCauseFunc // ends the round that is under way, nil when none is
	shown    showing
}

// waiting is what leads to a round.
type waiting struct {
	all    bool
	images map[string]wanted // by canonical name
	since  time.Time         // when the first of the images came
}

// wanted is an image to look at. At is when the oldest version was pushed of which nothing came yet, zero when nobody said that
// there is one. Events are those that no round has taken yet; tries are rounds in a row to which its registry told nothing. One
// that was asked for need not be known.
type wanted struct {
	image  imageref.Ref
	at     time.Time
	events int
	tries  int
	asked  bool
}

// showing is what the board says about a target.
type showing struct {
	state status.State
	next  time.Time
}

func newQueue(t Target) *queue {
	return &queue{target: t, waiting: waiting{all: true}, shown: showing{state: status.Idle}}
}

// push takes an event of an image that the target names, and reports whether it does.
func (q *queue) push(name string, e Event, now time.Time) bool {
	if q.known != nil && !q.known[name] {
		return false
	}
	q.add(name, wanted{image: e.Image.Bare(), at: e.At, events: 1}, now)
	return true
}

// ask takes what a person wants to be looked at.
func (q *queue) ask(images []imageref.Ref, now time.Time) {
	q.urgent = true
	q.all = q.all || len(images) == 0
	for _, image := range images {
		q.add(image.Canonical(), wanted{image: image.Bare(), asked: true}, now)
	}
}

// add has the image wait since a time.
func (w *waiting) add(name string, image wanted, since time.Time) {
	old, found := w.images[name]
	switch {
	case found:
		image.asked = image.asked || old.asked
		image.at, image.events, image.tries = older(image.at, old.at), image.events+old.events, max(image.tries, old.tries)
	case len(w.images) == most:
		w.all = true
		return
	}
	if len(w.images) == 0 {
		w.images, w.since = map[string]wanted{}, since
	}
	w.since = older(w.since, since)
	w.images[name] = image
}

// older is the earlier one of two times, a zero one being none.
func older(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// due is when the next round is to begin. Events are gathered for the window since the first one of them, so that a trickle
// of them delays nothing for ever.
func (q *queue) due(window time.Duration) time.Time {
	due := q.poll
	switch {
	case q.urgent:
		return time.Time{}
	case q.all:
		due = time.Time{}
	case len(q.images) > 0:
		due = older(due, q.since.Add(window))
	}
	if due.Before(q.after) {
		return q.after
	}
	return due
}

// show is what the board should say.
func (q *queue) show(now, due time.Time) showing {
	switch {
	case q.stop != nil:
		return showing{state: status.Running}
	case len(q.images) > 0 || !due.After(now):
		return showing{status.Queued, due}
	}
	return showing{status.Idle, due}
}

// take is what the round is for that begins now. What comes from now on is for the next one.
func (q *queue) take(now time.Time) waiting {
	taken := q.waiting
	taken.all = taken.all || !q.poll.After(now)
	q.waiting, q.urgent = waiting{}, false
	return taken
}

// settle notes what became of what was taken. After a failure, it waits again, together with what came since.
func (q *queue) settle(taken waiting, r status.Round, now time.Time, interval time.Duration) {
	if r.Err != nil {
		q.after = now.Add(min(interval, backoff<<min(q.failures, 16)))
		q.failures++
		q.all = q.all || taken.all
		for name, image := range taken.images {
			image.events = 0
			q.add(name, image, taken.since)
		}
		return
	}
	q.failures, q.after = 0, time.Time{}
	if r.Whole {
		q.poll = now.Add(jitter(interval))
	}
	q.learn(r)
	q.retry(taken, r, now, interval)
}

// retry has the images wait again of which somebody told, and the registry did not. Others wait for the next whole round, as these
// do when that is sooner.
func (q *queue) retry(taken waiting, r status.Round, now time.Time, interval time.Duration) {
	for _, image := range r.Images {
		name := canonical(image.Name)
		again, wanted := taken.images[name]
		pause := backoff << min(again.tries, 16)
		if wanted && image.Err != "" && pause < interval {
			again.events, again.tries = 0, again.tries+1
			q.add(name, again, now.Add(pause))
		}
	}
}

// jitter is an interval, give or take a tenth, so that replicas and targets do not stay in step.
func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

// learn notes which images the target names. An event that came in before that was known leads to nothing when it is of
// another image.
func (q *queue) learn(r status.Round) {
	if r.Whole { // as is the first one that did not fail: until then, all images are due
		q.known = make(map[string]bool, len(r.Images))
	}
	for _, image := range r.Images {
		q.known[canonical(image.Name)] = true
	}
	maps.DeleteFunc(q.images, func(name string, w wanted) bool { return !w.asked && !q.known[name] })
}

func canonical(name string) string {
	ref, err := imageref.Parse(name)
	if err != nil {
		return name
	}
	return ref.Canonical()
}

// lead takes note of who leads. Whoever gains the lead looks at everything first.
func (q *queue) lead(leads, standby bool) {
	switch {
	case leads && standby:
		q.all, q.after, q.failures = true, time.Time{}, 0
	case !leads:
		q.waiting = waiting{}
		if q.stop != nil {
			q.stop(errLost)
		}
	}
}

// refs are the images to look at, none when all of them are.
func (w waiting) refs() []imageref.Ref {
	if w.all {
		return nil
	}
	var refs []imageref.Ref
	for _, name := range slices.Sorted(maps.Keys(w.images)) {
		refs = append(refs, w.images[name].image)
	}
	return refs
}

// pushed is when the oldest version was pushed that led to the round, zero when none did. Images that the round did not come
// across when it looked at all of them led to nothing.
func (w waiting) pushed(r status.Round) (at time.Time) {
	found := map[string]bool{}
	for _, image := range r.Images {
		found[canonical(image.Name)] = true
	}
	for name, image := range w.images {
		if !w.all || found[name] {
			at = older(at, image.at)
		}
	}
	return at
}

// events are how many led to the round.
func (w waiting) events() (n int) {
	for _, image := range w.images {
		n += image.events
	}
	return n
}

// names are the images in words, for the log.
func (w waiting) names() string {
	if w.all {
		return "all"
	}
	const shown = 10
	var names []string
	for _, ref := range w.refs() {
		if len(names) == shown {
			return strings.Join(names, " ") + " ..."
		}
		names = append(names, ref.Name())
	}
	return strings.Join(names, " ")
}
