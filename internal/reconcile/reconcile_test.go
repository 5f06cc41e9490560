package reconcile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/reconcile"
	"github.com/ksera524/imgbump/internal/status"
)

const (
	window   = 2 * time.Second
	interval = 5 * time.Minute
	minute   = time.Minute
)

// branch is a target whose rounds take a while and are written down.
type branch struct {
	name  string
	names []string                    // the images that it names
	takes time.Duration               // a round, unless its context ends
	fails func(round int) error       // nil: never
	do    func(images []imageref.Ref) // in a round, nil: nothing
	ails  func(image string) string   // why the registry tells nothing of an image, nil: it tells of all
	quiet bool                        // a round commits nothing
	deaf  bool                        // a round goes on when its context ends

	mu     sync.Mutex
	begun  []string // each round: the second of its begin, and its images
	causes []error  // why contexts ended
}

func (b *branch) target() reconcile.Target { return reconcile.Target{Name: b.name, Round: b.round} }

func (b *branch) round(ctx context.Context, images []imageref.Ref) status.Round {
	b.mu.Lock()
	n := len(b.begun)
	b.begun = append(b.begun, fmt.Sprintf("%g: %s", clock().Seconds(), named(images)))
	b.mu.Unlock()
	if b.do != nil {
		b.do(images)
	}
	ended := ctx.Done()
	if b.deaf {
		ended = nil
	}
	select {
	case <-ended:
		b.mu.Lock()
		b.causes = append(b.causes, context.Cause(ctx))
		b.mu.Unlock()
		return status.Round{Err: fmt.Errorf("push: %w", ctx.Err())}
	case <-time.After(b.takes):
	}
	if b.fails != nil {
		if err := b.fails(n); err != nil {
			return status.Round{Err: err}
		}
	}
	var r status.Round
	if !b.quiet {
		r.Commits = []status.Commit{{SHA: fmt.Sprint(n), At: time.Now()}}
	}
	for _, name := range b.names {
		if len(images) == 0 || strings.Contains(" "+named(images)+" ", " "+name+" ") {
			image := status.Image{Name: name}
			if b.ails != nil {
				image.Err = b.ails(name)
			}
			r.Images = append(r.Images, image)
		}
	}
	return r
}

func named(images []imageref.Ref) string {
	if len(images) == 0 {
		return "all"
	}
	var names []string
	for _, image := range images {
		names = append(names, image.String())
	}
	return strings.Join(names, " ")
}

// rounds are those that began since it was asked last.
func (b *branch) rounds() []string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	begun := b.begun
	b.begun = nil
	return begun
}

// clock is the time since the bubble's clock started.
func clock() time.Duration { return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) }

// journal is a log to be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// loopOf is a loop over branches, and its log.
func loopOf(branches ...*branch) (*reconcile.Loop, *journal) {
	var log journal
	l := &reconcile.Loop{Window: window, Interval: interval, Log: slog.New(slog.NewTextHandler(&log, nil))}
	var targets []status.Target
	for _, b := range branches {
		l.Targets = append(l.Targets, b.target())
		targets = append(targets, status.Target{Name: b.name})
	}
	l.Board = status.NewBoard(time.Now(), targets...)
	return l, &log
}

// run has the loop run until the test is over, or stop is called, which says how it ended.
func run(t *testing.T, l *reconcile.Loop) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

func event(image string) reconcile.Event { return reconcile.Event{Image: ref(image)} }

func ref(image string) imageref.Ref {
	r, err := imageref.Parse(image)
	if err != nil {
		panic(err)
	}
	return r
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func at(l *reconcile.Loop, target int) status.Target {
	synctest.Wait()
	s, _ := l.Board.Snapshot()
	return s.Targets[target]
}

func TestBurstIsOneRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod"}
		for i := range 200 {
			b.names = append(b.names, fmt.Sprintf("a.example/app%03d", i))
		}
		l, log := loopOf(b)
		var events []int
		l.Observe = func(_ string, r status.Round, took time.Duration, n int) { events = append(events, n) }
		stop := run(t, l)
		same(t, "the first round", b.rounds(), []string{"0: all"})
		for i := range 1000 {
			time.Sleep(time.Millisecond)
			if !l.Push(event(b.names[i*7%200] + ":v" + fmt.Sprint(i))) {
				t.Fatal("an image of the branch is not known")
			}
		}
		time.Sleep(minute)
		same(t, "rounds of the burst", b.rounds(), []string{"2.001: " + strings.Join(b.names, " ")})
		same(t, "events", events, []int{0, 1000})
		if err := stop(); err != nil {
			t.Error(err)
		}
		if got := log.String(); !strings.Contains(got, `a.example/app009 ..." events=1000`) {
			t.Errorf("the log says\n%s", got)
		}
	})
}

// Events that never cease do not put a round off: each begins when the window since the first event is over.
func TestTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x"}}
		l, _ := loopOf(b)
		stop := run(t, l)
		b.rounds()
		for range 14 {
			l.Push(event("a.example/x"))
			time.Sleep(700 * time.Millisecond)
		}
		same(t, "rounds", b.rounds(), []string{"2: a.example/x", "4.1: a.example/x", "6.2: a.example/x", "8.3: a.example/x"})
		stop()
	})
}

// What is pushed while a round of the image is under way leads to another one; the window counts from the event.
func TestPushDuringRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x", "a.example/y"}, takes: 10 * time.Second}
		l, _ := loopOf(b)
		stop := run(t, l)
		time.Sleep(5 * time.Second)
		l.Push(event("a.example/y:1"))
		time.Sleep(14 * time.Second)
		l.Push(event("a.example/x:1"))
		l.Push(event("a.example/x:2"))
		time.Sleep(minute)
		same(t, "rounds", b.rounds(), []string{"0: all", "10: a.example/y", "21: a.example/x"})
		stop()
	})
}

func TestPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun []time.Duration
		b := &branch{name: "prod", quiet: true, do: func([]imageref.Ref) { begun = append(begun, clock()) }}
		l, log := loopOf(b)
		stop := run(t, l)
		time.Sleep(200 * interval)
		stop()
		if len(begun) < 190 || len(begun) > 210 {
			t.Errorf("%d rounds in 200 intervals", len(begun))
		}
		shortest, longest := time.Hour, time.Duration(0)
		for i := 1; i < len(begun); i++ {
			shortest, longest = min(shortest, begun[i]-begun[i-1]), max(longest, begun[i]-begun[i-1])
		}
		if shortest < interval*9/10 || longest > interval*11/10 || longest-shortest < interval/10 {
			t.Errorf("between rounds were %s to %s, want a tenth less or more than %s", shortest, longest, interval)
		}
		same(t, "log of what is nothing new", log.String(), "")
	})
}

// Events put polling off as little as polling puts them off.
func TestPollingAmongEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x"}}
		l, _ := loopOf(b)
		stop := run(t, l)
		for range 20 {
			time.Sleep(minute)
			l.Push(event("a.example/x"))
		}
		time.Sleep(minute)
		rounds := b.rounds()
		if whole := strings.Count(strings.Join(rounds, "\n"), "all"); whole < 4 || len(rounds) < 20 {
			t.Errorf("%d of %d rounds were for all images", whole, len(rounds))
		}
		stop()
	})
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x"}}
		l, _ := loopOf(b)
		l.Window = interval
		stop := run(t, l)
		time.Sleep(100 * time.Second)
		l.Push(event("a.example/x"))
		time.Sleep(interval*11/10 - 100*time.Second)
		if rounds := b.rounds(); len(rounds) != 2 || !strings.HasSuffix(rounds[1], ": all") {
			t.Errorf("rounds %q, want one for all before the window is over", rounds)
		}
		stop()
	})
}

// A round that failed is tried again later and later. Its images wait with it, and so does what comes in between.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		var healthy atomic.Bool
		b := &branch{name: "prod", names: []string{"a.example/x", "a.example/y"}}
		b.fails = func(int) error {
			if healthy.Load() {
				return nil
			}
			return refused
		}
		l, log := loopOf(b)
		l.Interval = minute
		stop := run(t, l)
		time.Sleep(200 * time.Second)
		same(t, "whole rounds", b.rounds(), []string{"0: all", "10: all", "30: all", "70: all", "130: all", "190: all"})
		if s := at(l, 0); s.Err != "refused" || s.State != status.Idle || time.Until(s.Next) != 50*time.Second {
			t.Errorf("the board says %+v", s)
		}
		if got := log.String(); strings.Count(got, `level=ERROR msg="round failed" target=prod images=all events=0 commits=0`) != 6 || !strings.Contains(got, "error=refused") {
			t.Errorf("the log says\n%s", got)
		}

		healthy.Store(true)
		if err := l.Ask("prod"); err != nil {
			t.Error(err)
		}
		same(t, "who asks does not wait", b.rounds(), []string{"200: all"})

		healthy.Store(false)
		l.Push(event("a.example/x"))
		time.Sleep(5 * time.Second)
		l.Push(event("a.example/y"))
		time.Sleep(10 * time.Second)
		same(t, "rounds of images", b.rounds(), []string{"202: a.example/x", "212: a.example/x a.example/y"})
		healthy.Store(true)
		time.Sleep(20 * time.Second)
		same(t, "the last one", b.rounds(), []string{"232: a.example/x a.example/y"})
		l.Push(event("a.example/y"))
		time.Sleep(10 * time.Second)
		same(t, "afterwards", b.rounds(), []string{"237: a.example/y"})

		healthy.Store(false)
		l.Ask("prod")
		time.Sleep(15 * time.Second)
		same(t, "all that was asked for is tried again", b.rounds(), []string{"245: all", "255: all"})
		l.Lead(false)
		l.Lead(true)
		same(t, "who gains the lead does not wait", b.rounds(), []string{"260: all"})
		stop()
	})
}

// A push of which the registry does not tell yet is looked at again, later and later, as long as no whole round comes first. It
// keeps nothing else waiting.
func TestRegistrySilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var silent atomic.Bool
		b := &branch{name: "prod", names: []string{"a.example/x", "a.example/y"}, quiet: true}
		b.ails = func(image string) string {
			if silent.Load() && image == "a.example/x" {
				return "no answer"
			}
			return ""
		}
		l, _ := loopOf(b)
		l.Interval = time.Hour
		stop := run(t, l)
		same(t, "the first round", b.rounds(), []string{"0: all"})
		silent.Store(true)
		l.Push(event("a.example/x"))
		time.Sleep(40 * time.Second)
		same(t, "rounds", b.rounds(), []string{"2: a.example/x", "14: a.example/x", "36: a.example/x"})
		l.Push(event("a.example/y"))
		time.Sleep(5 * time.Second)
		same(t, "another image", b.rounds(), []string{"42: a.example/x a.example/y"})
		silent.Store(false)
		time.Sleep(10 * minute)
		same(t, "the registry tells", b.rounds(), []string{"124: a.example/x"})

		silent.Store(true)
		l.Push(event("a.example/x"))
		time.Sleep(2 * time.Hour)
		rounds := b.rounds()
		if n := len(rounds); n < 9 || n > 13 {
			t.Errorf("an image of which nothing is ever told is looked at %d times in two hours: %v", n, rounds)
		}
		stop()
	})
}

// What failed does not wait for the window again.
func TestBackoffWithinWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x", "a.example/y"}, takes: 10 * time.Second}
		b.fails = func(round int) error {
			if round == 1 {
				return errors.New("refused")
			}
			return nil
		}
		l, _ := loopOf(b)
		l.Window = minute
		stop := run(t, l)
		time.Sleep(20 * time.Second)
		l.Push(event("a.example/x"))
		time.Sleep(65 * time.Second)
		l.Push(event("a.example/y"))
		time.Sleep(minute)
		same(t, "rounds", b.rounds(), []string{"0: all", "80: a.example/x", "100: a.example/x a.example/y"})
		stop()
	})
}

func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"nginx", "a.example/x", "???"}, takes: 10 * time.Second}
		c := &branch{name: "test", names: []string{"a.example/x"}, takes: 10 * time.Second}
		l, _ := loopOf(b, c)
		for _, early := range []string{"a.example/unknown", "nginx:early"} {
			if !l.Push(event(early)) {
				t.Errorf("%s is not known before anything is", early)
			}
		}
		stop := run(t, l)
		time.Sleep(time.Second)
		l.Push(event("a.example/unknown"))
		l.Push(event("docker.io/library/nginx:1.29"))
		time.Sleep(minute)
		same(t, "rounds of prod", b.rounds(), []string{"0: all", "10: docker.io/library/nginx"})
		same(t, "rounds of test", c.rounds(), []string{"0: all"})

		if l.Push(event("a.example/unknown:2")) {
			t.Error("an unknown image is known")
		}
		if !l.Push(event("nginx")) {
			t.Error("an image of one target is not known")
		}
		time.Sleep(minute)
		same(t, "rounds of prod", b.rounds(), []string{"63: nginx"})
		same(t, "rounds of test", c.rounds(), nil)

		if err := l.Ask("test", ref("a.example/unknown:3")); err != nil {
			t.Error(err)
		}
		same(t, "asked for", c.rounds(), []string{"121: a.example/unknown"})
		if err := l.Ask("other"); fault.KindOf(err) != fault.Missing || err.Error() != "no target is called other" {
			t.Errorf("an unknown target: %v", err)
		}
		stop()
	})
}

// What is asked for is looked at, known or not, also when it was pushed as well.
func TestAskForUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x"}, takes: 10 * time.Second}
		b.fails = func(round int) error {
			if round == 0 {
				return errors.New("refused")
			}
			return nil
		}
		l, _ := loopOf(b)
		stop := run(t, l)
		time.Sleep(11 * time.Second)
		l.Ask("prod", ref("a.example/x"))
		time.Sleep(9 * time.Second)
		if !l.Push(event("a.example/other")) {
			t.Error("an image is unknown before a round for all has ended well")
		}
		l.Ask("prod", ref("a.example/other"))
		l.Push(event("a.example/other"))
		time.Sleep(minute)
		same(t, "rounds", b.rounds(), []string{"0: all", "11: all", "21: a.example/other"})
		stop()
	})
}

// The images that a target names are those of the last whole round and those found since.
func TestKnownChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x", "a.example/y"}}
		l, _ := loopOf(b)
		stop := run(t, l)
		b.rounds()
		b.names = []string{"a.example/y", "a.example/z", "a.example/w"}
		l.Ask("prod", ref("a.example/z"))
		synctest.Wait()
		for image, known := range map[string]bool{"a.example/x": true, "a.example/y": true, "a.example/z": true, "a.example/w": false} {
			if l.Push(event(image)) != known {
				t.Errorf("%s is known: %v", image, !known)
			}
		}
		l.Ask("prod")
		same(t, "rounds", b.rounds(), []string{"0: a.example/z", "0: all"})
		for image, known := range map[string]bool{"a.example/x": false, "a.example/y": true, "a.example/z": true, "a.example/w": true} {
			if l.Push(event(image)) != known {
				t.Errorf("%s is known after the whole round: %v", image, !known)
			}
		}
		stop()
	})
}

func TestAskWaitsForTheRoundOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x", "a.example/y"}, takes: 10 * time.Second}
		l, _ := loopOf(b)
		stop := run(t, l)
		time.Sleep(9500 * time.Millisecond)
		l.Push(event("a.example/y"))
		l.Ask("prod", ref("a.example/x:1"))
		time.Sleep(time.Second)
		l.Ask("prod")
		time.Sleep(minute)
		same(t, "rounds", b.rounds(), []string{"0: all", "10: a.example/x a.example/y", "20: all"})
		stop()
	})
}

// However much is pushed, no more waits than a bound; all images are looked at instead.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", takes: 10 * time.Second}
		for i := range 3 * reconcile.Most {
			b.names = append(b.names, fmt.Sprintf("a.example/app%d", i))
		}
		l, _ := loopOf(b)
		stop := run(t, l)
		time.Sleep(time.Second)
		for range 3 {
			for _, name := range b.names {
				l.Push(event(name))
			}
		}
		if n := l.Waiting(); n != reconcile.Most {
			t.Errorf("%d images wait", n)
		}
		time.Sleep(minute)
		same(t, "rounds", b.rounds(), []string{"0: all", "10: all"})
		stop()
	})
}

func TestLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x", "a.example/y"}, takes: 10 * time.Second}
		var refused atomic.Bool
		b.fails = func(int) error {
			if refused.Load() {
				return errors.New("refused")
			}
			return nil
		}
		l, log := loopOf(b)
		l.Interval = time.Hour
		stop := run(t, l)
		now := time.Now()
		l.Push(reconcile.Event{Image: ref("a.example/other"), At: now.Add(-time.Hour)})
		push := func(image string, since time.Duration) {
			l.Push(reconcile.Event{Image: ref(image), At: time.Now().Add(since)})
		}
		lag := func(want time.Duration) {
			t.Helper()
			time.Sleep(minute)
			if got := at(l, 0).Commits[0].Lag; got != want {
				t.Errorf("the lag is %s, want %s", got, want)
			}
		}
		lag(0) // nothing that the branch names was pushed
		push("a.example/x", -3*time.Second)
		push("a.example/x", -time.Second)
		push("a.example/y", -2*time.Second)
		lag(15 * time.Second)
		push("a.example/y", time.Hour)
		lag(12 * time.Second)
		push("a.example/y", -61*time.Minute) // delivered again
		lag(12 * time.Second)
		l.Push(event("a.example/y"))
		lag(12 * time.Second)
		l.Ask("prod", ref("a.example/y"))
		lag(0)
		push("a.example/x", -4*time.Second)
		l.Ask("prod")
		lag(14 * time.Second)
		refused.Store(true)
		push("a.example/x", 0)
		time.Sleep(20 * time.Second)
		refused.Store(false)
		lag(32 * time.Second)
		stop()
		if got := log.String(); strings.Count(got, "lag=") != 7-1 || !strings.Contains(got, `images="a.example/x a.example/y" events=3 commits=1 failures=0 took=10s lag=15s`) || !strings.Contains(got, "images=a.example/x events=0 commits=1 failures=0 took=10s lag=32s") {
			t.Errorf("the log says\n%s", got)
		}
	})
}

// Commits of a round that was given up later are as late as others.
func TestLagOfGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x"}}
		l, _ := loopOf(b)
		l.Targets[0].Round = func(ctx context.Context, images []imageref.Ref) status.Round {
			r := b.round(ctx, images)
			if len(images) > 0 {
				r.Err, r.Images = errors.New("refused"), nil
			}
			return r
		}
		stop := run(t, l)
		synctest.Wait()
		l.Push(event("a.example/x"))
		time.Sleep(window)
		if s := at(l, 0); s.Err != "refused" || s.Commits[0].Lag != window || len(s.Images) != 1 {
			t.Errorf("the board says %+v", s)
		}
		stop()
	})
}

func TestLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x"}, takes: 10 * time.Second}
		l, _ := loopOf(b)
		l.Lead(false)
		stop := run(t, l)
		l.Push(event("a.example/x"))
		l.Ask("prod")
		time.Sleep(2 * interval)
		same(t, "on a standby", b.rounds(), nil)
		if s := at(l, 0); s.State != status.Idle || !s.Next.IsZero() {
			t.Errorf("a standby says %s, %s", s.State, s.Next)
		}
		l.Lead(true)
		same(t, "with the lead", b.rounds(), []string{"600: all"})
		time.Sleep(minute)
		same(t, "afterwards", b.rounds(), nil)

		l.Push(event("a.example/x"))
		time.Sleep(5 * time.Second)
		l.Lead(false)
		synctest.Wait()
		same(t, "why the round ended", fmt.Sprint(b.causes), "[this replica no longer leads]")
		s := at(l, 0)
		if s.Err != "gave up the round: this replica no longer leads" || s.State != status.Idle {
			t.Errorf("the board says %s, %s", s.State, s.Err)
		}
		l.Push(event("a.example/x"))
		time.Sleep(minute)
		same(t, "before and after it was lost", b.rounds(), []string{"662: a.example/x"})
		l.Lead(true)
		same(t, "with the lead again", b.rounds(), []string{"725: all"})
		time.Sleep(time.Minute)
		if lag := at(l, 0).Commits[0].Lag; lag != 70*time.Second {
			t.Errorf("the lag of what was kept is %s", lag)
		}
		l.Lead(true)
		same(t, "told what it knows", b.rounds(), nil)
		stop()
	})
}

// What waited when another replica took the lead is that one's business; it does not count as late here.
func TestLeadIsSomebodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x"}, takes: time.Second}
		l, _ := loopOf(b)
		stop := run(t, l)
		time.Sleep(minute)
		l.Push(event("a.example/x"))
		l.Lead(false)
		l.Push(event("a.example/x"))
		l.Lead(false)
		time.Sleep(minute)
		l.Lead(true)
		time.Sleep(minute)
		same(t, "rounds", b.rounds(), []string{"0: all", "120: all"})
		if lag := at(l, 0).Commits[0].Lag; lag != 0 {
			t.Errorf("the lag is %s", lag)
		}
		stop()
	})
}

// A lead that comes back while the round of the former one still ends does not make two rounds of one target.
func TestLeadComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", deaf: true, takes: 3 * time.Second}
		l, _ := loopOf(b)
		stop := run(t, l)
		time.Sleep(time.Second)
		l.Lead(false)
		l.Lead(true)
		time.Sleep(3 * time.Second)
		if s := at(l, 0); s.Err != "" || len(s.Commits) != 1 {
			t.Errorf("of a round that ended nevertheless the board says %+v", s)
		}
		time.Sleep(minute)
		same(t, "rounds", b.rounds(), []string{"0: all", "3: all"})
		stop()
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x"}, takes: 20 * time.Second}
		c := &branch{name: "test"}
		l, _ := loopOf(b, c)
		stop := run(t, l)
		time.Sleep(time.Second)
		l.Push(event("a.example/x"))
		l.Ask("test")
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		same(t, "the time it took", clock(), 20*time.Second)
		same(t, "rounds", b.rounds(), []string{"0: all"})
		if s := at(l, 0); s.Err != "" || len(s.Commits) != 1 {
			t.Errorf("the board says %+v", s)
		}
	})
}

func TestStopGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := &branch{name: "prod", takes: time.Hour}, &branch{name: "test"}
		l, _ := loopOf(b, c)
		l.Grace = 10 * time.Second
		stop := run(t, l)
		time.Sleep(time.Second)
		if err := stop(); err == nil || err.Error() != "stop: rounds were given up after 10s: prod" {
			t.Errorf("it ended with %v", err)
		}
		same(t, "the time it took", clock(), 11*time.Second)
		same(t, "why the round ended", fmt.Sprint(b.causes), "[the time to stop was up]")
	})
}

// A mistake that one target brings to light does not stop the others, and the target itself is tried again.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := &branch{name: "prod"}, &branch{name: "test"}
		var repaired atomic.Bool
		b.do = func([]imageref.Ref) {
			if !repaired.Load() {
				panic("index out of range\n[5] with length 3")
			}
		}
		l, log := loopOf(b, c)
		stop := run(t, l)
		synctest.Wait()
		if s := at(l, 0); s.Err != "look at prod: the round panicked" || s.Hint == "" {
			t.Errorf("the board says %q, %q", s.Err, s.Hint)
		}
		if got := log.String(); !strings.Contains(got, `panic="index out of range [5] with length 3"`) || !strings.Contains(got, "reconcile_test.go") {
			t.Errorf("the log says\n%s", got)
		}
		repaired.Store(true)
		time.Sleep(10 * time.Second)
		same(t, "rounds", b.rounds(), []string{"0: all", "10: all"})
		same(t, "rounds of the other", c.rounds(), []string{"0: all"})
		if s := at(l, 0); s.Err != "" {
			t.Errorf("the board says %q", s.Err)
		}
		stop()
	})
}

// No more rounds than Parallel are under way; who has waited longest is next.
func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var branches []*branch
		for i := range 5 {
			branches = append(branches, &branch{name: fmt.Sprint(i), names: []string{fmt.Sprintf("a.example/%d", i)}, takes: 10 * time.Second})
		}
		l, _ := loopOf(branches...)
		l.Parallel = 2
		stop := run(t, l)
		if s := at(l, 4); s.State != status.Queued {
			t.Errorf("who waits for its turn is %s", s.State)
		}
		time.Sleep(50 * time.Second)
		for i, want := range []string{"0: all", "0: all", "10: all", "10: all", "20: all"} {
			same(t, "rounds of "+fmt.Sprint(i), branches[i].rounds(), []string{want})
		}
		l.Ask("0")
		l.Ask("1")
		time.Sleep(time.Second)
		l.Push(event("a.example/4"))
		time.Sleep(time.Second)
		l.Push(event("a.example/3"))
		time.Sleep(time.Second)
		l.Push(event("a.example/2"))
		time.Sleep(time.Minute)
		for i, want := range []string{"50: all", "50: all", "70: a.example/2", "60: a.example/3", "60: a.example/4"} {
			same(t, "rounds of "+fmt.Sprint(i), branches[i].rounds(), []string{want})
		}
		stop()
	})
}

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var branches []*branch
		for i := range 5 {
			branches = append(branches, &branch{name: fmt.Sprint(i), takes: 10 * time.Second, names: []string{fmt.Sprintf("a.example/%d", i)}})
		}
		branches[3].fails = func(int) error { return errors.New("refused") }
		l, _ := loopOf(branches...)
		rounds := l.Once(t.Context())
		same(t, "the time it took", clock(), 20*time.Second)
		for i, r := range rounds {
			if i == 3 {
				if r.Err == nil || at(l, 3).Err != "refused" {
					t.Errorf("a failure: %+v", r)
				}
				continue
			}
			if !r.Whole || r.Images[0].Name != branches[i].names[0] || len(at(l, i).Images) != 1 {
				t.Errorf("round %d: %+v", i, r)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		rounds = l.Once(ctx)
		same(t, "the time it took", clock(), 21*time.Second)
		for i, r := range rounds {
			if !errors.Is(r.Err, context.Canceled) {
				t.Errorf("round %d: %v", i, r.Err)
			}
		}
	})
}

// The board follows what becomes of a target, and wakes nobody when nothing changes.
func TestBoardFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &branch{name: "prod", names: []string{"a.example/x", "a.example/y"}, takes: 10 * time.Second}
		l, _ := loopOf(b)
		l.Interval = 0 // which is five minutes
		state := func(want status.State, next time.Duration) {
			t.Helper()
			s := at(l, 0)
			due := time.Duration(0)
			if !s.Next.IsZero() {
				due = time.Until(s.Next)
			}
			if s.State != want || (due-next).Abs() > interval/10 {
				t.Errorf("the board says %s, next in %s; want %s, %s", s.State, due, want, next)
			}
		}
		state(status.Idle, 0)
		stop := run(t, l)
		state(status.Running, 0)
		time.Sleep(10 * time.Second)
		state(status.Idle, interval)
		l.Push(event("a.example/x"))
		state(status.Queued, window)
		_, changed := l.Board.Snapshot()
		l.Push(event("a.example/y"))
		l.Push(event("a.example/other"))
		synctest.Wait()
		select {
		case <-changed:
			t.Error("the board changed")
		default:
		}
		time.Sleep(window)
		state(status.Running, 0)
		stop()
	})
}
