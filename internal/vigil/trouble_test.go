package vigil_test

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ksera524/imgbump/internal/argotest"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/rollout"
	"github.com/ksera524/imgbump/internal/vigil"
)

const (
	former = "1111111111111111111111111111111111111111"
	wanted = "2222222222222222222222222222222222222222"
)

// app is an application that is healthy at a revision.
func app(revision string, change ...func(*rollout.Application)) *rollout.Application {
	a := argotest.State{Sync: "Synced", Health: "Healthy", Rev: revision, Op: "Succeeded", Oprev: revision}.Application("web")
	for _, c := range change {
		c(a)
	}
	return a
}

func outOfSync(a *rollout.Application) {
	a.Status.Sync.Status = "OutOfSync"
	a.Status.OperationState = nil
	a.Spec.SyncPolicy.Automated = &struct {
		Enabled *bool `json:"enabled"`
	}{}
}

// TestTrouble waits for what does not come, or comes in spite of it.
func TestTrouble(t *testing.T) {
	down := &fault.Error{What: "ask", Err: errors.New("connection refused")}
	for _, tt := range []struct {
		name             string
		states           []moment
		failing          func(time.Duration) error
		windows          string
		state            rollout.State
		text, hint, err  string
		earliest, latest time.Duration
	}{
		{name: "it is live already", states: []moment{{0, app(wanted)}}, state: rollout.Live, text: "live", earliest: time.Second, latest: 2 * time.Second},
		{name: "it never comes to the commit", states: []moment{{0, app(former)}}, text: "still at 1111111", earliest: 10 * time.Minute, latest: 10 * time.Minute},
		{name: "a sync window", states: []moment{{0, app(wanted, outOfSync)}}, windows: "a sync window denies it", state: rollout.Ended,
			text: "out of sync: a sync window denies it", hint: "AppProject default", earliest: 10 * time.Second, latest: 16 * time.Second},
		{name: "it is tried again", states: []moment{{0, app(wanted, func(a *rollout.Application) {
			a.Status.OperationState.Phase, a.Status.OperationState.RetryCount = "Running", 9
		})}}, text: "syncing, failed 9 times", earliest: 10 * time.Minute, latest: 10 * time.Minute},
		{name: "another branch", states: []moment{{0, app(former, func(a *rollout.Application) { a.Spec.Source.Revision = "production" })}}, state: rollout.Ended,
			text: "it follows production, and not main", latest: time.Second},
		{name: "another repository", states: []moment{{0, app(former, func(a *rollout.Application) { a.Spec.Source.Repository = "other" })}}, state: rollout.Ended,
			text: "it is not deployed from the repository of the commit, but from other", latest: time.Second},
		{name: "it is deleted", states: []moment{{0, app(former)}, {7 * time.Second, nil}}, state: rollout.Ended, text: "it was deleted", earliest: 7 * time.Second, latest: 8 * time.Second},
		{name: "there is none", err: rollout.ErrMissing.Error(), text: "not seen yet"},
		{name: "the server is down", states: []moment{{0, app(wanted)}}, failing: func(time.Duration) error { return down }, err: "ask: connection refused", text: "not seen yet"},
		{name: "the server goes down and comes back", states: []moment{{0, app(former)}, {3 * time.Minute, app(wanted)}}, state: rollout.Live, text: "live",
			failing: func(since time.Duration) error {
				if since > 5*time.Second && since < 200*time.Second {
					return down
				}
				return nil
			}, earliest: 3 * time.Minute, latest: 220 * time.Second},
		{name: "the server goes down for good", states: []moment{{0, app(former)}}, text: "asking again: ask: connection refused",
			failing: func(since time.Duration) error {
				if since > 5*time.Second {
					return down
				}
				return nil
			}, earliest: 10 * time.Minute, latest: 10 * time.Minute},
		{name: "the server is busy at first", states: []moment{{0, app(wanted)}}, state: rollout.Live, text: "live", earliest: 21 * time.Second, latest: 23 * time.Second,
			failing: func(since time.Duration) error {
				if since < 20*time.Second {
					return &rollout.Later{After: 20 * time.Second, Err: errors.New("answers 429")}
				}
				return nil
			}},
		{name: "the server stays busy", failing: func(time.Duration) error { return &rollout.Later{After: time.Hour, Err: errors.New("answers 503")} },
			err: "answers 503", text: "asking again: answers 503", earliest: time.Minute, latest: time.Minute},
		{name: "nobody answers", failing: func(time.Duration) error { return &rollout.Later{Err: down} }, err: "ask: connection refused", text: "not seen yet"},
		{name: "the token expires", states: []moment{{0, app(former)}}, err: "expired", text: "still at 1111111",
			failing: func(since time.Duration) error {
				if since > time.Minute {
					return &fault.Error{Kind: fault.Denied, Err: errors.New("expired")}
				}
				return nil
			}, earliest: time.Minute, latest: 70 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &argo{states: map[string][]moment{"web": tt.states}, failing: tt.failing, windows: tt.windows}
				all, after, told, err := a.keep(t, wanted, []string{former, wanted}, "web")
				if len(all) != 1 || all[0].State != tt.state || !strings.HasPrefix(all[0].Text, tt.text) || !strings.Contains(all[0].Hint, tt.hint) || after < tt.earliest || after > tt.latest {
					t.Errorf("after %v: %+v; told:\n%s", after, all, strings.Join(told, "\n"))
				}
				if fmt.Sprint(err) != cmp.Or(tt.err, "<nil>") {
					t.Errorf("%v, want %q", err, tt.err)
				}
			})
		})
	}
}

// TestOneOfMany asks again about an application that could not be asked about at first, once another one could.
func TestOneOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &argo{states: map[string][]moment{"web": {{0, app(wanted)}}, "api": {{0, app(wanted)}}}, failing: func(since time.Duration) error {
			if since == time.Second { // when api is asked about first
				return &rollout.Later{Err: errors.New("connection reset")}
			}
			return nil
		}, slow: map[string]time.Duration{"api": time.Second}}
		all, after, told, err := a.keep(t, wanted, []string{former, wanted}, "web", "api")
		if err != nil || all[1].State != rollout.Live || after > 10*time.Second {
			t.Errorf("after %v: %+v, %v; told:\n%s", after, all, err, strings.Join(told, "\n"))
		}
	})
}

// TestHeldUp takes what is seen for what was so when it was seen, however long git had to be asked about another application.
func TestHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fetched = "3333333333333333333333333333333333333333"
		syncing := app(wanted, outOfSync, func(a *rollout.Application) { a.Status.OperationState = &rollout.OperationState{Phase: "Running"} })
		a := &argo{streams: "deaf", states: map[string][]moment{
			"web": {{0, app(wanted, outOfSync)}, {6500 * time.Millisecond, syncing}, {30 * time.Second, app(wanted)}},
			"api": {{0, app(former)}, {3 * time.Second, app(fetched)}, {40 * time.Second, app(wanted)}},
		}, fetches: map[string]time.Duration{fetched: 15 * time.Second}}
		all, after, told, err := a.keep(t, wanted, []string{former, wanted}, "web", "api")
		if err != nil || all[0].State != rollout.Live || all[1].State != rollout.Live {
			t.Errorf("after %v: %+v, %v; told:\n%s", after, all, err, strings.Join(told, "\n"))
		}
	})
}

// TestChanged looks once more at the children of a root that is live now: its sync may have changed them.
func TestChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changed := app(wanted, func(a *rollout.Application) { a.Status.Health.Status = "Progressing" })
		root := parent(wanted, "web")
		syncing := *root
		syncing.Status.OperationState = &rollout.OperationState{Phase: "Running"}
		a := &argo{streams: "stuck", slow: map[string]time.Duration{"web": 1500 * time.Millisecond}, states: map[string][]moment{
			"root": {{0, &syncing}, {4900 * time.Millisecond, root}},
			"web":  {{0, app(wanted)}, {4800 * time.Millisecond, changed}, {20 * time.Second, app(wanted)}},
		}}
		all, after, told, err := a.keep(t, wanted, []string{former, wanted}, "root")
		if err != nil || all[0].State != rollout.Live || after < 20*time.Second || after > 30*time.Second {
			t.Errorf("after %v: %+v, %v; told:\n%s", after, all, err, strings.Join(told, "\n"))
		}
	})
}

// TestUnchanged does not wait for the children's turn to do so.
func TestUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := parent(wanted, "web")
		syncing := *root
		syncing.Status.OperationState = &rollout.OperationState{Phase: "Running"}
		a := &argo{streams: "stuck", slow: map[string]time.Duration{"web": time.Second / 2}, states: map[string][]moment{
			"root": {{0, &syncing}, {14 * time.Second, root}}, "web": {{0, app(wanted)}},
		}}
		all, after, told, err := a.keep(t, wanted, []string{former, wanted}, "root")
		if err != nil || all[0].State != rollout.Live || after > 16500*time.Millisecond {
			t.Errorf("after %v: %+v, %v; told:\n%s", after, all, err, strings.Join(told, "\n"))
		}
	})
}

// TestRefreshes asks for a refresh every 20 seconds until Argo CD comes to the commit, and not then.
func TestRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &argo{states: map[string][]moment{"web": {{0, app(former)}, {50 * time.Second, app(wanted, func(a *rollout.Application) { a.Status.Health.Status = "Progressing" })}, {5 * time.Minute, app(wanted)}}}}
		_, after, _, _ := a.keep(t, wanted, []string{former, wanted}, "web")
		if after < 5*time.Minute || after > 302*time.Second || len(a.refreshs["web"]) != 3 || a.refreshs["web"][1] < 20*time.Second || a.asked["web"] > 70 {
			t.Errorf("after %v, refreshed at %v, asked %d times", after, a.refreshs["web"], a.asked["web"])
		}
	})
}

// TestCreated waits for what the commit creates: a child of the root, and one that is declared.
func TestCreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := app(wanted, func(a *rollout.Application) {
			a.Metadata.Name = "root"
			a.Status.Resources = []rollout.Resource{{Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "web", Wave: 3},
				{Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: "root"}} // it manages itself
		})
		a := &argo{states: map[string][]moment{"root": {{0, root}}, "web": {{0, nil}, {9 * time.Second, app(wanted)}}}}
		all, after, told, err := a.keep(t, wanted, []string{former, wanted}, "root")
		if err != nil || after < 10*time.Second || after > 20*time.Second || all[0].State != rollout.Live || len(all[0].Children) != 1 || all[0].Children[0].Wave != 3 {
			t.Errorf("after %v: %+v, %v\n%s", after, all, err, strings.Join(told, "\n"))
		}

		a = &argo{states: map[string][]moment{"root": {{0, root}}}}
		all, after, _, err = a.keep(t, wanted, []string{former, wanted}, "root")
		if err != nil || all[0].State != rollout.Ended || all[0].Text != "web: "+rollout.ErrMissing.Error() || all[0].Hint != "look at the name" || after > 80*time.Second {
			t.Errorf("after %v: %+v, %v", after, all, err)
		}
		if got := vigil.Pending(all); got != "root: web: not found, or not permitted" {
			t.Errorf("pending: %s", got)
		}
	})
}

// parent is a root with children, which Argo CD has compared with a commit.
func parent(revision string, children ...string) *rollout.Application {
	return app(revision, func(a *rollout.Application) {
		a.Metadata.Name = "root"
		for _, child := range children {
			a.Status.Resources = append(a.Status.Resources, rollout.Resource{Group: "argoproj.io", Kind: "Application", Namespace: "argocd", Name: child})
		}
	})
}

// TestPruned goes on when a child is deleted, of which the root knows a little later.
func TestPruned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &argo{states: map[string][]moment{
			"root": {{0, parent(former, "web", "old")}, {2 * time.Second, parent(wanted, "web", "old")}, {30 * time.Second, parent(wanted, "web")}},
			"web":  {{0, app(wanted)}}, "old": {{0, app(former)}, {5 * time.Second, nil}},
		}}
		all, after, told, err := a.keep(t, wanted, []string{former, wanted}, "root")
		if err != nil || all[0].State != rollout.Live || len(all[0].Children) != 1 || after < 30*time.Second || after > 40*time.Second {
			t.Errorf("after %v: %+v, %v\n%s", after, all, err, strings.Join(told, "\n"))
		}
	})
}

// TestChildren sees what each of a root's children must come to.
func TestChildren(t *testing.T) {
	from := func(repository, revision, at string) *rollout.Application {
		return app(at, func(a *rollout.Application) { a.Spec.Source.Repository, a.Spec.Source.Revision = repository, revision })
	}
	for _, tt := range []struct {
		name    string
		nowhere bool
		child   *rollout.Application
		state   rollout.State
	}{
		{"of the branch", false, from("r", "main", former), rollout.Waiting},
		{"of the branch, without a checkout", true, from("r.git", "main", former), rollout.Waiting},
		{"of HEAD", false, from("r", "HEAD", former), rollout.Waiting},
		{"of another branch", false, from("r", "stable", former), rollout.Live},
		{"of another repository", false, from("x", "main", former), rollout.Live},
		{"of another repository, without a checkout", true, from("x", "main", former), rollout.Live},
		{"a chart", true, app("1.2.3", func(a *rollout.Application) {
			a.Spec.Source = &rollout.Source{Repository: "r", Revision: "main", Chart: "web"}
		}), rollout.Live},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &argo{nowhere: tt.nowhere, states: map[string][]moment{"root": {{0, parent(wanted, "web", "-bad\n")}}, "web": {{0, tt.child}}}}
			all, after, told, err := a.keep(t, wanted, []string{former, wanted}, "root")
			if err != nil || all[0].State != tt.state {
				t.Errorf("%s: after %v: %+v, %v\n%s", tt.name, after, all, err, strings.Join(told, "\n"))
			}
			if tt.state == rollout.Waiting && len(a.refreshs["web"]) < 20 {
				t.Errorf("%s: refreshed at %v", tt.name, a.refreshs["web"])
			}
		})
	}
}

// TestAnnounced asks for no refresh when Argo CD was told in another way, unless that does not help: webhooks leave out
// applications whose files they do not name.
func TestAnnounced(t *testing.T) {
	for came, refreshes := range map[time.Duration]int{5 * time.Second: 0, 50 * time.Second: 2} {
		synctest.Test(t, func(t *testing.T) {
			a := &argo{announced: true, states: map[string][]moment{"web": {{0, app(former)}, {came, app(wanted)}}}}
			all, after, _, err := a.keep(t, wanted, []string{former, wanted}, "web")
			if err != nil || all[0].State != rollout.Live || after > came+7*time.Second || len(a.refreshs["web"]) != refreshes {
				t.Errorf("after %v: %+v, %v, refreshed at %v", after, all, err, a.refreshs["web"])
			}
		})
	}
}
