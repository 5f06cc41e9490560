package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/version"
)

// tags are those of a remote on which others work too.
type tags struct {
	listed   []Tag
	theirs   []string // what others take, one before each of our pushes
	err      error
	silent   bool // after the first race
	messages []string
	since    string // what Since was asked
	made     []string
}

func (t *tags) List(ctx context.Context) ([]Tag, error) {
	if t.silent && len(t.listed) > 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return slices.Clone(t.listed), t.err
}

func (t *tags) Since(_ context.Context, base, tip string, within []string) ([]string, error) {
	t.since = fmt.Sprint(base, "..", tip, " ", within)
	return t.messages, nil
}

func (t *tags) Create(_ context.Context, name, commit, message string) error {
	t.made = append(t.made, fmt.Sprintf("%s at %s: %s", name, commit, message))
	return nil
}

func (t *tags) Push(ctx context.Context, name, commit, message string) error {
	if len(t.theirs) > 0 {
		t.listed = append(t.listed, Tag{t.theirs[0], "theirs", true})
		t.theirs = t.theirs[1:]
	}
	if slices.ContainsFunc(t.listed, func(have Tag) bool { return have.Name == name && have.Pushed }) {
		return &fault.Error{Kind: fault.Conflict, Err: errors.New(name + " is taken")}
	}
	return t.Create(ctx, "pushed "+name, commit, message)
}

func words(n version.Next) (string, error) { return "Release " + n.Version, nil }

func TestRun(t *testing.T) {
	one := []Tag{{"v1.0.0", "old", true}}
	for name, tt := range map[string]struct {
		job  Job
		tags tags
		want Result
		made []string
		lost int
		err  string
	}{
		"only told": {tags: tags{listed: one}, want: Result{Next: version.Next{Version: "1.0.1", Tag: "v1.0.1"}}},
		"created":   {job: Job{Create: true}, tags: tags{listed: one}, want: Result{Next: version.Next{Version: "1.0.1", Tag: "v1.0.1"}, Created: true}, made: []string{"v1.0.1 at head: Release 1.0.1"}},
		"pushed":    {job: Job{Push: true}, tags: tags{listed: one}, want: Result{Next: version.Next{Version: "1.0.1", Tag: "v1.0.1"}, Created: true, Pushed: true}, made: []string{"pushed v1.0.1 at head: Release 1.0.1"}},
		"raced": {job: Job{Push: true}, tags: tags{listed: one, theirs: []string{"v1.0.1", "v1.0.2"}}, lost: 2,
			want: Result{Next: version.Next{Version: "1.0.3", Tag: "v1.0.3"}, Created: true, Pushed: true}, made: []string{"pushed v1.0.3 at head: Release 1.0.3"}},
		"tagged":                  {job: Job{Push: true}, tags: tags{listed: []Tag{{"v1.0.0", "head", true}}}, want: Result{Next: version.Next{Version: "1.0.0", Tag: "v1.0.0", Tagged: true}}},
		"tagged, and not pushed":  {job: Job{Push: true}, tags: tags{listed: []Tag{{"v1.0.0", "head", false}}}, want: Result{Next: version.Next{Version: "1.0.0", Tag: "v1.0.0", Tagged: true}, Pushed: true}, made: []string{"pushed v1.0.0 at head: Release 1.0.0"}},
		"tagged, and not to push": {job: Job{Create: true}, tags: tags{listed: []Tag{{"v1.0.0", "head", false}}}, want: Result{Next: version.Next{Version: "1.0.0", Tag: "v1.0.0", Tagged: true}}},
		"auto":                    {job: Job{Bump: version.Auto}, tags: tags{listed: one, messages: []string{"feat: x"}}, want: Result{Next: version.Next{Version: "1.1.0", Tag: "v1.1.0"}}},
		"first":                   {job: Job{Bump: version.Auto, Pre: "rc"}, want: Result{Next: version.Next{Version: "0.1.0-rc.1", Tag: "v0.1.0-rc.1"}}},
		"down":                    {tags: tags{err: errors.New("down")}, err: "down"},
		"no words":                {job: Job{Create: true, Message: func(version.Next) (string, error) { return "", errors.New("no words") }}, err: "no words"},
	} {
		t.Run(name, func(t *testing.T) {
			lost := 0
			tt.job.Scheme.Initial, tt.job.Within = "0.1.0", []string{"app"}
			tt.job.Lost = func(int, error) { lost++ }
			if tt.job.Message == nil {
				tt.job.Message = words
			}
			if tt.job.Bump == "" {
				tt.job.Bump = version.Patch
			}
			got, err := tt.job.Run(t.Context(), &tt.tags, "head")
			if (err != nil || tt.err != "") && fmt.Sprint(err) != tt.err {
				t.Error(err)
			}
			got.Previous, got.Bump, got.Why = "", "", ""
			if diff := cmp.Diff(tt.want, got); diff != "" && tt.err == "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tt.made, tt.tags.made); diff != "" {
				t.Errorf("made: -want +got:\n%s", diff)
			}
			if lost != tt.lost {
				t.Errorf("%d races lost, want %d", lost, tt.lost)
			}
			if tt.tags.messages != nil && tt.tags.since != "old..head [app]" {
				t.Errorf("asked for %s", tt.tags.since)
			}
		})
	}
}

// TestEndless loses until the time is up, with pauses that grow to a second; the last race is the error.
func TestEndless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		others := &tags{}
		for i := range 1000 {
			others.theirs = append(others.theirs, fmt.Sprintf("v0.1.%d", i))
		}
		lost := 0
		job := Job{Scheme: version.Scheme{Initial: "0.1.0"}, Bump: version.Patch, Push: true, Message: words, Lost: func(int, error) { lost++ }}
		_, err := job.Run(ctx, others, "head")
		if fault.KindOf(err) != fault.Conflict {
			t.Error(err)
		}
		if lost < 80 || lost > 90 {
			t.Errorf("%d attempts in a minute", lost)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := job.Run(ctx, &tags{theirs: []string{"v0.1.0"}, silent: true}, "head"); fault.KindOf(err) != fault.Conflict {
			t.Errorf("the time was up while the remote was asked: %v", err)
		}
	})
}
