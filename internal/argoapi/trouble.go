package argoapi

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/rollout"
)

// How much is told of an application in trouble.
const (
	mostPods   = 3
	mostOthers = 3 // resources
	mostEvents = 5 // of one
	mostLog    = 64 << 10
)

// pod is what Kubernetes says of one, as far as it tells what is wrong.
type pod struct {
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		UID       string `json:"uid"`
		Owners    []struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Status struct {
		Phase      string `json:"phase"`
		Reason     string `json:"reason"`
		Message    string `json:"message"`
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"conditions"`
		Init       []container `json:"initContainerStatuses"`
		Containers []container `json:"containerStatuses"`
	} `json:"status"`
}

type container struct {
	Name     string         `json:"name"`
	Ready    bool           `json:"ready"`
	Restarts int            `json:"restartCount"`
	State    containerState `json:"state"`
	Last     containerState `json:"lastState"`
}

type containerState struct {
	Waiting *struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"waiting"`
	Running    *struct{} `json:"running"`
	Terminated *struct {
		Code    int    `json:"exitCode"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"terminated"`
}

// well reports whether a pod does, or did, what it should.
func (p pod) well() bool {
	return p.Status.Phase == "Succeeded" || p.Status.Phase == "Running" && !slices.ContainsFunc(p.Status.Containers, container.ill)
}

// ill reports whether a container is not ready.
func (c container) ill() bool { return !c.Ready }

// blamed is the container that keeps the pod from being ready, nil when it is none's fault.
func (p pod) blamed() *container {
	for _, c := range p.Status.Init {
		if t := c.State.Terminated; (t == nil || t.Code != 0) && (c.State.Running == nil || !c.Ready) {
			return &c
		}
	}
	if i := slices.IndexFunc(p.Status.Containers, container.ill); i >= 0 {
		return &p.Status.Containers[i]
	}
	return nil
}

// logged reports whether the container has run, so that there is a log.
func (c *container) logged() bool {
	return c.State.Running != nil || c.State.Terminated != nil || c.Last.Terminated != nil
}

// state says how the pod is, and why.
func (p pod) state() string {
	parts := []string{strings.ToLower(p.Status.Phase)}
	add := func(all ...string) {
		if text := strings.Join(slices.DeleteFunc(all, func(s string) bool { return s == "" }), ": "); text != "" {
			parts = append(parts, text)
		}
	}
	add(p.Status.Reason, p.Status.Message)
	c := p.blamed()
	if c == nil {
		for _, condition := range p.Status.Conditions {
			if condition.Type == "PodScheduled" && condition.Status == "False" {
				add(condition.Reason, condition.Message)
			}
		}
		return said(strings.Join(parts, ", "))
	}
	switch s := c.State; {
	case s.Waiting != nil:
		add("container "+c.Name, s.Waiting.Reason, s.Waiting.Message)
	case s.Terminated != nil:
		add("container "+c.Name, fmt.Sprintf("ended with %d", s.Terminated.Code), s.Terminated.Reason, s.Terminated.Message)
	default:
		add("container " + c.Name + " is not ready")
	}
	if t := c.Last.Terminated; t != nil {
		add(fmt.Sprintf("ended with %d before", t.Code), t.Reason, t.Message)
	}
	if c.Restarts > 0 {
		add(fmt.Sprintf("%d restarts", c.Restarts))
	}
	return said(strings.Join(parts, ", "))
}

// occurrence is an event of the cluster.
type occurrence struct {
	Type     string    `json:"type"`
	Reason   string    `json:"reason"`
	Message  string    `json:"message"`
	Count    int       `json:"count"`
	Last     time.Time `json:"lastTimestamp"`
	At       time.Time `json:"eventTime"`
	Involved struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
		UID  string `json:"uid"`
	} `json:"involvedObject"`
}

// told are the last events, the newest last: the warnings where there are any.
func told(events []occurrence) []string {
	if slices.ContainsFunc(events, occurrence.warns) {
		events = slices.DeleteFunc(slices.Clone(events), func(e occurrence) bool { return !e.warns() })
	}
	when := func(e occurrence) time.Time {
		if e.Last.IsZero() {
			return e.At
		}
		return e.Last
	}
	slices.SortStableFunc(events, func(a, b occurrence) int { return when(a).Compare(when(b)) })
	var all []string
	for _, e := range events[max(0, len(events)-mostEvents):] {
		text := e.Reason + ": " + e.Message
		if e.Count > 1 {
			text += fmt.Sprintf(" (%d times)", e.Count)
		}
		all = append(all, said(text))
	}
	return all
}

func (e occurrence) warns() bool { return e.Type == "Warning" }

// tail are the last lines of a log.
func tail(log []byte, lines int) []string {
	var all []string
	for line := range bytes.Lines(log) {
		if text := said(string(line)); text != "" {
			all = append(all, text)
		}
	}
	return all[max(0, len(all)-lines):]
}

// unapplied are the resources that a sync could not apply.
func unapplied(a *rollout.Application) []rollout.Trouble {
	var all []rollout.Trouble
	if a.Status.OperationState == nil {
		return nil
	}
	for _, r := range a.Status.OperationState.SyncResult.Resources {
		if r.Failed() && len(all) < mostOthers {
			all = append(all, rollout.Trouble{Resource: said(r.String()), State: said(r.Message)})
		}
	}
	return all
}

// noted is why something could not be found out, without what was done and where.
func noted(what string, err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		err = cmp.Or(f.Err, err)
	}
	return said(what + ": " + err.Error())
}
