package rollout_test

import (
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/argotest"
	"github.com/ksera524/imgbump/internal/rollout"
)

// TestFollowsItself looks at a child that need not come to the commit: that of a chart has a version, and one that is in
// trouble may be about to be changed.
func TestFollowsItself(t *testing.T) {
	start := time.Now()
	w := &rollout.Watch{}
	chart := argotest.State{Sync: "Synced", Health: "Healthy", Rev: "1.2.3"}.Application("chart")
	w.Look(start, chart)
	if v := w.Look(start.Add(2*time.Second), chart); v.State != rollout.Live {
		t.Errorf("a chart: %+v", v)
	}

	w = &rollout.Watch{}
	failing := argotest.State{Sync: "Unknown", Health: "Healthy", Rev: "main", Cond: []string{"ComparisonError: x"}}.Application("chart")
	if v := w.Look(start, failing); v.State != rollout.Waiting || !v.Behind {
		t.Errorf("not compared: %+v", v)
	}

	w = &rollout.Watch{}
	hydrated := argotest.State{Sync: "Synced", Health: "Healthy", Rev: "1111111"}.Application("hydrated")
	hydrated.Status.Sync.Compared.Source, hydrated.Spec.Source, hydrated.Spec.Hydrator = *hydrated.Spec.Source, nil, &struct{}{}
	w.Look(start, hydrated)
	if v := w.Look(start.Add(2*time.Second), hydrated); v.State != rollout.Live {
		t.Errorf("hydrated: %+v", v)
	}

	w = &rollout.Watch{}
	suspended := argotest.State{Sync: "Synced", Health: "Suspended", Rev: "1.2.3"}.Application("chart")
	if v := w.Look(start, suspended); v.State != rollout.Waiting {
		t.Errorf("suspended at first: %+v", v)
	}
	if v := w.Look(start.Add(11*time.Second), suspended); v.State != rollout.Ended {
		t.Errorf("suspended after a while: %+v", v)
	}
}

// TestBehind sees that a root which has not come to the commit is not ended by a child: the commit may change it.
func TestBehind(t *testing.T) {
	children := map[string]rollout.Verdict{"web": {State: rollout.Ended, Text: "degraded"}}
	if v := rollout.Together(rollout.Verdict{Text: "still at 1", Behind: true}, []string{"web"}, children); v.State != rollout.Waiting || v.Text != "still at 1" {
		t.Errorf("behind: %+v", v)
	}
	if v := rollout.Together(rollout.Verdict{Text: "syncing"}, []string{"web"}, children); v.State != rollout.Ended || v.Text != "web: degraded" {
		t.Errorf("at the commit: %+v", v)
	}
}
