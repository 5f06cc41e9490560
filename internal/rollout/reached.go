package rollout

import (
	"fmt"
	"strings"
	"time"
)

// syncError is the condition of a sync that Argo CD does not try again.
const syncError = "SyncError"

// reached tells how an application does that was compared with the commit, or with one that it is part of.
func (w *Watch) reached(now time.Time, a *Application, sources []int, revision string) Verdict {
	state := a.Status.OperationState
	if a.Operation != nil || state != nil && (state.Phase == "Running" || state.Phase == "Terminating") {
		return w.operating(a, sources)
	}
	out := a.Status.Sync.Status != "Synced"
	if out {
		w.lasted(now, "idle")
	}
	if a.Status.Health.Status == "Degraded" {
		w.lasted(now, "degraded")
	}
	if w.marked {
		return Verdict{Text: "being refreshed", Hint: w.unanswered(now)}
	}
	if asked := w.failed(a, sources); asked != "" && (asked == revision || !out && w.Commit != "") {
		return w.gaveUp(a, asked)
	}
	if out {
		return w.unsynced(now, a, sources)
	}
	return w.synced(now, a, sources, revision)
}

// failed is the revision whose sync was the last and failed for good, where that has the commit in it.
func (w *Watch) failed(a *Application, sources []int) string {
	state := a.Status.OperationState
	if state == nil || state.Phase != "Failed" && state.Phase != "Error" {
		return ""
	}
	asked := w.last(sources, state.Operation.Sync.Revisions, state.Operation.Sync.Revision)
	if !w.counts(asked) {
		return ""
	}
	return asked
}

// gaveUp is the verdict on a sync that failed.
func (w *Watch) gaveUp(a *Application, asked string) Verdict {
	v := Verdict{State: Ended, Text: fmt.Sprintf("the sync of %s failed: %s", short(asked), a.reason()), Hint: hintOf(a.reason())}
	if v.Hint == "" {
		v.Hint = "argocd app get " + a.Metadata.Name + " shows the resources; a new commit starts a new sync"
	}
	return v
}

// operating tells of an operation that is queued or running.
func (w *Watch) operating(a *Application, sources []int) Verdict {
	state := a.Status.OperationState
	if state == nil {
		return Verdict{Text: "about to be synced"}
	}
	asked := w.last(sources, state.Operation.Sync.Revisions, state.Operation.Sync.Revision)
	older := isCommit(asked) && !w.counts(asked)
	v := Verdict{Text: "syncing" + a.remaining()}
	switch {
	case older:
		v = Verdict{Text: "still syncing " + short(asked), Hint: w.blocked(a, sources)}
	case state.Phase == "Terminating":
		v.Text = "the sync is being terminated"
	case state.RetryCount > w.Retries:
		hint := hintOf(a.reason())
		if hint == "" {
			hint = "Argo CD goes on trying; --sync-retries waits for more of it"
		}
		return Verdict{State: Ended, Text: fmt.Sprintf("the sync of %s failed %s: %s", short(asked), times(state.RetryCount), a.reason()), Hint: hint}
	case state.RetryCount > 0:
		v.Text += ", failed " + times(state.RetryCount)
	}
	if state.Message != "" {
		v.Text += ": " + a.reason()
	}
	return v
}

// unsynced tells why nothing happens.
func (w *Watch) unsynced(now time.Time, a *Application, sources []int) Verdict {
	const text = "out of sync"
	if w.lasted(now, "idle") < idle {
		return Verdict{Text: text}
	}
	if asked := w.failed(a, sources); asked != "" {
		return w.gaveUp(a, asked)
	}
	applied := ""
	if state := a.Status.OperationState; state != nil && !state.Operation.Sync.DryRun {
		applied = w.last(sources, state.SyncResult.Revisions, state.SyncResult.Revision)
	}
	name := a.Metadata.Name
	switch {
	case !a.automated():
		return Verdict{State: Ended, Text: text + ", and is not synced automatically",
			Hint: "argocd app sync " + name + ", or set spec.syncPolicy.automated"}
	case w.counts(applied) && a.pruning() != "":
		return Verdict{State: Ended, Text: text + ": " + a.pruning() + " is in no manifest any more, and nothing removes it",
			Hint: "argocd app sync " + name + " --prune, or set spec.syncPolicy.automated.prune"}
	case w.counts(applied):
		return Verdict{State: Ended, Text: text + " although it was synced: something in the cluster changed what was applied",
			Hint: "find out with argocd app diff " + name + "; spec.syncPolicy.automated.selfHeal undoes such changes"}
	}
	if w.Forbids != nil {
		if what := w.Forbids(); what != "" {
			return Verdict{State: Ended, Text: text + ": " + Clean(what), Hint: "wait for the end of the window, or change syncWindows of AppProject " + Clean(a.Spec.Project)}
		}
	}
	if failing := a.failing(); len(failing) > 0 {
		return Verdict{State: Ended, Text: text + ": " + failing[0].Type + ": " + Clean(failing[0].Message), Hint: hintOf(failing[0].Message)}
	}
	return Verdict{State: Ended, Text: text + ", and nothing syncs it",
		Hint: "a sync window may forbid it: argocd app get " + name + " shows it"}
}

// synced tells how an application does that is as the commit wants it.
func (w *Watch) synced(now time.Time, a *Application, sources []int, revision string) Verdict {
	switch health := a.Status.Health; health.Status {
	case "Healthy":
	case "Degraded":
		text := "degraded" + a.unhealthy("Degraded")
		if w.lasted(now, "degraded") < degraded {
			return Verdict{Text: text}
		}
		return Verdict{State: Ended, Text: text, Hint: "kubectl describe the resource; the events and logs say why"}
	case "Suspended":
		return a.suspended()
	default:
		return Verdict{Text: strings.ToLower(Clean(health.Status)) + a.unhealthy(health.Status)}
	}
	if failing := a.failing(); len(failing) > 0 {
		return Verdict{Text: failing[0].Type + ": " + Clean(failing[0].Message), Behind: true}
	}
	state := a.Status.OperationState
	switch {
	case state == nil:
	case a.Status.ReconciledAt.Before(state.FinishedAt):
		return Verdict{Text: "synced, to be compared once more", Behind: true}
	case state.Operation.Sync.DryRun && w.lasted(now, "dry") < idle: // whose success says nothing: that nothing is left to sync does
		return Verdict{Text: "synced, after a dry run"}
	}
	return Verdict{State: Live, Text: w.live(state, sources, revision)}
}

// live says how the commit became live.
func (w *Watch) live(state *OperationState, sources []int, revision string) string {
	text := "live"
	if w.relation(revision) == Descendant {
		text += " as part of " + short(revision)
	}
	if state == nil || w.Commit == "" {
		return text
	}
	switch applied := w.last(sources, state.SyncResult.Revisions, state.SyncResult.Revision); {
	case !w.counts(applied) || state.Operation.Sync.DryRun:
		text += ": the commit changes nothing of it"
	case !state.FinishedAt.IsZero():
		text += ", applied at " + state.FinishedAt.UTC().Format("15:04:05Z")
	}
	if state.Phase == "Failed" || state.Phase == "Error" {
		text += fmt.Sprintf("; the sync of %s before had failed", short(w.last(sources, state.Operation.Sync.Revisions, state.Operation.Sync.Revision)))
	}
	return text
}
