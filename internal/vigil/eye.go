package vigil

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/ksera524/imgbump/internal/rollout"
)

// eye looks at one application: it asks, again and again, and listens to a stream of its changes.
type eye struct {
	server    Server
	name      string
	sightings chan<- sighting
	verdicts  chan rollout.Verdict // the last one, which says when to ask again
	found     chan struct{}        // closed when it was seen: Argo CD is silent about what is not there
	streaming *atomic.Bool
	announced bool // Argo CD was told already that there is something new
}

func newEye(server Server, name string, sightings chan<- sighting) eye {
	return eye{server, name, sightings, make(chan rollout.Verdict, 1), make(chan struct{}), &atomic.Bool{}, false}
}

// ask says how the application stands, on which it depends when it is asked about next. Only one goroutine calls it.
func (e *eye) ask(v rollout.Verdict) {
	select {
	case <-e.verdicts:
	default:
	}
	e.verdicts <- v
}

// tell hands on what was seen just now. What fails since the time is up is none of it.
func (e *eye) tell(ctx context.Context, s sighting) {
	if s.seen != nil {
		s.seen = e.closer(ctx, s.seen)
	}
	if ctx.Err() != nil {
		return
	}
	s.name, s.at = e.name, time.Now()
	select {
	case <-ctx.Done():
	case e.sightings <- s:
	}
}

// closer is an application with the Rollouts that it may wait for, up to one that decides.
func (e *eye) closer(ctx context.Context, a *rollout.Application) *rollout.Application {
	ctx, cancel := context.WithTimeout(ctx, closely)
	defer cancel()
	seen := *a
	for _, r := range a.Pausing() {
		object, err := e.server.Rollout(ctx, e.name, a, r)
		until, resumes := rollout.Resumes(object)
		seen.Rollouts = append(seen.Rollouts, rollout.Rollout{Resource: r, Until: until, Resumes: resumes, Err: err})
		if !resumes {
			break
		}
	}
	return &seen
}

// look asks about the application until the context ends.
func (e *eye) look(ctx context.Context) {
	var refreshed time.Time
	if e.announced {
		refreshed = time.Now()
	}
	behind, failures, seen, held := true, 0, false, time.Duration(0)
	for ctx.Err() == nil {
		refresh := behind && (refreshed.IsZero() || time.Since(refreshed) >= refreshing)
		a, err := e.server.Application(ctx, e.name, refresh)
		if err == nil {
			failures, held = 0, 0
			if refresh {
				refreshed = time.Now()
			}
			if !seen {
				seen = true
				close(e.found)
			}
		} else {
			failures++
			held = backoff(failures, err)
		}
		e.tell(ctx, sighting{seen: a, err: err})
		behind = e.rest(ctx, behind, held)
	}
}

// rest waits until it is time to ask again, at least as long as it is held back, and reports whether Argo CD is behind.
func (e *eye) rest(ctx context.Context, behind bool, held time.Duration) bool {
	since := time.Now()
	timer := time.NewTimer(max(longest, held))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return behind
		case <-timer.C:
			return behind
		case v := <-e.verdicts:
			behind = v.Behind
			timer.Reset(max(0, e.pause(v, held)-time.Since(since)))
		}
	}
}

// pause is how long to wait before the next question.
func (e *eye) pause(v rollout.Verdict, held time.Duration) time.Duration {
	switch {
	case held > 0:
		return held
	case v.Settling:
		return settling
	case e.streaming.Load():
		return listening
	}
	return polling
}

// listen follows the stream of changes, and begins again when it ends. Without one, asking has to do.
func (e *eye) listen(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-e.found:
	}
	for failures := 1; ctx.Err() == nil; failures++ {
		err := e.server.Watch(ctx, e.name, func(a *rollout.Application) {
			e.streaming.Store(true)
			failures = 0
			e.tell(ctx, sighting{seen: a})
		})
		e.streaming.Store(false)
		if errors.Is(err, rollout.ErrMissing) {
			e.tell(ctx, sighting{err: err})
			return
		}
		timer := time.NewTimer(backoff(max(1, failures), err))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// backoff is how long to wait after so many failures, and what the last one asks for.
func backoff(failures int, err error) time.Duration {
	wait := min(longest, time.Second<<min(failures-1, 4))
	var later *rollout.Later
	if errors.As(err, &later) {
		wait = max(wait, min(later.After, patient))
	}
	return wait
}
