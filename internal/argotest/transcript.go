package argotest

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/rollout"
)

// Event is a line of a transcript: an application as it is from then on, or something that was done.
type Event struct {
	At     time.Time
	Name   string // of the application, "" for what was done
	State  State
	Gone   bool
	Action string
}

// State is what an observer of a real Argo CD wrote down of an application.
type State struct {
	Sync, Rev, Health, Op, Oprev, Opmsg, Pending, Refresh, Hist string
	Cond, Oos, Unhealthy, Images                                []string
}

var line = regexp.MustCompile(`^(\d\d:\d\d:\d\d\.\d+) (?:\+ *[\d.]+s (\S+) +(INIT|ADDED|DELETED)? *(\{.*?\})(?: cleared:(\S+))?$|## (.*))`)

// Transcript reads what was observed, in the order in which Argo CD wrote it.
func Transcript(file string) ([]Event, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var events []Event
	fields := map[string]map[string]json.RawMessage{}
	for text := range strings.Lines(string(data)) {
		m := line.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil {
			continue
		}
		e := Event{Name: m[2], Gone: m[3] == "DELETED", Action: m[6]}
		if e.At, err = time.Parse("15:04:05.000", m[1]); err != nil {
			return nil, err
		}
		if e.Name != "" {
			if fields[e.Name] == nil {
				fields[e.Name] = map[string]json.RawMessage{}
			}
			if e.State, err = changed(fields[e.Name], m[4], m[5]); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", file, text, err)
			}
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("%s has no events", file)
	}
	return events, nil
}

// changed is the state after a line: what it says anew, and what it says is gone.
func changed(fields map[string]json.RawMessage, anew, cleared string) (s State, err error) {
	if err := json.Unmarshal([]byte(anew), &fields); err != nil {
		return s, err
	}
	for key := range strings.SplitSeq(cleared, ",") {
		delete(fields, key)
	}
	whole, err := json.Marshal(fields)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(whole, &s)
}

// Full is a commit's id, of which the transcripts have the first digits.
func Full(short string) string {
	if len(short) != 7 || strings.Trim(short, "0123456789abcdef") != "" {
		return short
	}
	return short + strings.Repeat("0", 33)
}

// Application is what Argo CD must have said for the observer to write this.
func (s State) Application(name string) *rollout.Application {
	a := &rollout.Application{}
	a.Metadata.Name, a.Metadata.Namespace = name, Namespace
	a.Spec.Project = "default"
	a.Spec.Source = &rollout.Source{Repository: "r", Revision: "main"}
	a.Status.Sync.Status, a.Status.Sync.Revision, a.Status.Health.Status = s.Sync, Full(s.Rev), s.Health
	if revisions := strings.Split(s.Rev, ","); len(revisions) > 1 {
		for _, r := range revisions {
			a.Status.Sync.Revisions = append(a.Status.Sync.Revisions, Full(r))
		}
	}
	if s.Pending != "" {
		a.Operation = &rollout.Operation{}
		a.Operation.Sync.Revision = Full(s.Pending)
	}
	if s.Op != "" {
		a.Status.OperationState = &rollout.OperationState{Phase: s.Op, Message: s.Opmsg}
		a.Status.OperationState.SyncResult.Revision = Full(s.Oprev)
		a.Status.OperationState.Operation.Sync.Revision = Full(s.Oprev)
	}
	if s.Refresh != "" {
		a.Metadata.Annotations = map[string]string{"argocd.argoproj.io/refresh": s.Refresh}
	}
	for _, c := range s.Cond {
		kind, message, _ := strings.Cut(c, ": ")
		a.Status.Conditions = append(a.Status.Conditions, rollout.Condition{Type: kind, Message: message})
	}
	return a
}
