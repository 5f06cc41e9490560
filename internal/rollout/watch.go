package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Relation is how a revision stands to the commit that is waited for.
type Relation int

// The relations. Argo CD knows none of them; the git repository does.
const (
	Unknown    Relation = iota // nobody could tell
	Same                       // it is the commit
	Descendant                 // the commit is part of it
	Ancestor                   // it is older
	Unrelated                  // it is neither: another branch, or one that was pushed over
)

// Place is how a source stands to the branch that the commit was pushed to.
type Place int

// The places.
const (
	Elsewhere Place = iota // another repository
	Aside                  // the repository, at another branch, a tag or a commit
	Along                  // the repository, at that branch
)

// State is what is to be done about an application.
type State int

// The states.
const (
	Waiting State = iota
	Live
	Ended // it will not become live by itself
)

// Verdict is what was seen of an application, in words for people.
type Verdict struct {
	State State
	Text  string
	Hint  string // what to do: when it ended, or when it may wait in vain

	// Behind is that Argo CD has not come to the commit: a refresh may bring it there.
	Behind bool
	// Settling is that a second look decides.
	Settling bool
}

// refreshAnnotation stands on an application until Argo CD has compared it anew.
const refreshAnnotation = "argocd.argoproj.io/refresh"

// How long something must be so before it counts.
const (
	settle     = time.Second      // of live: a second look guards against writes that are still under way
	idle       = 10 * time.Second // of out of sync without an operation
	degraded   = 30 * time.Second // images that could not be pulled at once heal
	persistent = 25 * time.Second // of errors: longer than between two refreshes
	creation   = time.Minute      // of sources that are none of ours, where the commit may be about to change them
)

// Watch follows one application to a commit. Look is called with everything that is seen of it, in order.
type Watch struct {
	Commit string // a full id; "" for whatever the application's own targetRevision is, as for a child that follows another branch
	Branch string // that the commit was pushed to, for people
	// Place tells where a source is. Nil when that is not known: then one of the sources must come to the commit.
	Place    func(Source) Place
	Relation func(revision string) Relation
	Retries  int  // of a failed sync by Argo CD that are waited for
	Declared bool // it is known to be declared, and may be about to be changed to what is declared
	// Forbids names what forbids Argo CD to sync it, "" when nothing does or nobody knows. It is asked when nothing happens,
	// and may be nil.
	Forbids func() string

	since, before map[string]time.Time // what is so since when: found in this look, and up to it
	reconciled    time.Time            // when it was compared last, as the first look had it
	looked        bool
	marked        bool // a refresh was asked for
	fresh         bool // what is seen is not older than the watch
}

// Look tells how the application stands at a time. What Argo CD compares with is not yet what it applied, and that is not
// yet what runs: only all of it together is live.
func (w *Watch) Look(now time.Time, a *Application) Verdict {
	w.before, w.since = w.since, map[string]time.Time{}
	w.freshen(a)
	v := w.judge(now, a)
	switch {
	case v.State == Live && w.lasted(now, "steady "+v.Text) < settle:
		return Verdict{Text: "live, looking once more", Settling: true}
	case v.State == Ended && w.Commit == "" && w.lasted(now, "ended") < idle: // what it is to follow may be about to change
		v = Verdict{Text: v.Text}
	}
	v.Behind = v.State == Waiting && (v.Behind || !w.compared(a))
	return v
}

// freshen finds out whether what is seen may still be what was before somebody asked for a refresh.
func (w *Watch) freshen(a *Application) {
	marked := a.Metadata.Annotations[refreshAnnotation] != ""
	if !w.looked {
		w.looked, w.reconciled = true, a.Status.ReconciledAt
	}
	if !marked && (w.marked || a.Refreshed || !a.Status.ReconciledAt.Equal(w.reconciled)) {
		w.fresh = true
	}
	w.marked = marked
}

// sources are the numbers of those that must come to the commit, and their place.
func (w *Watch) sources(a *Application) ([]int, Place) {
	all := a.Origins()
	var at [Along + 1][]int
	for n, s := range all {
		place := Along
		switch {
		case w.Commit == "":
		case s.Chart != "":
			place = Elsewhere
		case w.Place != nil:
			place = w.Place(s)
		}
		at[place] = append(at[place], n)
	}
	switch {
	case w.Commit == "" && len(all) == 0: // hydrated
		return []int{0}, Along
	case len(at[Along]) == 0 && len(at[Aside]) == 0:
		return nil, Elsewhere
	case len(at[Along]) == 0:
		return at[Aside], Aside
	case w.Place == nil && w.Commit != "": // one of them has the commit, when any has
		found := slices.IndexFunc(at[Along], func(n int) bool { return w.counts(a.Revision(n)) })
		return at[Along][max(0, found):][:1], Along
	}
	return at[Along], Along
}

// Revision is what the sources that must come to the commit were compared at with the cluster: where they differ, the first
// that has not.
func (w *Watch) Revision(a *Application) string {
	n, _ := w.sources(a)
	return w.last(n, a.Status.Sync.Revisions, a.Status.Sync.Revision)
}

// last is the revision of the sources that is farthest from the commit.
func (w *Watch) last(sources []int, revisions []string, single string) string {
	revision := ""
	for i, n := range sources {
		r := of(revisions, single, n)
		if i == 0 || w.counts(revision) && !w.counts(r) {
			revision = r
		}
	}
	return revision
}

// compared reports whether Argo CD has come to the commit.
func (w *Watch) compared(a *Application) bool {
	return len(a.failing()) == 0 && a.Compared() && w.counts(w.Revision(a))
}

func (w *Watch) judge(now time.Time, a *Application) Verdict {
	if a.Metadata.Deletion != nil {
		return Verdict{State: Ended, Text: "it is being deleted", Hint: "who deletes it? A root whose manifests do not name it any more prunes it"}
	}
	if v, failing := w.failing(now, a); failing {
		return v
	}
	sources, place := w.sources(a)
	if place == Elsewhere {
		return w.elsewhere(now, a)
	}
	revision := w.last(sources, a.Status.Sync.Revisions, a.Status.Sync.Revision)
	if revision == "" || !a.Compared() || w.Commit != "" && !isCommit(revision) { // a chart has a version
		return Verdict{Text: "not compared with the cluster yet"}
	}
	relation := w.relation(revision)
	switch {
	case relation == Same || relation == Descendant:
		return w.reached(now, a, sources, revision)
	case place == Aside && w.settled(now, "aside"):
		follows := a.Origins()[sources[0]].Revision
		return Verdict{State: Ended, Text: fmt.Sprintf("it follows %s, and not %s: it is at %s, which does not have %s in it", Clean(follows), w.Branch, short(revision), short(w.Commit)),
			Hint: "wait for a commit of " + Clean(follows) + ", or change the application's targetRevision"}
	case relation == Unrelated && w.fresh:
		return Verdict{State: Ended, Text: fmt.Sprintf("it is at %s, which %s is no part of", short(revision), short(w.Commit)),
			Hint: "was the commit pushed over, or to another branch than the application's targetRevision?"}
	case relation == Unknown:
		return Verdict{Text: fmt.Sprintf("it is at %s, a commit that is not known here", short(revision))}
	}
	return Verdict{Text: w.behind(a, sources, revision), Hint: cmp.Or(w.blocked(a, sources), w.unanswered(now))}
}

// settled reports whether it is not about to be changed any more what an application is deployed from.
func (w *Watch) settled(now time.Time, what string) bool {
	return w.fresh && (!w.Declared || w.lasted(now, what) >= creation)
}

// elsewhere tells of an application that has no source in the repository of the commit.
func (w *Watch) elsewhere(now time.Time, a *Application) Verdict {
	v := Verdict{State: Ended, Text: "it is not deployed from the repository of the commit", Hint: "name the applications that are; imgbump list shows which deploy a file"}
	switch sources := a.Origins(); {
	case a.Spec.Hydrator != nil && len(sources) == 0:
		v.Text, v.Hint = "its manifests are hydrated, and what it is at is no commit of this branch", "wait for the commit that the hydrator pushes"
	case len(sources) > 0 && sources[0].Chart != "":
		v.Text += ", but from chart " + Clean(sources[0].Chart)
	case len(sources) > 0:
		v.Text += ", but from " + Clean(sources[0].Repository)
	}
	if w.Declared && w.lasted(now, "elsewhere") < creation {
		return Verdict{Text: v.Text, Behind: true}
	}
	return v
}

// relation asks about a revision; the commit itself needs no asking.
func (w *Watch) relation(revision string) Relation {
	if revision == w.Commit || w.Commit == "" {
		return Same
	}
	return w.Relation(revision)
}

// counts reports whether a revision is the commit, or has it in it.
func (w *Watch) counts(revision string) bool {
	if revision == "" || w.Commit != "" && !isCommit(revision) {
		return false
	}
	r := w.relation(revision)
	return r == Same || r == Descendant
}

// failing tells of errors that Argo CD reports of an application, and whether there are any. That a sync failed is told by
// the operation.
func (w *Watch) failing(now time.Time, a *Application) (Verdict, bool) {
	conditions := slices.DeleteFunc(a.failing(), func(c Condition) bool { return c.Type == syncError })
	if len(conditions) == 0 {
		return Verdict{}, false
	}
	text := conditions[0].Type + ": " + Clean(conditions[0].Message)
	if w.lasted(now, "failing") < persistent {
		return Verdict{Text: text}, true
	}
	return Verdict{State: Ended, Text: text, Hint: hintOf(conditions[0].Message)}, true
}

// behind tells what an application does that has not come to the commit.
func (w *Watch) behind(a *Application, sources []int, revision string) string {
	if state := a.Status.OperationState; a.Operation != nil && state != nil && state.Message != "" {
		return fmt.Sprintf("still syncing %s: %s", short(w.last(sources, a.Operation.Sync.Revisions, a.Operation.Sync.Revision)), Clean(state.Message))
	}
	if w.marked {
		return fmt.Sprintf("still at %s, being refreshed", short(revision))
	}
	return fmt.Sprintf("still at %s", short(revision))
}

// blocked is what may be done about an operation for an older commit, which Argo CD does not leave for a newer one.
func (w *Watch) blocked(a *Application, sources []int) string {
	state := a.Status.OperationState
	if a.Operation == nil || state == nil || state.RetryCount == 0 && !strings.HasPrefix(state.Message, "waiting") {
		return ""
	}
	return fmt.Sprintf("Argo CD syncs no newer commit before %s is done or has failed for good; argocd app terminate-op %s ends it",
		short(w.last(sources, state.Operation.Sync.Revisions, state.Operation.Sync.Revision)), a.Metadata.Name)
}

// unanswered is what may be done when Argo CD does not look although it was asked to.
func (w *Watch) unanswered(now time.Time) string {
	if !w.marked || w.lasted(now, "marked") < persistent {
		return ""
	}
	return "Argo CD was asked to look and does not: is its application controller running?"
}

// lasted is how long something has been so: since the first of an unbroken row of looks that asked for it.
func (w *Watch) lasted(now time.Time, what string) time.Duration {
	if _, asked := w.since[what]; !asked {
		w.since[what] = now
		if at, known := w.before[what]; known {
			w.since[what] = at
		}
	}
	return now.Sub(w.since[what])
}
