package rollout

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object is what counts of a Rollout (argoproj.io/v1alpha1), the resource of Argo Rollouts. Argo CD calls it suspended
// whenever it pauses: for a time, or until a person promotes it.
type object struct {
	Spec struct {
		Paused   bool `json:"paused"`
		Strategy struct {
			Canary struct {
				Steps []struct {
					Pause *struct {
						Duration any `json:"duration"` // seconds, or a text with a unit; none is for ever
					} `json:"pause"`
				} `json:"steps"`
			} `json:"canary"`
			BlueGreen struct {
				AutoPromotion *bool `json:"autoPromotionEnabled"` // true unless it is said
				Seconds       int32 `json:"autoPromotionSeconds"`
			} `json:"blueGreen"`
		} `json:"strategy"`
	} `json:"spec"`
	Status struct {
		Step   int     `json:"currentStepIndex"`
		Pauses []pause `json:"pauseConditions"`
	} `json:"status"`
}

// pause is why a Rollout is paused.
type pause struct {
	Reason string    `json:"reason"`
	Start  time.Time `json:"startTime"`
}

// Resumes tells from a Rollout, in JSON, until when it pauses, "" when it goes on already. It is not ok when it waits for a
// person, or when that cannot be told.
func Resumes(rollout []byte) (until string, ok bool) {
	var o object
	if json.Unmarshal(rollout, &o) != nil || o.Spec.Paused {
		return "", false
	}
	var all []string
	for _, p := range o.Status.Pauses {
		text, ok := o.until(p)
		if !ok {
			return "", false
		}
		all = append(all, text)
	}
	return Clean(strings.Join(all, ", ")), true
}

// until is when a pause ends by itself, if it does.
func (o object) until(p pause) (text string, ok bool) {
	step, steps := o.Status.Step, o.Spec.Strategy.Canary.Steps
	promotion := o.Spec.Strategy.BlueGreen
	switch {
	case p.Reason == "CanaryPauseStep" && step >= 0 && step < len(steps) && steps[step].Pause != nil:
		after, ok := lasting(steps[step].Pause.Duration)
		return fmt.Sprintf("until %s, at step %d of %d", p.end(after), step+1, len(steps)), ok
	case p.Reason == "BlueGreenPause" && (promotion.AutoPromotion == nil || *promotion.AutoPromotion):
		return "until it is promoted at " + p.end(time.Duration(promotion.Seconds)*time.Second), true
	}
	return "", false
}

// end is when a pause is over, with the day when that is not the one it began.
func (p pause) end(after time.Duration) string {
	at := p.Start.Add(after).UTC()
	if at.Format(time.DateOnly) != p.Start.UTC().Format(time.DateOnly) {
		return at.Format("2006-01-02 15:04:05Z")
	}
	return at.Format("15:04:05Z")
}

// lasting is how long a step's pause lasts.
func lasting(duration any) (d time.Duration, ok bool) {
	switch d := duration.(type) {
	case float64:
		return time.Duration(d) * time.Second, d <= math.MaxInt32
	case string:
		if seconds, err := strconv.ParseInt(d, 10, 32); err == nil {
			return time.Duration(seconds) * time.Second, true
		}
		after, err := time.ParseDuration(d)
		return after, err == nil
	}
	return 0, false
}

// Rollout is how one of an application's pauses.
type Rollout struct {
	Resource
	Until   string
	Resumes bool  // by itself
	Err     error // why it cannot be read now
}

// Pausing are the Rollouts that a suspended application may wait for.
func (a *Application) Pausing() []Resource {
	if a.Status.Health.Status != "Suspended" || a.Status.Sync.Status != "Synced" {
		return nil
	}
	return slices.DeleteFunc(a.stopped(), func(r Resource) bool { return !r.isRollout() })
}

// stopped are the resources that may make an application suspended. Argo CD may keep the health of resources to itself.
func (a *Application) stopped() []Resource {
	return slices.DeleteFunc(slices.Clone(a.Status.Resources), func(r Resource) bool {
		if r.Health == nil {
			return !r.isRollout()
		}
		return r.Health.Status != "Suspended"
	})
}

func (r Resource) isRollout() bool { return r.Group == "argoproj.io" && r.Kind == "Rollout" }

// suspended is the verdict on an application that waits for somebody, or for what goes on by itself.
func (a *Application) suspended() Verdict {
	if text := a.pausing(); text != "" {
		return Verdict{Text: text}
	}
	v := Verdict{State: Ended, Text: "suspended: it waits for a promotion" + a.unhealthy("Suspended"),
		Hint: "resume the rollout, for example: kubectl argo rollouts promote NAME"}
	at := slices.IndexFunc(a.Status.Resources, func(r Resource) bool { return r.Health != nil && r.Health.Status == "Suspended" })
	if at >= 0 && a.Status.Resources[at].Kind == "CronJob" {
		v.Text = "suspended" + a.unhealthy("Suspended")
		v.Hint = `is it meant to be? Its annotation argocd.argoproj.io/ignore-healthcheck: "true" leaves it out of the application's health`
	}
	return v
}

// pausing names what a suspended application waits for, when all of it goes on by itself, or may.
func (a *Application) pausing() string {
	var all []string
	for _, r := range a.stopped() {
		if r.isChild() { // whose own verdict counts
			all = append(all, r.String())
			continue
		}
		at := slices.IndexFunc(a.Rollouts, func(x Rollout) bool {
			return x.Group == r.Group && x.Kind == r.Kind && x.Namespace == r.Namespace && x.Name == r.Name
		})
		if at < 0 {
			return ""
		}
		read := a.Rollouts[at]
		if read.Err != nil {
			return "suspended, and " + Clean(r.String()) + " cannot be read: " + Clean(read.Err.Error())
		}
		switch {
		case !read.Resumes:
			return ""
		case r.Health != nil || read.Until != "":
			all = append(all, Clean(strings.TrimSpace(r.String()+" "+read.Until)))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "paused: " + strings.Join(all, "; ")
}
