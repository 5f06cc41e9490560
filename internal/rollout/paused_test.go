package rollout_test

import (
	"fmt"
	"testing"

	"github.com/ksera524/imgbump/internal/rollout"
)

// suspended gives an application a Rollout that is.
func suspended(a *rollout.Application) {
	a.Status.Health.Status = "Suspended"
	a.Status.Resources = []rollout.Resource{{Group: "argoproj.io", Kind: "Rollout", Name: "web", Health: &rollout.Health{Status: "Suspended"}}}
}

// reads gives an application its Rollouts as they are in the cluster.
func reads(objects ...[]byte) func(a *rollout.Application) {
	return func(a *rollout.Application) {
		for i, r := range a.Pausing() {
			until, resumes := rollout.Resumes(objects[i])
			a.Rollouts = append(a.Rollouts, rollout.Rollout{Resource: r, Until: until, Resumes: resumes})
		}
	}
}

// canary is a Rollout at a step of three, of which the second is a pause since ten o'clock, for a duration or, without one,
// for ever.
func canary(step int, duration string) []byte {
	if duration != "" {
		duration = `"duration": ` + duration
	}
	return fmt.Appendf(nil, `{"spec": {"strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {%s}}, {"setWeight": 40}]}}},
		"status": {"currentStepIndex": %d, "controllerPause": true, "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-01-02T10:00:00Z"}]}}`, duration, step)
}

func TestResumes(t *testing.T) {
	blueGreen := func(strategy string) []byte {
		return fmt.Appendf(nil, `{"spec": {"strategy": {"blueGreen": {%s}}},
			"status": {"pauseConditions": [{"reason": "BlueGreenPause", "startTime": "2026-01-02T10:00:00Z"}]}}`, strategy)
	}
	for _, tt := range []struct {
		name    string
		rollout []byte
		until   string
		ok      bool
	}{
		{"minutes", canary(1, `"5m"`), "until 10:05:00Z, at step 2 of 3", true},
		{"seconds in a text", canary(1, `"90"`), "until 10:01:30Z, at step 2 of 3", true},
		{"seconds", canary(1, "3600"), "until 11:00:00Z, at step 2 of 3", true},
		{"until another day", canary(1, `"14h"`), "until 2026-01-03 00:00:00Z, at step 2 of 3", true},
		{"more seconds than there are", canary(1, "1e300"), "", false},
		{"for ever", canary(1, ""), "", false},
		{"no duration", canary(1, `"soon"`), "", false},
		{"the step is none of a pause", canary(0, "60"), "", false},
		{"the step is none", canary(3, "60"), "", false},
		{"a negative step", canary(-1, "60"), "", false},
		{"promoted by itself", blueGreen(`"autoPromotionSeconds": 30`), "until it is promoted at 10:00:30Z", true},
		{"promoted by a person", blueGreen(`"autoPromotionEnabled": false, "autoPromotionSeconds": 30`), "", false},
		{"paused by a person", []byte(`{"spec": {"paused": true}}`), "", false},
		{"inconclusive", []byte(`{"status": {"pauseConditions": [{"reason": "InconclusiveAnalysisRun"}]}}`), "", false},
		{"not paused", []byte(`{"status": {"phase": "Progressing"}}`), "", true},
		{"not known", nil, "", false},
		{"something else", []byte(`[]`), "", false},
	} {
		until, ok := rollout.Resumes(tt.rollout)
		if ok != tt.ok || ok && until != tt.until {
			t.Errorf("%s: %q, %v", tt.name, until, ok)
		}
	}
}
