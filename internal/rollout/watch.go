package rollout

import (
	"fmt"
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
	Hint  string // what to do, when it ended

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
)

// Watch follows one application to a commit. Look is called with everything that is seen of it, in order.
type Watch struct {
	Commit string // a full id; "" for whatever the application's own targetRevision is, as for a child that follows another branch
	// Source is the number of the source whose repository the commit is in.
	Source   func([]Source) int
	Relation func(revision string) Relation
	// Forbids names what forbids Argo CD to sync it, "" when nothing does or nobody knows. It is asked when nothing happens,
	// and may be nil.
	Forbids func() string

	since  map[string]time.Time // what has been so since when
	former string
}

// Look tells how the application stands at a time. What Argo CD compares with is not yet what it applied, and that is not
// yet what runs: only all of it together is live.
func (w *Watch) Look(now time.Time, a *Application) Verdict {
	n := w.Source(a.Origins())
	revision := a.Revision(n)
	v := w.judge(now, a, n, revision)
	key := fmt.Sprint(v.State, v.Text)
	if w.former != key {
		w.forget("steady")
	}
	w.former = key
	if v.State == Live && w.lasted(now, "steady") < settle {
		return Verdict{Text: "live, looking once more", Settling: true}
	}
	if v.State != Ended {
		w.forget("ended")
	} else if w.Commit == "" && w.lasted(now, "ended") < idle { // what it is to follow may be about to change
		v = Verdict{Text: v.Text}
	}
	v.Behind = v.State == Waiting && !w.compared(revision)
	return v
}

// compared reports whether Argo CD has come to the commit.
func (w *Watch) compared(revision string) bool {
	return w.Commit == "" && revision != "" || w.Commit != "" && w.counts(revision)
}

func (w *Watch) judge(now time.Time, a *Application, n int, revision string) Verdict {
	if v, failing := w.failing(now, a); failing {
		return v
	}
	if revision == "" || w.Commit != "" && !isCommit(revision) { // a chart has a version
		return Verdict{Text: "not compared with the cluster yet"}
	}
	switch w.relation(revision) {
	case Unrelated:
		return Verdict{State: Ended, Text: fmt.Sprintf("it is at %s, which %s is no part of", short(revision), short(w.Commit)),
			Hint: "was the commit pushed over, or to another branch than the application's targetRevision?"}
	case Unknown:
		return Verdict{Text: fmt.Sprintf("it is at %s, a commit that is not known here", short(revision))}
	case Ancestor:
		return Verdict{Text: w.behind(a, n, revision)}
	}
	return w.reached(now, a, n, revision)
}

// relation asks about a revision; the commit itself needs no asking.
func (w *Watch) relation(revision string) Relation {
	if revision == w.Commit || w.Commit == "" {
		return Same
	}
	return w.Relation(revision)
}

// failing tells of errors that Argo CD reports, and whether there are any.
func (w *Watch) failing(now time.Time, a *Application) (Verdict, bool) {
	conditions := a.failing()
	if len(conditions) == 0 {
		w.forget("failing")
		return Verdict{}, false
	}
	text := conditions[0].Type + ": " + oneLine(conditions[0].Message)
	if w.lasted(now, "failing") < persistent {
		return Verdict{Text: text}, true
	}
	return Verdict{State: Ended, Text: text, Hint: hintOf(conditions[0])}, true
}

// behind tells what an application does that has not come to the commit.
func (w *Watch) behind(a *Application, n int, revision string) string {
	if state := a.Status.OperationState; a.Operation != nil && state != nil && state.Message != "" {
		return fmt.Sprintf("still syncing %s: %s", short(of(a.Operation.Sync.Revisions, a.Operation.Sync.Revision, n)), oneLine(state.Message))
	}
	if a.Metadata.Annotations[refreshAnnotation] != "" {
		return fmt.Sprintf("still at %s, being refreshed", short(revision))
	}
	return fmt.Sprintf("still at %s", short(revision))
}

// reached tells how an application does that was compared with the commit, or with one that it is part of.
func (w *Watch) reached(now time.Time, a *Application, n int, revision string) Verdict {
	if a.Operation != nil || a.Status.OperationState != nil && a.Status.OperationState.Phase == "Running" {
		w.forget("idle")
		return w.operating(a, n)
	}
	if a.Metadata.Annotations[refreshAnnotation] != "" {
		return Verdict{Text: "being refreshed"}
	}
	if state := a.Status.OperationState; state != nil {
		asked := of(state.Operation.Sync.Revisions, state.Operation.Sync.Revision, n)
		if failed := state.Phase == "Failed" || state.Phase == "Error"; failed && w.counts(asked) {
			return Verdict{State: Ended, Text: fmt.Sprintf("the sync of %s failed: %s", short(asked), w.reason(a)),
				Hint: "argocd app get " + a.Metadata.Name + " shows the resources; a new commit starts a new sync"}
		}
	}
	if a.Status.Sync.Status != "Synced" {
		return w.unsynced(now, a, n)
	}
	w.forget("idle")
	return w.synced(now, a, n, revision)
}

// counts reports whether a revision is the commit, or has it in it.
func (w *Watch) counts(revision string) bool {
	if w.Commit != "" && !isCommit(revision) {
		return false
	}
	r := w.relation(revision)
	return r == Same || r == Descendant
}

// operating tells of an operation that is queued or running.
func (w *Watch) operating(a *Application, n int) Verdict {
	state := a.Status.OperationState
	if state == nil {
		return Verdict{Text: "about to be synced"}
	}
	asked := of(state.Operation.Sync.Revisions, state.Operation.Sync.Revision, n)
	text := "syncing" + a.remaining()
	if isCommit(asked) && !w.counts(asked) {
		text = "still syncing " + short(asked)
	}
	if state.Message != "" {
		text += ": " + w.reason(a)
	}
	return Verdict{Text: text}
}

// unsynced tells why nothing happens.
func (w *Watch) unsynced(now time.Time, a *Application, n int) Verdict {
	text := "out of sync"
	if w.lasted(now, "idle") < idle {
		return Verdict{Text: text}
	}
	applied := ""
	if state := a.Status.OperationState; state != nil {
		applied = of(state.SyncResult.Revisions, state.SyncResult.Revision, n)
	}
	switch {
	case !a.automated():
		return Verdict{State: Ended, Text: text + ", and is not synced automatically",
			Hint: "argocd app sync " + a.Metadata.Name + ", or set spec.syncPolicy.automated"}
	case w.counts(applied):
		return Verdict{State: Ended, Text: text + " although it was synced: something in the cluster changed what was applied",
			Hint: "find out with argocd app diff " + a.Metadata.Name + "; spec.syncPolicy.automated.selfHeal undoes such changes"}
	}
	if w.Forbids != nil {
		if what := w.Forbids(); what != "" {
			return Verdict{State: Ended, Text: text + ": " + what, Hint: "wait for the end of the window, or change syncWindows of AppProject " + a.Spec.Project}
		}
	}
	return Verdict{State: Ended, Text: text + ", and nothing syncs it",
		Hint: "a sync window may forbid it: argocd app get " + a.Metadata.Name + " shows it"}
}

// synced tells how an application does that is as the commit wants it.
func (w *Watch) synced(now time.Time, a *Application, n int, revision string) Verdict {
	health := a.Status.Health
	if health.Status != "Degraded" {
		w.forget("degraded")
	}
	switch health.Status {
	case "Healthy":
	case "Degraded":
		text := "degraded" + a.unhealthy()
		if w.lasted(now, "degraded") < degraded {
			return Verdict{Text: text}
		}
		return Verdict{State: Ended, Text: text, Hint: "kubectl describe the resource; the events and logs say why"}
	case "Suspended":
		return Verdict{State: Ended, Text: "suspended: it waits for a promotion" + a.unhealthy(),
			Hint: "resume the rollout, for example: kubectl argo rollouts promote NAME"}
	default:
		return Verdict{Text: strings.ToLower(health.Status) + a.unhealthy()}
	}
	state := a.Status.OperationState
	if state != nil && (state.Phase != "Succeeded" || state.Operation.Sync.DryRun || a.Status.ReconciledAt.Before(state.FinishedAt)) {
		return Verdict{Text: "synced, to be compared once more"}
	}
	text := "live"
	if state != nil && !w.counts(of(state.SyncResult.Revisions, state.SyncResult.Revision, n)) {
		text = "live: the commit changes nothing of it"
	}
	if w.relation(revision) == Descendant {
		text += " as part of " + short(revision)
	}
	return Verdict{State: Live, Text: text}
}

// reason is what an operation says, with the resource that could not be applied where there is one.
func (w *Watch) reason(a *Application) string {
	for _, r := range a.Status.OperationState.SyncResult.Resources {
		if r.Status == "SyncFailed" {
			return fmt.Sprintf("%s: %s", r, oneLine(r.Message))
		}
	}
	return oneLine(a.Status.OperationState.Message)
}

// remaining says how much of a sync is left: the resources, and the wave that it has come to.
func (a *Application) remaining() string {
	left, wave := 0, 0
	for _, r := range a.Status.Resources {
		if r.Status == "OutOfSync" {
			if left++; left == 1 || r.Wave < wave {
				wave = r.Wave
			}
		}
	}
	switch {
	case left == 0:
		return ""
	case wave != 0:
		return fmt.Sprintf(", %d of %d resources to go, wave %d", left, len(a.Status.Resources), wave)
	}
	return fmt.Sprintf(", %d of %d resources to go", left, len(a.Status.Resources))
}

// unhealthy names the first resource that is not healthy.
func (a *Application) unhealthy() string {
	for _, r := range a.Status.Resources {
		if r.Health != nil && r.Health.Status != "Healthy" && r.Health.Status != "" {
			text := fmt.Sprintf(": %s is %s", r, strings.ToLower(r.Health.Status))
			if r.Health.Message != "" {
				text += ", " + oneLine(r.Health.Message)
			}
			return text
		}
	}
	return ""
}

// lasted is how long something has been so, which begins with the first call.
func (w *Watch) lasted(now time.Time, what string) time.Duration {
	if w.since == nil {
		w.since = map[string]time.Time{}
	}
	if _, known := w.since[what]; !known {
		w.since[what] = now
	}
	return now.Sub(w.since[what])
}

func (w *Watch) forget(what string) { delete(w.since, what) }

// hintOf is what to do about a condition.
func hintOf(c Condition) string {
	switch text := c.Message; {
	case strings.Contains(text, "is not permitted in project"):
		return "allow the repository in the AppProject's sourceRepos"
	case strings.Contains(text, "app path does not exist"):
		return "the source's path is not in the repository: imgbump graph shows such applications"
	case strings.Contains(text, "to a commit SHA"):
		return "the source's targetRevision is no branch, tag or commit of the repository"
	case strings.Contains(text, "failed to list refs"), strings.Contains(text, "dial tcp"):
		return "Argo CD cannot reach the git repository: argocd repo list shows it"
	}
	return ""
}

// widest is how much of a message is shown, in characters.
const widest = 300

func oneLine(text string) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > widest {
		return string(runes[:widest]) + "…"
	}
	return string(runes)
}

func short(revision string) string { return revision[:min(len(revision), 7)] }
