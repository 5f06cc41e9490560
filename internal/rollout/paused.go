package rollout

import (
	"encoding/json"
	"fmt"
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
				Seconds       int   `json:"autoPromotionSeconds"`
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
	return strings.Join(all, ", "), true
}

// until is when a pause ends by itself, if it does.
func (o object) until(p pause) (text string, ok bool) {
	step, steps := o.Status.Step, o.Spec.Strategy.Canary.Steps
	promotion := o.Spec.Strategy.BlueGreen
	switch {
	case p.Reason == "CanaryPauseStep" && step >= 0 && step < len(steps) && steps[step].Pause != nil:
		after, ok := lasting(steps[step].Pause.Duration)
		return fmt.Sprintf("until %s, at step %d of %d", p.Start.Add(after).UTC().Format("15:04:05Z"), step+1, len(steps)), ok
	case p.Reason == "BlueGreenPause" && (promotion.AutoPromotion == nil || *promotion.AutoPromotion):
		after := time.Duration(promotion.Seconds) * time.Second
		return "until it is promoted at " + p.Start.Add(after).UTC().Format("15:04:05Z"), true
	}
	return "", false
}

// lasting is how long a step's pause lasts.
func lasting(duration any) (d time.Duration, ok bool) {
	switch d := duration.(type) {
	case float64:
		return time.Duration(d) * time.Second, true
	case string:
		if seconds, err := strconv.Atoi(d); err == nil {
			return time.Duration(seconds) * time.Second, true
		}
		after, err := time.ParseDuration(d)
		return after, err == nil
	}
	return 0, false
}

// suspended is the verdict on an application that waits for somebody, or for a pause of its Rollouts to end.
func (w *Watch) suspended(a *Application) Verdict {
	if text := w.pausing(a); text != "" {
		return Verdict{Text: "paused: " + text}
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

// pausing names the Rollouts that a suspended application waits for, when all of them go on by themselves. Argo CD may keep
// the health of resources to itself.
func (w *Watch) pausing(a *Application) string {
	var all []string
	for _, r := range a.Status.Resources {
		isRollout := r.Group == "argoproj.io" && r.Kind == "Rollout"
		suspended := r.Health != nil && r.Health.Status == "Suspended"
		if !suspended && (r.Health != nil || !isRollout) {
			continue
		}
		if !isRollout || w.Rollout == nil {
			return ""
		}
		until, ok := Resumes(w.Rollout(a, r))
		switch {
		case !ok:
			return ""
		case suspended || until != "":
			all = append(all, Clean(strings.TrimSpace(r.String()+" "+until)))
		}
	}
	return strings.Join(all, "; ")
}
