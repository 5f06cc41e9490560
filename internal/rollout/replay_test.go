package rollout_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/argotest"
	"github.com/ksera524/imgbump/internal/rollout"
)

var pushed = regexp.MustCompile(`^git push ([0-9a-f]{7})`)

func transcript(t *testing.T, file string) []argotest.Event {
	t.Helper()
	events, err := argotest.Transcript(file)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// settled reports whether a state needs nothing more.
func settled(s argotest.State) bool {
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
			if m := pushed.FindStringSubmatch(e.Action); m != nil {
				commits = append(commits, argotest.Full(m[1]))
			}
			if e.Name != "" && !slices.Contains(names, e.Name) {
				names = append(names, e.Name)
			}
		}
		for i, commit := range commits {
			for _, name := range names {
				if name == "root" {
					continue // TestReplayRoot
				}
				w := watch(commit, commits)
				if at, live := follow(w, events, name, argotest.Full(commits[i])); live {
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
	return &rollout.Watch{Commit: commit, Retries: 9, Relation: func(revision string) rollout.Relation {
		at := slices.Index(commits, revision)
		switch {
		case at < 0, at < slices.Index(commits, commit):
			return rollout.Ancestor
		}
		return rollout.Descendant
	}}
}

// follow looks at an application from the push of a commit on, at each event and a second after, and tells when it was live.
func follow(w *rollout.Watch, events []argotest.Event, name, commit string) (at time.Time, live bool) {
	begun := false
	var now argotest.State
	for i, e := range events {
		if m := pushed.FindStringSubmatch(e.Action); m != nil && argotest.Full(m[1]) == commit {
			begun = true
		}
		if e.Name == name {
			now = e.State
		}
		if !begun || now.Sync == "" {
			continue
		}
		for look := e.At; i == len(events)-1 && look.Before(e.At.Add(3*time.Second)) || i < len(events)-1 && look.Before(events[i+1].At); look = look.Add(250 * time.Millisecond) {
			if w.Look(look, now.Application(name)).State == rollout.Live {
				return look, true
			}
		}
	}
	return at, false
}

// check finds what still happened to an application after it was called live, before anybody did something: a refresh, or
// another commit, is done by somebody too.
func check(t *testing.T, what string, events []argotest.Event, name string, at time.Time) {
	t.Helper()
	var then argotest.State
	for _, e := range events {
		if !e.At.After(at) && e.Name == name {
			then = e.State
		}
	}
	if !settled(then) {
		t.Errorf("%s: live at %s, when it was %+v", what, at.Format("15:04:05.000"), then)
	}
	for _, e := range events {
		if e.At.Before(at) {
			continue
		}
		if e.Action != "" || e.Name == name && (e.State.Refresh != "" || e.State.Rev != then.Rev) {
			return
		}
		if e.Name == name && !settled(e.State) {
			t.Errorf("%s: live at %s, but at %s it was %+v", what, at.Format("15:04:05.000"), e.At.Format("15:04:05.000"), e.State)
		}
	}
}

// settledAt is when the application had long been as the commit, or a later one, wanted it; zero when it never was.
func settledAt(events []argotest.Event, name string, commits []string) time.Time {
	var since time.Time
	good := false
	for _, e := range events {
		if good && e.At.Sub(since) > 1500*time.Millisecond {
			return since
		}
		if e.Name == name {
			good, since = settled(e.State) && slices.Contains(commits, argotest.Full(e.State.Rev)), e.At
		}
	}
	return time.Time{}
}

// TestReplayRoot follows an app of apps: the root alone looks live before its children have begun.
func TestReplayRoot(t *testing.T) {
	events := transcript(t, "testdata/10-app-of-apps-waves.txt")
	commits := []string{argotest.Full("a06b6f1"), argotest.Full("de4ace5"), argotest.Full("6000a57")}
	for commit, done := range map[string]string{commits[0]: "03:47:33.071", commits[2]: "03:48:00"} {
		children := []string{"w1", "w2", "w3"}
		watches := map[string]*rollout.Watch{"root": watch(commit, commits)}
		for _, child := range children {
			watches[child] = watch(commit, commits)
			if commit == commits[2] {
				watches[child] = &rollout.Watch{} // they are pinned to another commit
			}
		}
		states := map[string]argotest.State{}
		begun := false
		var live time.Time
		for i, e := range events[:len(events)-1] {
			if m := pushed.FindStringSubmatch(e.Action); m != nil && argotest.Full(m[1]) == commit {
				begun = true
			}
			if e.Name != "" {
				states[e.Name] = e.State
			}
			for look := e.At; begun && live.IsZero() && look.Before(events[i+1].At); look = look.Add(250 * time.Millisecond) {
				verdicts := map[string]rollout.Verdict{}
				for name, w := range watches {
					verdicts[name] = w.Look(look, states[name].Application(name))
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

// TestFirstSync follows applications that are created: while nothing can be compared, an application that never loaded is
// called healthy.
func TestFirstSync(t *testing.T) {
	commit := argotest.Full("3e60d45")
	for name, want := range map[string]string{"kust": "03:37:52.176", "plain": "03:37:55.806", "w1": "03:37:52.573", "w2": "03:37:54.673", "w3": "03:37:56.776"} {
		earliest, _ := time.Parse("15:04:05", want)
		w := &rollout.Watch{Commit: commit, Relation: func(string) rollout.Relation { return rollout.Ancestor }}
		live := time.Time{}
		var now argotest.State
		events := transcript(t, "testdata/01-first-sync.txt")
		for i, e := range events[:len(events)-1] {
			if e.Name == name {
				now = e.State
			}
			for look := e.At; now.Sync != "" && live.IsZero() && look.Before(events[i+1].At); look = look.Add(250 * time.Millisecond) {
				if w.Look(look, now.Application(name)).State == rollout.Live {
					live = look
				}
			}
		}
		if live.Before(earliest.Add(time.Second)) || live.After(earliest.Add(1500*time.Millisecond)) {
			t.Errorf("%s: live at %s, want a second after %s", name, live.Format("15:04:05.000"), want)
		}
	}
	for _, e := range transcript(t, "testdata/00-comparison-error-new-app.txt") {
		if e.State.Sync == "" {
			continue
		}
		w := &rollout.Watch{Commit: commit, Relation: func(string) rollout.Relation { return rollout.Ancestor }}
		at := w.Look(e.At, e.State.Application(e.Name))
		if after := w.Look(e.At.Add(30*time.Second), e.State.Application(e.Name)); at.State != rollout.Waiting || !at.Behind || after.State != rollout.Ended {
			t.Errorf("%s: %+v, %+v", e.Name, at, after)
		}
	}
}
