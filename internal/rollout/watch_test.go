package rollout_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/argotest"
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
		ancestors    bool // other commits are older
	}{
		{name: "errbranch", after: rollout.Ended, text: "ComparisonError: ", hint: "targetRevision is no branch"},
		{name: "errpath", after: rollout.Ended, text: "nosuchdir: app path does not exist", hint: "imgbump graph"},
		{name: "errproj", after: rollout.Ended, text: "InvalidSpecError: application repo", hint: "sourceRepos"},
		{name: "errrepo", after: rollout.Ended, text: "failed to list refs", hint: "cannot reach the git repository"},
		{name: "errsync", text: "the sync of e9b3017 failed 3 times: Deployment/errsync: Deployment.apps \"errsync\" is invalid", at: rollout.Ended, after: rollout.Ended, hint: "--sync-retries"},
		{name: "errkind", text: "failed 3 times: Deployment/errkind: resource apps:Deployment is not permitted in project nokind", at: rollout.Ended, after: rollout.Ended, hint: "namespaceResourceWhitelist"},
		{name: "errsync", text: "syncing, 1 of 1 resources to go, failed 2 times: Deployment/errsync: Deployment.apps \"errsync\" is invalid",
			change: func(a *rollout.Application) { a.Status.OperationState.RetryCount = 2 }},
		{name: "errsync", text: "the sync is being terminated", change: func(a *rollout.Application) { a.Status.OperationState.Phase = "Terminating" }},
		{name: "manifest", text: "FailedPrecondition desc = Failed to unmarshal", after: rollout.Ended},
		{name: "asked", commit: "1105cfd84125a591952ab0b0d1ae46ed412d2528", text: "about to be synced"},
		{name: "back", commit: "bd978562b336decd6648c071c2f63dad446d1f9d", after: rollout.Live, text: "live: the commit changes nothing of it", ancestors: true},
		{name: "healthy", commit: "c8b561dbe9df44bda194bb576c53f00b8ac1a083", after: rollout.Live, text: "live: the commit changes nothing of it", ancestors: true},
		{name: "healthy", commit: "e1e732b834c49a2d89c7f55ac2a3decf738cfca2", after: rollout.Live, text: "live as part of c8b561d, applied at 03:46:37Z"},
		{name: "errdeg", after: rollout.Ended, text: `degraded: Deployment/errdeg is degraded, Deployment "errdeg" exceeded its progress deadline`, hint: "kubectl describe"},
		{name: "errsync", text: "the sync of e9b3017 failed: Deployment/errsync: ", after: rollout.Ended, hint: "argocd app get errsync",
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
		{name: "multi", text: "to be compared once more", change: func(a *rollout.Application) { a.Status.OperationState.FinishedAt = time.Now() }},
		{name: "multi", after: rollout.Live, text: "live as part of bd97856: the commit changes nothing of it", change: func(a *rollout.Application) {
			a.Status.OperationState.SyncResult.Revisions = []string{"e9b30176dc3ed37208bc16e801ec7cc7855403ab", "e9b30176dc3ed37208bc16e801ec7cc7855403ab"}
		}},
	} {
		a := recorded(t, tt.name)
		if tt.change != nil {
			tt.change(a)
		}
		w := &rollout.Watch{Commit: "e9b30176dc3ed37208bc16e801ec7cc7855403aa", Retries: 2, Relation: all}
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
		if tt.ancestors {
			w.Relation = func(string) rollout.Relation { return rollout.Ancestor }
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

// at is an application that is healthy at a revision, which Argo CD has just compared.
func at(revision string, change ...func(*rollout.Application)) *rollout.Application {
	a := argotest.State{Sync: "Synced", Health: "Healthy", Rev: revision, Op: "Succeeded", Oprev: revision}.Application("web")
	a.Refreshed = true
	for _, c := range change {
		c(a)
	}
	return a
}

var (
	wanted = strings.Repeat("a", 40)
	newer  = strings.Repeat("b", 40)
	older  = strings.Repeat("c", 40)
	other  = strings.Repeat("d", 40)
)

// follows is a watch for the commit wanted of repository r, branch main.
func follows() *rollout.Watch {
	return &rollout.Watch{Commit: wanted, Branch: "main", Retries: 2,
		Place: func(s rollout.Source) rollout.Place {
			switch {
			case s.Repository != "r":
				return rollout.Elsewhere
			case s.Revision != "main" && s.Revision != wanted:
				return rollout.Aside
			}
			return rollout.Along
		},
		Relation: func(revision string) rollout.Relation {
			return map[string]rollout.Relation{newer: rollout.Descendant, older: rollout.Ancestor, other: rollout.Unrelated}[revision]
		}}
}

func sources(all ...rollout.Source) func(*rollout.Application) {
	return func(a *rollout.Application) { a.Spec.Source, a.Spec.Sources = nil, all }
}

// declared is an application whose source is one, and was compared as another.
func declared(now, compared string) func(*rollout.Application) {
	return func(a *rollout.Application) {
		if err := errors.Join(json.Unmarshal([]byte(now), &a.Spec.Source), json.Unmarshal([]byte(compared), &a.Status.Sync.Compared.Source)); err != nil {
			panic(err)
		}
	}
}

func revisions(all ...string) func(*rollout.Application) {
	return func(a *rollout.Application) {
		a.Status.Sync.Revision, a.Status.Sync.Revisions = "", all
		a.Status.OperationState.SyncResult.Revisions, a.Status.OperationState.SyncResult.Revision = all, ""
	}
}

func outOfSync(a *rollout.Application) {
	a.Status.Sync.Status = "OutOfSync"
	a.Spec.SyncPolicy.Automated = &struct {
		Enabled *bool `json:"enabled"`
	}{}
}

// TestVerdicts looks twice, with two seconds between, and once more after a minute.
func TestVerdicts(t *testing.T) {
	chart := rollout.Source{Repository: "https://charts.example.com", Revision: "1.2.3", Chart: "web"}
	values := rollout.Source{Repository: "r", Revision: "main"}
	failed := func(asked string) func(*rollout.Application) {
		return func(a *rollout.Application) {
			a.Status.OperationState.Phase, a.Status.OperationState.Message = "Failed", "one or more tasks failed"
			a.Status.OperationState.Operation.Sync.Revision = asked
			a.Status.OperationState.SyncResult.Revision = asked
		}
	}
	for _, tt := range []struct {
		name       string
		a          *rollout.Application
		watch      func(*rollout.Watch)
		soon, late rollout.State
		text, hint string
	}{
		{name: "another branch", a: at(older, func(a *rollout.Application) { a.Spec.Source.Revision = "production" }), soon: rollout.Ended, late: rollout.Ended,
			text: "it follows production, and not main: it is at ccccccc, which does not have aaaaaaa in it", hint: "targetRevision"},
		{name: "another branch, not refreshed yet", a: at(older, func(a *rollout.Application) { a.Spec.Source.Revision, a.Refreshed = "production", false }), text: "still at ccccccc"},
		{name: "another branch that has the commit", a: at(newer, func(a *rollout.Application) { a.Spec.Source.Revision = "production" }), soon: rollout.Live, late: rollout.Live, text: "live as part of bbbbbbb"},
		{name: "a tag that is about to be changed", a: at(older, func(a *rollout.Application) { a.Spec.Source.Revision = "v1" }), watch: func(w *rollout.Watch) { w.Declared = true }, late: rollout.Ended, text: "it follows v1"},
		{name: "another repository", a: at(wanted, func(a *rollout.Application) { a.Spec.Source.Repository = "https://me:pw@example.com/x.git" }), soon: rollout.Ended, late: rollout.Ended,
			text: "it is not deployed from the repository of the commit, but from https://example.com/x.git"},
		{name: "another repository, which is about to be changed", a: at(wanted, func(a *rollout.Application) { a.Spec.Source.Repository = "x" }), watch: func(w *rollout.Watch) { w.Declared = true }, late: rollout.Ended, text: "but from x"},
		{name: "a branch that was not found", a: at("main"), text: "not compared with the cluster yet"},
		{name: "a hook", a: at(wanted, outOfSync, failed(wanted), func(a *rollout.Application) {
			a.Status.OperationState.SyncResult.Resources = []rollout.Resource{{Kind: "Deployment", Name: "web", Status: "Synced", Phase: "Running"},
				{Kind: "Job", Name: "migrate", Hook: "PreSync", Phase: "Failed", Message: "Job has reached the specified backoff limit"}}
		}), soon: rollout.Ended, late: rollout.Ended, text: "the sync of aaaaaaa failed: PreSync hook Job/migrate: Job has reached the specified backoff limit"},
		{name: "terminated", a: at(wanted, func(a *rollout.Application) { a.Status.OperationState.Phase = "Terminating" }), text: "the sync is being terminated"},
		{name: "a hook failed, and a newer commit changes nothing", a: at(newer, failed(wanted)), soon: rollout.Ended, late: rollout.Ended, text: "the sync of aaaaaaa failed"},
		{name: "a chart", a: at("1.2.3", sources(chart)), soon: rollout.Ended, late: rollout.Ended, text: "but from chart web", hint: "imgbump list"},
		{name: "a chart without a checkout", a: at("1.2.3", sources(chart)), watch: func(w *rollout.Watch) { w.Place = nil }, soon: rollout.Ended, late: rollout.Ended, text: "but from chart web"},
		{name: "hydrated", a: at(wanted, sources(), func(a *rollout.Application) { a.Spec.Hydrator = &struct{}{} }), soon: rollout.Ended, late: rollout.Ended, text: "hydrated"},
		{name: "a chart with values", a: at("", sources(chart, values), revisions("1.2.3", wanted)), soon: rollout.Live, late: rollout.Live, text: "live"},
		{name: "a chart with older values", a: at("", sources(chart, values), revisions("1.2.3", older)), text: "still at ccccccc"},
		{name: "two folders, one behind", a: at("", sources(values, values), revisions(wanted, older)), text: "still at ccccccc"},
		{name: "two folders", a: at("", sources(values, values), revisions(wanted, newer)), soon: rollout.Live, late: rollout.Live, text: "live"},
		{name: "a tag beside the branch", a: at("", sources(rollout.Source{Repository: "r", Revision: "v1"}, values), revisions(older, wanted)), soon: rollout.Live, late: rollout.Live, text: "live"},
		{name: "without a checkout", a: at("", sources(chart, rollout.Source{Repository: "elsewhere"}, values), revisions("1.2.3", older, wanted)), watch: func(w *rollout.Watch) { w.Place = nil }, soon: rollout.Live, late: rollout.Live, text: "live"},
		{name: "pushed over", a: at(other), soon: rollout.Ended, late: rollout.Ended, text: "it is at ddddddd, which aaaaaaa is no part of"},
		{name: "pushed over, not refreshed yet", a: at(other, func(a *rollout.Application) { a.Refreshed = false }), text: "still at ddddddd"},
		{name: "an unknown commit", a: at(strings.Repeat("e", 40)), text: "not known here"},
		{name: "being deleted", a: at(wanted, func(a *rollout.Application) { a.Metadata.Deletion = new(time.Time) }), soon: rollout.Ended, late: rollout.Ended, text: "it is being deleted"},
		{name: "declared otherwise since", a: at(wanted, func(a *rollout.Application) {
			a.Status.Sync.Compared.Source = *a.Spec.Source
			a.Spec.Source.Kustomize.Images = []string{"web:2"}
		}), text: "not compared with the cluster yet"},
		{name: "declared otherwise since, elsewhere in the source", a: at(wanted, declared(`{"repoURL":"r","targetRevision":"main","helm":{"valuesObject":{"tag":"2"}}}`,
			`{"repoURL":"r","targetRevision":"main","helm":{"valuesObject":{"tag":"1"}}}`)), text: "not compared with the cluster yet"},
		{name: "declared with what is empty", a: at(wanted, declared(`{"repoURL":"r","targetRevision":"main","directory":{"recurse":false},"kustomize":{"images":[],"x":{}},"ref":""}`,
			`{"repoURL":"r","targetRevision":"main"}`)), soon: rollout.Live, late: rollout.Live, text: "live"},
		{name: "an operation without a state", a: at(wanted, func(a *rollout.Application) {
			a.Operation, a.Status.OperationState = &rollout.Operation{}, nil
		}), text: "about to be synced"},
		{name: "an older operation", a: at(wanted, outOfSync, func(a *rollout.Application) {
			a.Operation = &rollout.Operation{}
			a.Status.OperationState.Phase, a.Status.OperationState.RetryCount, a.Status.OperationState.Message = "Running", 4, "x"
			a.Status.OperationState.Operation.Sync.Revision = older
		}), text: "still syncing ccccccc: x", hint: "terminate-op web"},
		{name: "the sync of the commit failed, the next one has not begun", a: at(newer, outOfSync, failed(wanted)), late: rollout.Ended, text: "the sync of aaaaaaa failed: one or more tasks failed"},
		{name: "a hook failed after all was applied", a: at(wanted, failed(wanted)), soon: rollout.Ended, late: rollout.Ended, text: "the sync of aaaaaaa failed"},
		{name: "reverted after a failure", a: at(wanted, failed(older)), soon: rollout.Live, late: rollout.Live, text: "live: the commit changes nothing of it; the sync of ccccccc before had failed"},
		{name: "a dry run", a: at(wanted, func(a *rollout.Application) { a.Status.OperationState.Operation.Sync.DryRun = true }), late: rollout.Live, text: "live: the commit changes nothing of it"},
		{name: "a dry run, and something to do", a: at(wanted, outOfSync, func(a *rollout.Application) { a.Status.OperationState.Operation.Sync.DryRun = true }), late: rollout.Ended, text: "out of sync, and nothing syncs it"},
		{name: "to be pruned", a: at(wanted, outOfSync, func(a *rollout.Application) {
			a.Status.Resources = []rollout.Resource{{Kind: "Service", Name: "old", Status: "OutOfSync", Pruning: true}, {Kind: "Deployment", Name: "web", Status: "Synced"}}
		}), late: rollout.Ended, text: "out of sync: Service/old is in no manifest any more", hint: "automated.prune"},
		{name: "a sync error", a: at(wanted, outOfSync, func(a *rollout.Application) {
			a.Status.OperationState, a.Status.Conditions = nil, []rollout.Condition{{Type: "SyncError", Message: "Failed last sync attempt"}}
		}), late: rollout.Ended, text: "out of sync: SyncError: Failed last sync attempt"},
		{name: "a sync error of before", a: at(wanted, func(a *rollout.Application) {
			a.Status.Conditions = []rollout.Condition{{Type: "SyncError", Message: "x"}}
		}), text: "SyncError: x"},
		{name: "no error", a: at(wanted, func(a *rollout.Application) {
			a.Status.Conditions = []rollout.Condition{{Type: "SharedResourceWarning"}}
		}), soon: rollout.Live, late: rollout.Live, text: "live"},
		{name: "a suspended job", a: at(wanted, func(a *rollout.Application) {
			a.Status.Health.Status = "Suspended"
			a.Status.Resources = []rollout.Resource{{Kind: "CronJob", Name: "nightly", Health: &rollout.Health{Status: "Suspended"}}}
		}), soon: rollout.Ended, late: rollout.Ended, text: "suspended: CronJob/nightly is suspended", hint: "ignore-healthcheck"},
		{name: "a rollout's pause", a: at(wanted, suspended, reads(canary(1, `"10m"`))), text: "paused: Rollout/web until 10:10:00Z, at step 2 of 3"},
		{name: "a rollout that waits for a person", a: at(wanted, suspended, reads(canary(1, ""))),
			soon: rollout.Ended, late: rollout.Ended, text: "it waits for a promotion: Rollout/web is suspended", hint: "promote"},
		{name: "a rollout that nobody read", a: at(wanted, suspended), soon: rollout.Ended, late: rollout.Ended, text: "it waits for a promotion"},
		{name: "a rollout that cannot be read now", a: at(wanted, suspended, func(a *rollout.Application) {
			a.Rollouts = []rollout.Rollout{{Resource: a.Status.Resources[0], Err: errors.New("it answers 503\x1b[2J")}}
		}), text: "suspended, and Rollout/web cannot be read: it answers 503 [2J"},
		{name: "a rollout's pause, and a job", a: at(wanted, suspended, reads(canary(1, `"10m"`)), func(a *rollout.Application) {
			a.Status.Resources = append(a.Status.Resources, rollout.Resource{Kind: "CronJob", Name: "web", Health: &rollout.Health{Status: "Suspended"}})
		}), soon: rollout.Ended, late: rollout.Ended, text: "suspended"},
		{name: "pauses of rollouts whose health is not told", a: at(wanted, suspended, func(a *rollout.Application) {
			a.Status.Resources[0].Health = nil
			a.Status.Resources = append(a.Status.Resources, rollout.Resource{Kind: "Service", Name: "web"},
				rollout.Resource{Group: "argoproj.io", Kind: "Rollout", Name: "well", Health: &rollout.Health{Status: "Healthy"}},
				rollout.Resource{Group: "argoproj.io", Kind: "Rollout", Name: "on"})
		}, reads(canary(1, "600"), []byte("{}"))), text: "paused: Rollout/web until 10:10:00Z, at step 2 of 3"},
		{name: "a rollout that goes on", a: at(wanted, suspended, reads([]byte("{}"))), text: "paused: Rollout/web"},
		{name: "no rollout goes on", a: at(wanted, suspended, func(a *rollout.Application) { a.Status.Resources[0].Health = nil }, reads([]byte("{}"))),
			soon: rollout.Ended, late: rollout.Ended, text: "it waits for a promotion"},
		{name: "an application of its own", a: at(wanted, suspended, func(a *rollout.Application) {
			child := a.Status.Resources[0]
			child.Kind, child.Name, child.Namespace = "Application", "api", "argocd"
			a.Status.Resources = append(a.Status.Resources, child)
		}, reads(canary(1, "600"))), text: "paused: Rollout/web until 10:10:00Z, at step 2 of 3; Application/api"},
		{name: "compared before the end of the operation", a: at(wanted, func(a *rollout.Application) { a.Status.OperationState.FinishedAt = time.Now() }), text: "to be compared once more"},
		{name: "a window", a: at(wanted, outOfSync, func(a *rollout.Application) { a.Status.OperationState = nil }), watch: func(w *rollout.Watch) {
			w.Forbids = func() string { return "a window\x1b[2J denies it" }
		}, late: rollout.Ended, text: "out of sync: a window [2J denies it", hint: "AppProject default"},
		{name: "switched off", a: at(wanted, outOfSync, func(a *rollout.Application) { a.Spec.SyncPolicy.Automated.Enabled = new(bool) }), late: rollout.Ended, text: "not synced automatically"},
		{name: "a hostile message", a: at(wanted, func(a *rollout.Application) {
			a.Status.Conditions = []rollout.Condition{{Type: "ComparisonError", Message: "Get \"https://t0ken@git.example.com/a?key=t0ken\":\n::error::\x1b]0;x\x07\u202e " + strings.Repeat("x", 999)}}
		}), late: rollout.Ended, text: `ComparisonError: Get "https://git.example.com/a?...": ::error:: ]0;x xxx`},
	} {
		w := follows()
		if tt.watch != nil {
			tt.watch(w)
		}
		start := time.Now()
		w.Look(start, tt.a)
		soon := w.Look(start.Add(2*time.Second), tt.a)
		w.Look(start.Add(time.Minute), tt.a)
		late := w.Look(start.Add(time.Minute+2*time.Second), tt.a)
		if soon.State != tt.soon || late.State != tt.late || !strings.Contains(late.Text, tt.text) || !strings.Contains(late.Hint, tt.hint) || len(late.Text) > 400 {
			t.Errorf("%s: soon %+v\nlate %+v\nwant %d, %d, %q, %q", tt.name, soon, late, tt.soon, tt.late, tt.text, tt.hint)
		}
		if text := fmt.Sprint(soon, late); strings.Contains(text, "t0ken") || strings.ContainsAny(text, "\n\x1b\u202e") {
			t.Errorf("%s: %q", tt.name, text)
		}
		if late.Behind != (late.State == rollout.Waiting && (w.Revision(tt.a) != wanted || late.Text == "SyncError: x" || strings.HasPrefix(late.Text, "synced, to be") || strings.HasPrefix(late.Text, "not compared"))) {
			t.Errorf("%s: behind %t: %s", tt.name, late.Behind, late.Text)
		}
	}
}

// TestFresh ends for what an application is at only when Argo CD has compared it since it was asked to.
func TestFresh(t *testing.T) {
	stale := at(other, func(a *rollout.Application) { a.Refreshed = false })
	marked := at(other, func(a *rollout.Application) {
		a.Refreshed, a.Metadata.Annotations = false, map[string]string{"argocd.argoproj.io/refresh": "normal"}
	})
	compared := at(other, func(a *rollout.Application) { a.Refreshed, a.Status.ReconciledAt = false, time.Now() })
	for i, looks := range [][]*rollout.Application{{stale, marked, stale}, {stale, compared}, {stale, at(other)}} {
		w := follows()
		for j, a := range looks {
			v := w.Look(time.Now(), a)
			if ended := v.State == rollout.Ended; ended != (j == len(looks)-1) {
				t.Errorf("%d, %d: %+v", i, j, v)
			}
		}
	}
}

// TestUnanswered tells of an Argo CD that does not look, over the API of its cluster.
func TestUnanswered(t *testing.T) {
	for _, revision := range []string{older, wanted} {
		w, start := follows(), time.Now()
		marked := at(revision, func(a *rollout.Application) {
			a.Refreshed, a.Metadata.Annotations = false, map[string]string{"argocd.argoproj.io/refresh": "normal"}
		})
		if v := w.Look(start, marked); v.Hint != "" || !strings.Contains(v.Text, "being refreshed") {
			t.Errorf("at once: %+v", v)
		}
		w.Look(start.Add(time.Second), marked)
		if v := w.Look(start.Add(30*time.Second), marked); v.State != rollout.Waiting || !strings.Contains(v.Hint, "application controller") {
			t.Errorf("after a while: %+v", v)
		}
	}
}

// TestRows begins anew with how long something has been so when it was otherwise in between.
func TestRows(t *testing.T) {
	w, start := follows(), time.Now()
	out := at(wanted, outOfSync, func(a *rollout.Application) { a.Status.OperationState = nil })
	failing := at("main", func(a *rollout.Application) {
		a.Status.Conditions = []rollout.Condition{{Type: "ComparisonError", Message: "x"}}
	})
	w.Look(start, out)
	w.Look(start.Add(time.Second), failing)
	if v := w.Look(start.Add(20*time.Second), out); v.State != rollout.Waiting {
		t.Errorf("out of sync, an error, out of sync: %+v", v)
	}
	marked := at(wanted, outOfSync, func(a *rollout.Application) {
		a.Status.OperationState, a.Metadata.Annotations = nil, map[string]string{"argocd.argoproj.io/refresh": "normal"}
	})
	w.Look(start.Add(25*time.Second), marked)
	if v := w.Look(start.Add(30*time.Second), out); v.State != rollout.Ended {
		t.Errorf("out of sync, refreshed, out of sync: %+v", v)
	}
}
