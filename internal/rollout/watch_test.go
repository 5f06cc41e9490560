package rollout_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/rollout"
)

func recorded(t *testing.T, name string) *rollout.Application {
	t.Helper()
	data, err := os.ReadFile("testdata/app-" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var a rollout.Application
	if err := json.Unmarshal(data, &a); err != nil {
		t.Fatal(err)
	}
	return &a
}

// TestEnds looks at applications that the real Argo CD left in trouble, at once and after a while.
func TestEnds(t *testing.T) {
	const drifted = "3d7a7a8bf1ff7724e953c9bb6c15ca897b9d0d63"
	all := func(string) rollout.Relation { return rollout.Descendant }
	for _, tt := range []struct {
		name, commit string
		change       func(*rollout.Application)
		at, after    rollout.State
		text, hint   string
	}{
		{name: "errbranch", after: rollout.Ended, text: "ComparisonError: ", hint: "targetRevision is no branch"},
		{name: "errpath", after: rollout.Ended, text: "nosuchdir: app path does not exist", hint: "imgbump graph"},
		{name: "errproj", after: rollout.Ended, text: "InvalidSpecError: application repo", hint: "sourceRepos"},
		{name: "errrepo", after: rollout.Ended, text: "failed to list refs", hint: "cannot reach the git repository"},
		{name: "errsync", text: "syncing, 1 of 1 resources to go: Deployment/errsync: Deployment.apps \"errsync\" is invalid"},
		{name: "errkind", text: "syncing: Deployment/errkind: resource apps:Deployment is not permitted in project nokind"},
		{name: "errsync", text: "the sync of e9b3017 failed: Deployment/errsync: ", at: rollout.Ended, after: rollout.Ended, hint: "argocd app get errsync",
			change: func(a *rollout.Application) { a.Operation, a.Status.OperationState.Phase = nil, "Failed" }},
		{name: "drifted", commit: drifted, after: rollout.Ended, text: "something in the cluster changed", hint: "selfHeal"},
		{name: "drifted", commit: drifted, after: rollout.Ended, text: "not synced automatically", hint: "argocd app sync plain",
			change: func(a *rollout.Application) { a.Spec.SyncPolicy.Automated = nil }},
		{name: "drifted", commit: drifted, after: rollout.Ended, text: "nothing syncs it", hint: "sync window",
			change: func(a *rollout.Application) { a.Status.OperationState = nil }},
		{name: "drifted", commit: drifted, text: "being refreshed", change: func(a *rollout.Application) {
			a.Metadata.Annotations = map[string]string{"argocd.argoproj.io/refresh": "normal"}
		}},
		{name: "multi", text: "still at bd97856", commit: "x"},
		{name: "multi", after: rollout.Live, text: "live as part of bd97856"},
		{name: "multi", after: rollout.Ended, text: "suspended: it waits for a promotion", at: rollout.Ended,
			change: func(a *rollout.Application) { a.Status.Health.Status = "Suspended" }},
		{name: "multi", after: rollout.Ended, text: "degraded: Deployment/multi-a is degraded, no such image", hint: "kubectl describe",
			change: func(a *rollout.Application) {
				a.Status.Health.Status = "Degraded"
				a.Status.Resources[0].Health = &rollout.Health{Status: "Degraded", Message: "no such\nimage"}
			}},
		{name: "multi", text: "to be compared once more", change: func(a *rollout.Application) { a.Status.OperationState.Operation.Sync.DryRun = true }},
		{name: "multi", text: "to be compared once more", change: func(a *rollout.Application) { a.Status.OperationState.FinishedAt = time.Now() }},
		{name: "multi", after: rollout.Live, text: "live: the commit changes nothing of it as part of bd97856", change: func(a *rollout.Application) {
			a.Status.OperationState.SyncResult.Revisions = []string{"e9b30176dc3ed37208bc16e801ec7cc7855403ab", "e9b30176dc3ed37208bc16e801ec7cc7855403ab"}
		}},
	} {
		a := recorded(t, tt.name)
		if tt.change != nil {
			tt.change(a)
		}
		w := &rollout.Watch{Commit: "e9b30176dc3ed37208bc16e801ec7cc7855403aa", Source: func([]rollout.Source) int { return 1 }, Relation: all}
		if tt.commit != "" {
			w.Commit = tt.commit
		}
		if tt.commit == "x" || strings.Contains(tt.text, "changes nothing") {
			w.Relation = func(revision string) rollout.Relation {
				if tt.commit != "x" && strings.HasPrefix(revision, "bd97") {
					return rollout.Descendant
				}
				return rollout.Ancestor
			}
		}
		start := time.Now()
		if v := w.Look(start, a); v.State != tt.at {
			t.Errorf("%s at once: %+v", tt.name, v)
		}
		v := w.Look(start.Add(time.Minute), a)
		if v.State != tt.after || !strings.Contains(v.Text, tt.text) || !strings.Contains(v.Hint, tt.hint) {
			t.Errorf("%s after a minute: %+v, want %q, %q", tt.name, v, tt.text, tt.hint)
		}
	}
}

func TestRelations(t *testing.T) {
	for relation, want := range map[rollout.Relation]string{
		rollout.Unrelated: "is no part of", rollout.Unknown: "not known here", rollout.Ancestor: "still at bd97856"} {
		w := &rollout.Watch{Commit: strings.Repeat("a", 40), Source: func([]rollout.Source) int { return 0 }, Relation: func(string) rollout.Relation { return relation }}
		if v := w.Look(time.Now(), recorded(t, "multi")); !strings.Contains(v.Text, want) || (v.State == rollout.Ended) != (relation == rollout.Unrelated) {
			t.Errorf("%d: %+v", relation, v)
		}
	}
}
