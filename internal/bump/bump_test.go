package bump_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// tree is files by path, as a source of files.
type tree map[string]string

func (t tree) files() iter.Seq2[manifest.File, error] {
	return func(yield func(manifest.File, error) bool) {
		var paths []string
		for p := range t {
			paths = append(paths, p)
		}
		slices.Sort(paths)
		for _, p := range paths {
			if !yield(manifest.File{Path: p, Read: func([]byte) ([]byte, error) { return []byte(t[p]), nil }}, nil) {
				return
			}
		}
	}
}

// below is the files of the tree below the given paths.
func (t tree) below(under []string) iter.Seq2[manifest.File, error] {
	return func(yield func(manifest.File, error) bool) {
		for f, err := range t.files() {
			inside := len(under) == 0 || slices.ContainsFunc(under, func(p string) bool {
				return f.Path == p || strings.HasPrefix(f.Path, p+"/")
			})
			if inside && !yield(f, err) {
				return
			}
		}
	}
}

func decide(t *testing.T, files tree, images ...string) bump.Plan {
	t.Helper()
	parsed, err := bump.ParseImages(images)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := bump.Job{Images: parsed}.Decide(t.Context(), files.below)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// says is the plan in lines: what changes, what is skipped, what fails.
func says(p bump.Plan) (lines []string) {
	for _, c := range p.Changes {
		lines = append(lines, fmt.Sprintf("%s:%d %s -> %s", c.Site.File, c.Line, c.From, c.To))
	}
	for _, s := range p.Skipped {
		lines = append(lines, fmt.Sprintf("skipped %s:%d %s", s.File, s.Line, s.Reason))
	}
	for _, f := range p.Failures {
		lines = append(lines, "failed "+f.Err.Error())
	}
	return lines
}

func TestDecide(t *testing.T) {
	for name, tt := range map[string]struct {
		files  tree
		images []string
		want   []string
		kind   fault.Kind
	}{
		"several images, one file": {
			tree{"a.yaml": "x: {image: team/a:1}\ny: {image: team/b:1}\nz: {image: team/c:1}\n"}, []string{"team/a:2", "team/b:3"},
			[]string{"a.yaml:1 team/a:1 -> team/a:2", "a.yaml:2 team/b:1 -> team/b:3"}, fault.Failed,
		},
		"a base without a version is set by its overlay": {
			tree{
				"base/deployment.yaml":            "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: app}]}\n",
				"base/kustomization.yaml":         "resources: [deployment.yaml]\n",
				"overlays/one/kustomization.yaml": "resources: [../../base]\nimages: [{name: app, newTag: '1'}]\n",
				"unrelated/pod.yaml":              "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: app}]}\n",
			}, []string{"app:2"},
			[]string{
				"overlays/one/kustomization.yaml:2 app:1 -> app:2", "unrelated/pod.yaml:3 app -> app:2",
				"skipped base/deployment.yaml:3 set by overlays/one/kustomization.yaml:2",
			}, fault.Failed,
		},
		"an alias that another image uses": {
			tree{"values.yaml": "one: {image: {repository: team/a, tag: &v '1'}}\ntwo: {image: {repository: team/b, tag: *v}}\n"}, []string{"team/a:2"},
			[]string{"failed edit values.yaml:1: it would name team/b:2, not team/b:1; the file is left alone"}, fault.Partial,
		},
		"chart templates are left alone": {
			tree{"web/Chart.yaml": "name: web\n", "web/templates/d.yaml": "image: {{ .x }} team/a\n", "web/values.yaml": "image: team/a:1\n"}, []string{"team/a:2"},
			[]string{"web/values.yaml:1 team/a:1 -> team/a:2"}, fault.Failed,
		},
		"a digest without a place": {
			tree{"values.yaml": "image:\n  repository: team/a\n  tag: 1\n"}, []string{"team/a@sha256:" + strings.Repeat("0", 64)},
			[]string{"failed set values.yaml:3: image.tag: no digest key to write to: name a tag beside the digest, or add the key"}, fault.Partial,
		},
		"nothing named": {
			tree{"a.yaml": "image: team/app:1\n"}, []string{"team/ap:2"},
			[]string{"failed no manifest names team/ap"}, fault.Missing,
		},
		"a look-alike is not named": {
			tree{"a.yaml": "image: team/app-worker:1\nb: {image: registry:5000/team/app:1}\nc: {image: other/team/app:1}\n"}, []string{"team/app:2"},
			[]string{"failed no manifest names team/app"}, fault.Missing,
		},
	} {
		t.Run(name, func(t *testing.T) {
			plan := decide(t, tt.files, tt.images...)
			if diff := cmp.Diff(tt.want, says(plan)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if err := plan.Err(); (err != nil) != (tt.kind != fault.Failed) || err != nil && fault.KindOf(err) != tt.kind {
				t.Errorf("Err() = %v of kind %v, want kind %v", err, fault.KindOf(err), tt.kind)
			}
		})
	}
}

func TestUnreadableTree(t *testing.T) {
	broken := errors.New("disk on fire")
	files := func([]string) iter.Seq2[manifest.File, error] {
		return func(yield func(manifest.File, error) bool) { yield(manifest.File{}, broken) }
	}
	if _, err := (bump.Job{}).Decide(t.Context(), files); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// branch is a branch in memory whose Publish loses as often as others push first.
type branch struct {
	tips   []tree // each is a commit, the last one is the tip
	others []tree // pushed by others, one before each Publish
	gone   error  // why its tip cannot be read any more
}

func (b *branch) Tip(context.Context) (string, error) { return fmt.Sprint(len(b.tips) - 1), b.gone }

func (b *branch) Files(_ context.Context, commit string, under []string) iter.Seq2[manifest.File, error] {
	return b.at(commit).below(under)
}

func (b *branch) at(commit string) tree {
	var n int
	fmt.Sscan(commit, &n)
	return b.tips[n]
}

func (b *branch) Commit(_ context.Context, parent string, files map[string][]byte, message string) (string, error) {
	next := tree{"MESSAGE": message}
	for p, content := range b.at(parent) {
		next[p] = content
	}
	for p, content := range files {
		next[p] = string(content)
	}
	b.tips = append(b.tips, next)
	return fmt.Sprint(len(b.tips) - 1), nil
}

func (b *branch) Name() string { return "main" }

func (b *branch) Publish(_ context.Context, parent string, commits []string) ([]string, error) {
	if len(b.others) == 0 {
		return commits, nil
	}
	b.tips = append(b.tips, b.others[0])
	b.others = b.others[1:]
	return nil, &fault.Error{Kind: fault.Conflict, What: "lost"}
}

func TestCommitDecidesAgainAfterALostRace(t *testing.T) {
	b := &branch{
		tips:   []tree{{"apps/a.yaml": "image: app:1\n"}},
		others: []tree{{"apps/a.yaml": "# new\nimage: app:1\n"}, {"apps/a.yaml": "# newer\nimage: app:1\n"}},
	}
	images, _ := bump.ParseImages([]string{"app:2"})
	var lost []int
	result, err := bump.Job{Images: images}.Commit(t.Context(), b, bump.Committing{
		Prefix: "apps", Lost: func(attempt int, _ error) { lost = append(lost, attempt) },
	})
	if err != nil || len(result.Commits) != 1 || result.Commits[0].Attempts != 3 || !slices.Equal(lost, []int{1, 2}) {
		t.Fatalf("%+v, %v, lost %v", result.Commits, err, lost)
	}
	tip := b.at(result.Commits[0].SHA)
	if tip["apps/a.yaml"] != "# newer\nimage: app:2\n" {
		t.Errorf("the tip says %q", tip["apps/a.yaml"])
	}
	want := "chore(images): bump app to 2\n\napp:\n- a.yaml:2 1 -> 2\n\nImgbump: v1\n"
	if tip["MESSAGE"] != want {
		t.Errorf("message %q, want %q", tip["MESSAGE"], want)
	}
}

func TestMessage(t *testing.T) {
	b := &branch{tips: []tree{{
		"a.yaml": "image: team/a:1\nb: {image: team/b}\n", "c.yaml": "image: team/a:1\nd: {image: old/c:1}\n",
	}}}
	digest := "sha256:" + strings.Repeat("1", 64)
	images, _ := bump.ParseImages([]string{"team/a:2", "team/b@" + digest, "old/c=team/c:3@" + digest})
	for text, want := range map[string]string{
		"": "chore(images): bump 3 images\n\nteam/a:\n- a.yaml:1 1 -> 2\n- c.yaml:1 1 -> 2\n\n" +
			"team/b:\n- a.yaml:2 no version -> sha256:111111111111\n\n" +
			"team/c:\n- c.yaml:2 old/c:1 -> 3@sha256:111111111111\n\nImgbump: v1\n",
		"deploy {{.Summary}}{{range .Images}} {{.Image}}{{end}}\n\n\n": "deploy 3 images team/a team/b team/c\n\nImgbump: v1\n",
	} {
		message, err := bump.ParseMessage(text)
		if err != nil {
			t.Fatal(err)
		}
		result, err := bump.Job{Images: images}.Commit(t.Context(), b, bump.Committing{Message: message})
		if err != nil || len(result.Commits) != 1 {
			t.Fatalf("%+v, %v", result, err)
		}
		if diff := cmp.Diff(want, result.Commits[0].Message); diff != "" {
			t.Error(diff)
		}
		b.tips = b.tips[:1]
	}
	for _, text := range []string{"{{.Nope}}", "{{", "{{template \"x\"}}"} {
		if _, err := bump.ParseMessage(text); fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCommitGivesUp(t *testing.T) {
	images, _ := bump.ParseImages([]string{"app:2"})
	start := tree{"a.yaml": "image: app:1\n"}
	job := bump.Job{Images: images}
	b := &branch{tips: []tree{start}, others: []tree{start, start, start}}
	_, err := job.Commit(t.Context(), b, bump.Committing{MaxAttempts: 2, Lost: func(int, error) {}})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "lost the race 2 times") || fault.HintOf(err) == "" {
		t.Errorf("max attempts: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b = &branch{tips: []tree{start}, others: []tree{start}}
	_, err = job.Commit(ctx, b, bump.Committing{Lost: func(int, error) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Time that is up while the new tip is read ends a lost race as one.
func TestTimeUpAfterALostRace(t *testing.T) {
	images, _ := bump.ParseImages([]string{"app:2"})
	start := tree{"a.yaml": "image: app:1\n"}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		b := &stalling{branch: branch{tips: []tree{start}, others: []tree{start}}}
		_, err := bump.Job{Images: images}.Commit(ctx, b, bump.Committing{Lost: func(int, error) { b.stalled = true }})
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "lost the race once") {
			t.Errorf("%v of kind %v", err, fault.KindOf(err))
		}
	})
}

// stalling is a branch of a server that does not answer any more.
type stalling struct {
	branch
	stalled bool
}

func (s *stalling) Tip(ctx context.Context) (string, error) {
	if s.stalled {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return s.branch.Tip(ctx)
}

func TestNothingToCommit(t *testing.T) {
	b := &branch{tips: []tree{{"a.yaml": "image: app:2\n"}}}
	images, _ := bump.ParseImages([]string{"app:2"})
	result, err := bump.Job{Images: images}.Commit(t.Context(), b, bump.Committing{})
	if err != nil || len(result.Commits) != 0 || len(b.tips) != 1 {
		t.Errorf("%+v, %v, %d commits", result, err, len(b.tips))
	}
}

func TestParseImagesRefuses(t *testing.T) {
	for arg, part := range map[string]string{
		"":               "repository is empty",
		"app":            "names no version",
		"a=b=c:1":        "is no repository component",
		"old=app":        "names no version",
		"old:1=app:2":    "without tag or digest",
		"Team/App:1":     "lower case",
		"app:1@sha256:a": "64 lower-case hex digits",
	} {
		_, err := bump.ParseImages([]string{arg})
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), part) || fault.HintOf(err) == "" {
			t.Errorf("%q: %v (%s)", arg, err, fault.HintOf(err))
		}
	}
	if _, err := bump.ParseImages([]string{"app:1", "docker.io/library/app:2"}); fault.KindOf(err) != fault.Usage {
		t.Errorf("two versions: %v", err)
	}
}

func TestDiffOfManyFilesIsInOrder(t *testing.T) {
	files := tree{}
	for i := range 50 {
		files[fmt.Sprintf("%02d.yaml", i)] = "image: app:1\n"
	}
	diff := decide(t, files, "app:2").Diff()
	var paths []string
	for line := range strings.Lines(diff) {
		if p, ok := strings.CutPrefix(line, "+++ b/"); ok {
			paths = append(paths, p)
		}
	}
	if len(paths) != 50 || !slices.IsSorted(paths) {
		t.Errorf("%d paths, sorted %v", len(paths), slices.IsSorted(paths))
	}
}
