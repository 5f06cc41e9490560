// Package vigil waits until a commit is live in Argo CD's applications: it has them looked at anew, watches them, and asks
// again when nothing is heard.
//
// What counts as live is package rollout's business; this is the asking.
package vigil

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/rollout"
)

// Server is Argo CD. Applications go by NAME, or NAMESPACE/NAME where the namespace is not Argo CD's own. That there is no
// such application is rollout.ErrMissing.
type Server interface {
	// Application is how an application is; with refresh after it was compared with its repository, or is about to be.
	Application(ctx context.Context, name string, refresh bool) (*rollout.Application, error)
	// Watch tells of changes until it ends, which it may at any time.
	Watch(ctx context.Context, name string, seen func(*rollout.Application)) error
	// Forbids names what forbids to sync an application, "" when nothing does or nobody knows.
	Forbids(ctx context.Context, name string) string
	// Rollout is a Rollout of an application as it is in the cluster, in JSON, nil when we may not see it.
	Rollout(ctx context.Context, name string, a *rollout.Application, r rollout.Resource) ([]byte, error)
}

// Vigil is what is waited for.
type Vigil struct {
	Server       Server
	Commit       string   // a full id
	Applications []string // those that it must be live in, with what they create
	Namespace    string   // Argo CD's own
	Declared     bool     // the applications are known to be declared: those that are not there yet may be about to be created
	Announced    bool     // Argo CD was just told of the commit in another way: it is asked for a refresh only when that does not help
	Retries      int      // of a failed sync by Argo CD that are waited for

	Branch   string                             // that the commit was pushed to, for people
	Place    func(rollout.Source) rollout.Place // where a source is; nil when that is not known
	Relation func(revision string) rollout.Relation

	// Tell is told when something about an application changes. Calls do not overlap.
	Tell func(Outcome)
}

// Outcome is how an application stands.
type Outcome struct {
	Name string
	Wave int // among its siblings
	rollout.Verdict
	Revision string    // that Argo CD compared with the cluster, "" when it was not seen
	Children []Outcome // that it creates, by wave

	Application *rollout.Application // as it was seen last, nil when it was not
}

// Intervals between questions.
const (
	refreshing = 20 * time.Second // that bring Argo CD to the commit
	listening  = 5 * time.Second  // while a stream tells of changes as well
	polling    = 2 * time.Second  // while none does
	settling   = 1100 * time.Millisecond
	creation   = time.Minute // that an application may be missing
	longest    = 15 * time.Second
	closely    = 15 * time.Second // that all of an application's Rollouts may take to be read
	patient    = time.Minute      // that a server may be busy at the start, and what it may ask to be left alone
)

// keeper keeps a vigil: it alone knows how everything stands.
type keeper struct {
	*Vigil
	ctx       context.Context
	sightings chan sighting
	known     map[string]*follower
	outcomes  map[string]Outcome // of the applications that are decided
	begun     time.Time
	reached   bool // some application was seen
}

// follower is an application that is looked at.
type follower struct {
	eye
	wave    int
	parent  *follower // that creates it, nil when it was asked for
	watch   *rollout.Watch
	seen    *rollout.Application
	verdict rollout.Verdict
	missing time.Time // since when it is, zero when it is not
	looked  time.Time // when it was seen last
	steady  time.Time // since when it is live, or to be looked at once more, zero when it is not
	told    string
}

// sighting is an application as somebody has just seen it, or why nobody could.
type sighting struct {
	name string
	at   time.Time // when it was seen, which may be a while ago: others are looked at one after the other
	seen *rollout.Application
	err  error
}

// Keep waits until every application is live or will not become so by itself, or until the context ends. The outcomes are in
// the order of the applications, also with an error, which says that Argo CD could not be asked.
func (v *Vigil) Keep(ctx context.Context) ([]Outcome, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	k := &keeper{Vigil: v, ctx: inner, sightings: make(chan sighting), known: map[string]*follower{}, outcomes: map[string]Outcome{}, begun: time.Now()}
	for _, name := range v.Applications {
		k.follow(name, 0, nil)
	}
	for {
		select {
		case <-ctx.Done():
			return k.all(), nil
		case s := <-k.sightings:
			if err := k.see(s); err != nil {
				return k.all(), err
			}
		}
		if k.decided() {
			return k.all(), nil
		}
	}
}

// follow begins to look at an application.
func (k *keeper) follow(name string, wave int, parent *follower) {
	if k.known[name] != nil {
		return
	}
	f := &follower{eye: newEye(k.Server, name, k.sightings), wave: wave, parent: parent}
	f.announced = k.Announced && parent == nil
	f.watch = &rollout.Watch{
		Commit: k.Commit, Branch: k.Branch, Place: k.Place, Relation: k.Relation, Retries: k.Retries, Declared: k.Declared,
		Forbids: func() string { return k.Server.Forbids(k.ctx, name) },
	}
	f.verdict.Text = "not seen yet"
	k.known[name] = f
	go f.look(k.ctx)
	go f.listen(k.ctx)
}

// see takes in what was seen.
func (k *keeper) see(s sighting) error {
	f := k.known[s.name]
	switch {
	case s.err == nil:
		f.seen, f.missing, k.reached = s.seen, time.Time{}, true
		if f.parent != nil {
			f.watch.Commit = k.commitOf(f)
		}
		f.verdict = f.watch.Look(s.at, s.seen)
		for _, c := range s.seen.Children() {
			k.follow(k.name(c), c.Wave, f)
		}
		k.steady(f, s.at)
	case errors.Is(s.err, rollout.ErrMissing):
		if f.seen == nil && f.parent == nil && !k.Declared {
			return s.err
		}
		f.verdict = f.absent(s)
	case f.seen == nil && f.parent == nil && !k.later(s.err), fault.KindOf(s.err) == fault.Denied:
		return s.err
	default:
		f.verdict = rollout.Verdict{Text: "asking again: " + s.err.Error(), Behind: f.verdict.Behind}
	}
	f.ask(f.verdict)
	k.tell(f)
	return nil
}

// steady notes since when an application is live, and has its children looked at once more when that begins: what made it so
// may have changed them.
func (k *keeper) steady(f *follower, now time.Time) {
	f.looked = now
	switch {
	case f.verdict.State != rollout.Live && !f.verdict.Settling:
		f.steady = time.Time{}
	case f.steady.IsZero():
		f.steady = now
		for _, c := range f.seen.Children() {
			child := k.known[k.name(c)]
			soon := child.verdict
			soon.Settling = true
			child.ask(soon)
		}
	}
}

// later reports whether an application that was not seen yet is asked about again: of many, one may meet a busy server.
func (k *keeper) later(err error) bool {
	var later *rollout.Later
	return errors.As(err, &later) && (k.reached || later.After > 0 && time.Since(k.begun) < patient)
}

// absent is the verdict on an application that is not there, or not there any more. A root that has pruned a child does not
// name it soon after.
func (f *follower) absent(s sighting) rollout.Verdict {
	if f.missing.IsZero() {
		f.missing = s.at
	}
	deleted := rollout.Verdict{State: rollout.Ended, Text: "it was deleted, or we may not see it any more"}
	switch waited := s.at.Sub(f.missing) >= creation; {
	case f.seen != nil && (f.parent == nil || waited):
		return deleted
	case f.seen != nil:
		return rollout.Verdict{Text: deleted.Text}
	case !waited:
		return rollout.Verdict{Text: rollout.ErrMissing.Error() + ": it may yet be created", Behind: true}
	}
	return rollout.Verdict{State: rollout.Ended, Text: rollout.ErrMissing.Error(), Hint: fault.HintOf(s.err)}
}

// commitOf is what a child must come to: the commit, when it is deployed from the branch of the repository that its parent
// is; else whatever it follows itself.
func (k *keeper) commitOf(f *follower) string {
	for _, s := range f.seen.Origins() {
		if k.Place != nil && k.Place(s) == rollout.Along || slices.ContainsFunc(f.parent.seen.Origins(), s.Same) {
			return f.parent.watch.Commit
		}
	}
	return ""
}

// name is what a child is called.
func (k *keeper) name(c rollout.Resource) string {
	if c.Namespace == "" || c.Namespace == k.Namespace {
		return c.Name
	}
	return c.Namespace + "/" + c.Name
}

// decided reports whether every application is, and keeps those that are: a newer commit is not waited for.
func (k *keeper) decided() bool {
	for _, name := range k.Applications {
		if _, done := k.outcomes[name]; done {
			continue
		}
		if o := k.outcome(name, nil); o.State != rollout.Waiting {
			k.outcomes[name] = o
		}
	}
	return len(k.outcomes) == len(k.Applications)
}

// outcome is how an application stands together with what it creates. An application may create itself.
func (k *keeper) outcome(name string, above []string) Outcome {
	f := k.known[name]
	o := f.outcome()
	if f.seen == nil {
		return o
	}
	above = append(slices.Clip(above), name)
	verdicts, names := map[string]rollout.Verdict{}, []string{}
	for _, c := range f.seen.Children() {
		child := k.name(c)
		if k.known[child] == nil || slices.Contains(above, child) {
			continue
		}
		below := k.outcome(child, above)
		if below.State == rollout.Live && k.known[child].looked.Before(f.steady) {
			below.Verdict = rollout.Verdict{Text: "to be looked at once more"}
		}
		o.Children = append(o.Children, below)
		names, verdicts[child] = append(names, child), below.Verdict
	}
	o.Verdict = rollout.Together(f.verdict, names, verdicts)
	return o
}

func (k *keeper) all() []Outcome {
	var all []Outcome
	for _, name := range k.Applications {
		o, done := k.outcomes[name]
		if !done {
			o = k.outcome(name, nil)
		}
		all = append(all, o)
	}
	return all
}

// tell tells of an application when there is something new about it.
func (k *keeper) tell(f *follower) {
	text := f.verdict.Text
	if f.verdict.Settling || text == f.told {
		return
	}
	f.told = text
	k.Tell(f.outcome())
}

// outcome is how the application itself stands.
func (f *follower) outcome() Outcome {
	o := Outcome{Name: f.name, Wave: f.wave, Verdict: f.verdict, Application: f.seen}
	if f.seen != nil {
		o.Revision = f.watch.Revision(f.seen)
	}
	return o
}

// Pending are the applications that are not live, each with what it waits for or why it ended.
func Pending(all []Outcome) string {
	var lines []string
	for _, o := range all {
		if o.State != rollout.Live {
			lines = append(lines, fmt.Sprintf("%s: %s", o.Name, o.Text))
		}
	}
	return strings.Join(lines, "\n")
}
