package rollout_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/rollout"
)

// seen is what an observer of the real Argo CD wrote down of an application.
type seen struct {
	Sync, Rev, Health, Op, Oprev, Opmsg, Pending, Refresh, Hist string
	Cond, Oos, Unhealthy, Images                                []string
}

// event is a line of a transcript: an application as it is from then on, or something that was done.
type event struct {
	at     time.Time
	name   string
	state  seen
	gone   bool
	action string
}

var (
	line   = regexp.MustCompile(`^(\d\d:\d\d:\d\d\.\d+) (?:\+ *[\d.]+s (\S+) +(INIT|ADDED|DELETED)? *(\{.*?\})(?: cleared:(\S+))?$|## (.*))`)
	pushed = regexp.MustCompile(`^git push ([0-9a-f]{7})`)
)

func transcript(t *testing.T, file string) (events []event) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]map[string]json.RawMessage{}
	for text := range strings.Lines(string(data)) {
		m := line.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil {
			continue
		}
		e := event{name: m[2], gone: m[3] == "DELETED", action: m[6]}
		if e.at, err = time.Parse("15:04:05.000", m[1]); err != nil {
			t.Fatal(err)
		}
		if e.name != "" {
			if fields[e.name] == nil {
				fields[e.name] = map[string]json.RawMessage{}
			}
			if err := json.Unmarshal([]byte(m[4]), ptr(fields[e.name])); err != nil {
				t.Fatalf("%s: %s: %v", file, text, err)
			}
			for key := range strings.SplitSeq(m[5], ",") {
				delete(fields[e.name], key)
			}
			whole, _ := json.Marshal(fields[e.name])
			if err := json.Unmarshal(whole, &e.state); err != nil {
				t.Fatalf("%s: %s: %v", file, text, err)
			}
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		t.Fatalf("%s has no events", file)
	}
	return events
}

func ptr[V any](v V) *V { return &v }

// full is a commit's id, of which the transcripts have the first digits.
func full(short string) string {
	if len(short) != 7 || strings.Trim(short, "0123456789abcdef") != "" {
		return short
	}
	return short + strings.Repeat("0", 33)
}

// application is what Argo CD must have said for the observer to write this.
func (s seen) application() *rollout.Application {
	a := &rollout.Application{}
	a.Spec.Source = &rollout.Source{Repository: "r", Revision: "main"}
	a.Status.Sync.Status, a.Status.Sync.Revision, a.Status.Health.Status = s.Sync, full(s.Rev), s.Health
	if revisions := strings.Split(s.Rev, ","); len(revisions) > 1 {
		for _, r := range revisions {
			a.Status.Sync.Revisions = append(a.Status.Sync.Revisions, full(r))
		}
	}
	if s.Pending != "" {
		a.Operation = &rollout.Operation{}
		a.Operation.Sync.Revision = full(s.Pending)
	}
	if s.Op != "" {
		a.Status.OperationState = &rollout.OperationState{Phase: s.Op, Message: s.Opmsg}
		a.Status.OperationState.SyncResult.Revision = full(s.Oprev)
		a.Status.OperationState.Operation.Sync.Revision = full(s.Oprev)
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

// settled reports whether the state needs nothing more.
func (s seen) settled() bool {
	return s.Sync == "Synced" && s.Health == "Healthy" && s.Pending == "" && s.Refresh == "" && (s.Op == "" || s.Op == "Succeeded") && len(s.Cond) == 0
}

// TestReplay follows every application of every transcript to every commit, as a watcher of the real thing would have: no
// verdict of live came before something else still happened, and none later than a second after everything had.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	lives := 0
	for _, file := range files {
		events := transcript(t, file)
		var commits, names []string
		for _, e := range events {
			if m := pushed.FindStringSubmatch(e.action); m != nil {
				commits = append(commits, full(m[1]))
			}
			if e.name != "" && !slices.Contains(names, e.name) {
				names = append(names, e.name)
			}
		}
		for i, commit := range commits {
			for _, name := range names {
				if name == "root" {
					continue // TestReplayRoot
				}
				w := watch(commit, commits)
				if at, live := follow(w, events, name, full(commits[i])); live {
					lives++
					check(t, fmt.Sprint(filepath.Base(file), " ", name, " ", commit[:7]), events, name, at)
				} else if end := settledAt(events, name, commits[i:]); !end.IsZero() {
					t.Errorf("%s: %s was live with %s at %s, and nobody said so", file, name, commit[:7], end.Format("15:04:05.000"))
				}
			}
		}
	}
	if lives < 25 {
		t.Errorf("only %d deployments became live", lives)
	}
}

func watch(commit string, commits []string) *rollout.Watch {
	return &rollout.Watch{Commit: commit, Source: func([]rollout.Source) int { return 0 }, Relation: func(revision string) rollout.Relation {
		at := slices.Index(commits, revision)
		switch {
		case at < 0, at < slices.Index(commits, commit):
			return rollout.Ancestor
		}
		return rollout.Descendant
	}}
}

// follow looks at an application from the push of a commit on, at each event and a second after, and tells when it was live.
func follow(w *rollout.Watch, events []event, name, commit string) (at time.Time, live bool) {
	begun := false
	var now seen
	for i, e := range events {
		if m := pushed.FindStringSubmatch(e.action); m != nil && full(m[1]) == commit {
			begun = true
		}
		if e.name == name {
			now = e.state
		}
		if !begun || now.Sync == "" {
			continue
		}
		for look := e.at; i == len(events)-1 && look.Before(e.at.Add(3*time.Second)) || i < len(events)-1 && look.Before(events[i+1].at); look = look.Add(250 * time.Millisecond) {
			if w.Look(look, now.application()).State == rollout.Live {
				return look, true
			}
		}
	}
	return at, false
}

// check finds what still happened to an application after it was called live, before anybody did something: a refresh, or
// another commit, is done by somebody too.
func check(t *testing.T, what string, events []event, name string, at time.Time) {
	t.Helper()
	var then seen
	for _, e := range events {
		if !e.at.After(at) && e.name == name {
			then = e.state
		}
	}
	if !then.settled() {
		t.Errorf("%s: live at %s, when it was %+v", what, at.Format("15:04:05.000"), then)
	}
	for _, e := range events {
		if e.at.Before(at) {
			continue
		}
		if e.action != "" || e.name == name && (e.state.Refresh != "" || e.state.Rev != then.Rev) {
			return
		}
		if e.name == name && !e.state.settled() {
			t.Errorf("%s: live at %s, but at %s it was %+v", what, at.Format("15:04:05.000"), e.at.Format("15:04:05.000"), e.state)
		}
	}
}

// settledAt is when the application had long been as the commit, or a later one, wanted it; zero when it never was.
func settledAt(events []event, name string, commits []string) time.Time {
	var since time.Time
	good := false
	for _, e := range events {
		if good && e.at.Sub(since) > 1500*time.Millisecond {
			return since
		}
		if e.name == name {
			good, since = e.state.settled() && slices.Contains(commits, full(e.state.Rev)), e.at
		}
	}
	return time.Time{}
}

// TestReplayRoot follows an app of apps: the root alone looks live before its children have begun.
func TestReplayRoot(t *testing.T) {
	events := transcript(t, "testdata/10-app-of-apps-waves.txt")
	commits := []string{full("a06b6f1"), full("de4ace5"), full("6000a57")}
	for commit, done := range map[string]string{commits[0]: "03:47:33.071", commits[2]: "03:48:00"} {
		children := []string{"w1", "w2", "w3"}
		watches := map[string]*rollout.Watch{"root": watch(commit, commits)}
		for _, child := range children {
			watches[child] = watch(commit, commits)
			if commit == commits[2] {
				watches[child] = &rollout.Watch{Source: watches[child].Source} // they are pinned to another commit
			}
		}
		states := map[string]seen{}
		begun := false
		var live time.Time
		for i, e := range events[:len(events)-1] {
			if m := pushed.FindStringSubmatch(e.action); m != nil && full(m[1]) == commit {
				begun = true
			}
			if e.name != "" {
				states[e.name] = e.state
			}
			for look := e.at; begun && live.IsZero() && look.Before(events[i+1].at); look = look.Add(250 * time.Millisecond) {
				verdicts := map[string]rollout.Verdict{}
				for name, w := range watches {
					verdicts[name] = w.Look(look, states[name].application())
				}
				if rollout.Together(verdicts["root"], children, verdicts).State == rollout.Live {
					live = look
				}
			}
		}
		earliest, _ := time.Parse("15:04:05", done)
		if live.IsZero() || live.Before(earliest) || live.Sub(earliest) > 5*time.Second {
			t.Errorf("%s: live at %s, want about %s", commit[:7], live.Format("15:04:05.000"), done)
		}
	}
}
