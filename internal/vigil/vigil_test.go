package vigil_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ksera524/imgbump/internal/argotest"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/rollout"
	"github.com/ksera524/imgbump/internal/vigil"
)

// argo is Argo CD as a transcript has it, or as a test makes it: what is so, since when.
type argo struct {
	mu        sync.Mutex
	states    map[string][]moment
	streams   string // "deaf" for none, "mute" for silent ones, "torn" for ones that end after each event, "stuck" for ones without a second
	watched   int
	failing   func(since time.Duration) error
	windows   string
	rollout   func(ctx context.Context, name string, r rollout.Resource) ([]byte, error)
	announced bool
	nowhere   bool                     // the repository is not known
	slow      map[string]time.Duration // that an answer about an application takes
	fetches   map[string]time.Duration // that git takes to tell of a revision, which it does once
	begun     time.Time
	asked     map[string]int
	refreshs  map[string][]time.Duration
}

type moment struct {
	after time.Duration
	seen  *rollout.Application // nil when it is gone
}

func (a *argo) at(name string) (now *rollout.Application, next time.Duration) {
	for _, m := range a.states[name] {
		if m.after > time.Since(a.begun) {
			return now, m.after
		}
		now = m.seen
	}
	return now, -1
}

func (a *argo) Application(_ context.Context, name string, refresh bool) (*rollout.Application, error) {
	<-time.After(a.slow[name])
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked[name]++; refresh {
		a.refreshs[name] = append(a.refreshs[name], time.Since(a.begun))
	}
	if a.failing != nil {
		if err := a.failing(time.Since(a.begun)); err != nil {
			return nil, err
		}
	}
	if now, _ := a.at(name); now != nil {
		said := *now
		said.Refreshed = refresh
		return &said, nil
	}
	return nil, &fault.Error{Kind: fault.Denied, Hint: "look at the name", Err: rollout.ErrMissing}
}

func (a *argo) Watch(ctx context.Context, name string, seen func(*rollout.Application)) error {
	a.mu.Lock()
	a.watched++
	a.mu.Unlock()
	switch a.streams {
	case "deaf":
		return errors.New("no streams here")
	case "mute":
		<-ctx.Done()
		return nil
	}
	for {
		now, next := a.at(name)
		if now == nil {
			return rollout.ErrMissing
		}
		seen(now)
		if a.streams == "torn" {
			return errors.New("unexpected EOF")
		}
		if next < 0 || a.streams == "stuck" {
			<-ctx.Done()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next - time.Since(a.begun)):
		}
	}
}

func (a *argo) Forbids(context.Context, string) string { return a.windows }

func (a *argo) Rollout(ctx context.Context, name string, _ *rollout.Application, r rollout.Resource) ([]byte, error) {
	return a.rollout(ctx, name, r)
}

// keep waits, at most for ten minutes of the bubble's time.
func (a *argo) keep(t *testing.T, commit string, commits []string, names ...string) (all []vigil.Outcome, after time.Duration, told []string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	a.begun, a.asked, a.refreshs = time.Now(), map[string]int{}, map[string][]time.Duration{}
	v := vigil.Vigil{
		Server: a, Commit: commit, Applications: names, Namespace: argotest.Namespace,
		Branch: "main", Announced: a.announced, Retries: 9,
		Place: func(s rollout.Source) rollout.Place {
			switch {
			case s.Repository != "r":
				return rollout.Elsewhere
			case s.Revision != "main" && s.Revision != "HEAD":
				return rollout.Aside
			}
			return rollout.Along
		},
		Relation: func(revision string) rollout.Relation {
			<-time.After(a.fetches[revision])
			delete(a.fetches, revision)
			if at := slices.Index(commits, revision); at > slices.Index(commits, commit) {
				return rollout.Descendant
			}
			return rollout.Ancestor
		},
		Tell: func(o vigil.Outcome) {
			told = append(told, fmt.Sprintf("%.1f %s: %s", time.Since(a.begun).Seconds(), o.Name, o.Text))
		},
	}
	if a.nowhere {
		v.Place = nil
	}
	all, err = v.Keep(ctx)
	after = time.Since(a.begun)
	synctest.Wait() // for what still asks
	return all, after, told, err
}

// from is Argo CD as a transcript has it from the push of a commit on. A root's transcript does not list its resources: they
// are given here.
func from(t *testing.T, file, commit string, children map[string][]string) (*argo, []string) {
	t.Helper()
	events, err := argotest.Transcript(filepath.Join("../rollout/testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	a := &argo{states: map[string][]moment{}}
	var begun time.Time
	var commits []string
	pinned := ""
	for _, e := range events {
		if m := regexp.MustCompile(`^git push ([0-9a-f]{7})`).FindStringSubmatch(e.Action); m != nil {
			commits = append(commits, argotest.Full(m[1]))
			if begun.IsZero() && strings.HasPrefix(commit, m[1]) {
				begun = e.At
			}
		}
		if e.Name == "" {
			continue
		}
		var after time.Duration
		if !begun.IsZero() {
			after = e.At.Sub(begun)
		} else {
			a.states[e.Name] = nil
		}
		seen := e.State.Application(e.Name)
		for i, child := range children[e.Name] {
			seen.Status.Resources = append(seen.Status.Resources, rollout.Resource{Group: "argoproj.io", Kind: "Application", Namespace: argotest.Namespace, Name: child, Wave: i + 1})
		}
		if strings.HasPrefix(e.Name, "w") && (e.State.Rev == "de4ace5" || e.State.Pending == "de4ace5") {
			pinned = argotest.Full("de4ace5")
			seen.Spec.Source.Revision = pinned
		}
		a.states[e.Name] = append(a.states[e.Name], moment{after, seen})
	}
	return a, commits
}

// TestTranscripts waits as a person would have beside the real Argo CD, with a stream and without one.
func TestTranscripts(t *testing.T) {
	waves := map[string][]string{"root": {"w1", "w2", "w3"}}
	for _, tt := range []struct {
		file, commit, name string
		earliest, latest   time.Duration
		state              rollout.State
		text, told         string
	}{
		// kust became healthy 18.7 s after the push, plain's operation ended after 8.1 s
		{"02-push-no-refresh-then-rest-refresh.txt", "5ea8b67", "kust", 18700 * time.Millisecond, 23 * time.Second, rollout.Live, "live", "kust: progressing"},
		{"02-push-no-refresh-then-rest-refresh.txt", "5ea8b67", "plain", 8100 * time.Millisecond, 13 * time.Second, rollout.Live, "live", "plain: syncing: waiting for healthy state"},
		// the fix came while the operation of the commit before was stuck: that operation was ended by hand after 26 s
		{"04-overtake-inside-waves.txt", "a1a1842", "plain", 30800 * time.Millisecond, 36 * time.Second, rollout.Live, "live", "plain: still syncing 83eaa6c: waiting for healthy state of apps/Deployment/plain"},
		// root was healthy at once, its slowest child after 15.8 s
		{"10-app-of-apps-waves.txt", "a06b6f1", "root", 15800 * time.Millisecond, 21 * time.Second, rollout.Live, "live", "w1: progressing"},
		// three waves, one after the other: the last child was healthy after 19.6 s
		{"10-app-of-apps-waves.txt", "6000a57", "root", 19500 * time.Millisecond, 25 * time.Second, rollout.Live, "live", "root: syncing: waiting for healthy state of argoproj.io/Application/w1"},
	} {
		for _, streams := range []string{"", "deaf", "mute", "torn"} {
			synctest.Test(t, func(t *testing.T) {
				commit := argotest.Full(tt.commit)
				a, commits := from(t, tt.file, commit, waves)
				a.streams = streams
				all, after, told, err := a.keep(t, commit, commits, tt.name)
				if err != nil || len(all) != 1 || all[0].State != tt.state || !strings.HasPrefix(all[0].Text, tt.text) || after < tt.earliest || after > tt.latest {
					t.Errorf("%s %s %s (streams %q): after %v: %+v, %v; told:\n%s", tt.file, tt.commit, tt.name, streams, after, all, err, strings.Join(told, "\n"))
				}
				if seconds := int(after.Seconds()); a.watched > 4*(seconds+1) {
					t.Errorf("%s %s: %d streams in %v", tt.file, tt.name, a.watched, after)
				}
				if streams == "" && !strings.Contains(strings.Join(told, "\n"), tt.told) {
					t.Errorf("%s %s %s: told\n%s\nand not %q", tt.file, tt.commit, tt.name, strings.Join(told, "\n"), tt.told)
				}
			})
		}
	}
}
