package vigil_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ksera524/imgbump/internal/rollout"
)

// pausing is an application that a number of Rollouts makes suspended.
func pausing(rollouts int) func(*rollout.Application) {
	return func(a *rollout.Application) {
		a.Status.Health.Status = "Suspended"
		r := rollout.Resource{Group: "argoproj.io", Kind: "Rollout", Name: "web", Health: &rollout.Health{Status: "Suspended"}}
		a.Status.Resources = slices.Repeat([]rollout.Resource{r}, rollouts)
	}
}

const timed = `{"spec": {"strategy": {"canary": {"steps": [{"pause": {"duration": 600}}]}}},
	"status": {"currentStepIndex": 0, "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2000-01-01T00:00:00Z"}]}}`

// A Rollout that cannot be read for a while ends nothing, and one that is read slowly holds nobody else up.
func TestPauses(t *testing.T) {
	for _, streams := range []string{"", "deaf"} {
		synctest.Test(t, func(t *testing.T) {
			a := &argo{streams: streams, states: map[string][]moment{
				"web": {{0, app(wanted, pausing(1))}, {2 * time.Minute, app(wanted)}},
				"api": {{0, app(wanted)}},
			}}
			a.rollout = func(ctx context.Context, _ string, _ rollout.Resource) ([]byte, error) {
				if since := time.Since(a.begun); since > 30*time.Second && since < time.Minute {
					<-ctx.Done()
					return nil, errors.New("it does not answer in time")
				}
				return []byte(timed), nil
			}
			all, after, told, err := a.keep(t, wanted, []string{wanted}, "web", "api")
			if err != nil || all[0].State != rollout.Live || after < 2*time.Minute || after > 140*time.Second {
				t.Errorf("after %v: %+v, %v", after, all, err)
			}
			text := strings.Join(told, "\n")
			if !strings.Contains(text, "web: paused: Rollout/web until 00:10:00Z, at step 1 of 1") || !strings.Contains(text, "web: suspended, and Rollout/web cannot be read: it does not answer in time") {
				t.Errorf("streams %q: told\n%s", streams, text)
			}
		})
	}
}

func TestPausesReadSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &argo{streams: "deaf", states: map[string][]moment{"web": {{0, app(wanted, pausing(100))}, {100 * time.Second, app(wanted)}}, "api": {{0, app(wanted)}}}}
		asked := 0
		a.rollout = func(ctx context.Context, _ string, _ rollout.Resource) ([]byte, error) {
			asked++
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(10 * time.Second):
				return []byte(timed), nil
			}
		}
		all, after, told, err := a.keep(t, wanted, []string{wanted}, "web", "api")
		if err != nil || all[0].State != rollout.Live || after > 2*time.Minute || asked > 14 {
			t.Errorf("after %v, asked %d times: %+v, %v", after, asked, all, err)
		}
		if i := slices.IndexFunc(told, func(s string) bool { return strings.HasSuffix(s, "api: live") }); i < 0 || !strings.HasPrefix(told[i], "1.1 ") {
			t.Errorf("told\n%s", strings.Join(told, "\n"))
		}
	})
}
