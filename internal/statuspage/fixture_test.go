package statuspage_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/diagram"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/status"
)

const target = "k8s@main"

// board is one target, as it is before its first round.
func board(now time.Time) *status.Board {
	return status.NewBoard(now.Add(-26*time.Hour), status.Target{Name: target, Repository: "ksera524/k8s", Branch: "main",
		Page: "https://github.example.com/ksera524/k8s", Images: []status.Image{}, Commits: []status.Commit{}, Failures: []status.Failure{}})
}

// image is one that a policy governs, in the given places: "file version hold".
func image(name, newest string, places ...status.Place) status.Image {
	return status.Image{Name: name, Policy: "semver ^1.2", Origin: "imgbump.yaml:12", Newest: newest, Checked: now.Add(-2 * time.Minute),
		Why: "newest of 14 tags within >=1.2.0 <2.0.0; 3 pre-releases ignored", Places: places}
}

var now = time.Now().UTC().Truncate(time.Second)

// round is one in which everything occurs that a page has to show.
func round() status.Round {
	failing := image("harbor.example.com/sandbox/slack", "", status.Place{File: "apps/slack/deployment.yaml", Line: 21, Application: "slack", Current: "0.9.1"})
	failing.Policy, failing.Why = "newest build of ^main-", ""
	failing.Checked = now
	failing.Err = "list tags of harbor.example.com/sandbox/slack: 401 Unauthorized"
	failing.Hint = "the robot account lacks the right to list repositories: see harborpush check"
	nothing := image("ghcr.io/ksera524/experiments/very-long-name-of-an-image-that-somebody-chose-on-a-monday", "",
		status.Place{File: "apps/experiments/kustomization.yaml", Line: 9, Application: "experiments", Current: "dev"})
	nothing.Why = "none of 2 tags is a version"
	return status.Round{Whole: true, Images: []status.Image{
		image("harbor.example.com/sandbox/rss", "1.5.0",
			status.Place{File: "apps/rss/deployment.yaml", Line: 14, Application: "rss", Current: "1.4.2"},
			status.Place{File: "apps/rss/cronjob.yaml", Line: 31, Application: "rss", Current: "1.4.2"},
			status.Place{File: "apps/rss-staging/kustomization.yaml", Line: 8, Application: "rss-staging", Current: "1.5.0"}),
		image("harbor.example.com/sandbox/hitomi", "1.3.1", status.Place{File: "apps/hitomi/deployment.yaml", Line: 22, Application: "hitomi", Current: "1.3.1"}),
		image("docker.io/library/postgres", "17.2", status.Place{File: "infra/postgres/values.yaml", Line: 7, Application: "postgres", Current: "16.4",
			Hold: "17 needs a dump and a restore first"}),
		failing, nothing,
		image("quay.io/argoproj/argocd", "v3.5.1", status.Place{File: "bootstrap/argocd/kustomization.yaml", Line: 18, Application: "argocd",
			Current: "v3.5.0@sha256:3f57d9401f8d42f986df300f0c69192fc41da28ccc8d797829467780db3dd741"}),
	}, Commits: []status.Commit{
		{SHA: "4f1c2ab9d0e1f2030405060708090a0b0c0d0e0f", Summary: "Update rss to 1.5.0 in rss-staging", At: now.Add(-2 * time.Minute), Lag: 2400 * time.Millisecond,
			Page: "https://github.example.com/ksera524/k8s/commit/4f1c2ab"},
		{SHA: "9be0c77120304050607080910a0b0c0d0e0f1011", Summary: "Update hitomi to 1.3.1", At: now.Add(-3 * time.Hour),
			Page: "https://github.example.com/ksera524/k8s/commit/9be0c77", PullRequest: "https://github.example.com/ksera524/k8s/pull/118"},
	}, Failures: []status.Failure{{Where: "apps/legacy/values.yaml:3", Err: "image.tag is a number, not a string",
		Hint: "quote it"}}, Diagram: []byte(tree().SVG())}
}

func tree() diagram.Diagram {
	return diagram.Diagram{Title: "k8s", Boxes: []diagram.Box{{Title: "root", Tag: "wave 0"}, {Title: "argocd", Tag: "wave 1"}, {Title: "postgres", Tag: "wave 2"},
		{Title: "rss", Tag: "wave 3", Lines: []string{"harbor.example.com/sandbox/rss:1.4.2"}}, {Title: "slack", Tag: "wave 3", Alert: true}},
		Arrows: []diagram.Arrow{{To: 1}, {To: 2}, {To: 3}, {To: 4}}}
}

// fleet is n images in three places each.
func fleet(n int) status.Round {
	r := status.Round{Whole: true}
	for i := range n {
		name, version := fmt.Sprintf("team-%02d/service-%04d", i%20, i), fmt.Sprintf("1.%d.%d", i%9, i%7)
		var places []status.Place
		for p, stage := range []string{"production", "staging", "preview"} {
			place := status.Place{File: fmt.Sprintf("clusters/%s/%s/deployment.yaml", stage, name), Line: 20 + p, Application: fmt.Sprintf("%s-%04d", stage, i), Current: version}
			if i%50 == 7 && p == 0 {
				place.Current = "1.0.0"
			}
			if i%100 == 9 && p == 0 {
				place.Current, place.Hold = "1.0.1", "waits for the migration"
			}
			places = append(places, place)
		}
		r.Images = append(r.Images, image("harbor.example.com/"+name, version, places...))
	}
	return r
}

// actions are those of a test: they note what they are asked for, and fail as they are told to.
type actions struct {
	mu   sync.Mutex
	done []string
	err  error // what all of them come to
	live bool  // whether the last one's context was
}

func (a *actions) note(ctx context.Context, words ...any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live = ctx.Err() == nil
	a.done = append(a.done, fmt.Sprint(words...))
	return a.err
}

func (a *actions) Update(ctx context.Context, target, image string) error {
	return a.note(ctx, "update ", target, " ", image)
}

func (a *actions) Hold(ctx context.Context, target, image, reason string) error {
	return a.note(ctx, "hold ", target, " ", image, ": ", reason)
}

func (a *actions) Release(ctx context.Context, target, image string) error {
	return a.note(ctx, "release ", target, " ", image)
}

// broken is how a round fails.
func broken() error {
	return &fault.Error{Kind: fault.Denied, What: "push", Where: "main of https://github.example.com/ksera524/k8s", Err: errors.New("remote: permission denied"),
		Hint: "the token may not write contents: give it the right contents: write"}
}

func mark(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
