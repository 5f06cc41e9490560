package bump

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// Branch is a git branch that commits are decided on and published to. Paths are relative to the repository.
type Branch interface {
	// Tip is the branch's newest commit.
	Tip(ctx context.Context) (commit string, err error)
	// Files are the files of commit below the given paths, all when none, in order of their path.
	Files(ctx context.Context, commit string, under []string) iter.Seq2[manifest.File, error]
	// Name is the branch's name, known after the first Tip at the latest; "" without one.
	Name() string
	// Commit makes a commit upon parent, which may be one made before, in which the files have the given content.
	Commit(ctx context.Context, parent string, files map[string][]byte, message string) (commit string, err error)
	// Publish moves the branch from parent to the last of the commits, each made upon the one before. Somebody else having
	// moved it is an error of kind Conflict. The result are the commits as they were published.
	Publish(ctx context.Context, parent string, commits []string) (published []string, err error)
}

// Job is what is to be done to a tree: Images are to be named, or, with From, what the files below that path name. Paths
// limit the search; AllOrNothing gives the whole run up when any image cannot be set. With Ages, sites that name a newer
// image are left alone; with IgnoreHold, those that are held back are not. With Include, Compose files and GitHub workflows
// count too. VersionLabel lets the label app.kubernetes.io/version of an object follow the tag. KustomizeAdd leaves resources
// alone that kustomizations build from, and adds an entry to the images of those within Paths instead.
type Job struct {
	Images       []Image
	From         string
	Updates      *Updates // choose the images by policy
	Hold         *Hold    // hold an image back, or release it, and change no version
	Paths        []string
	AllOrNothing bool
	Ages         *Ages
	IgnoreHold   bool
	Include      bool
	VersionLabel bool
	KustomizeAdd bool

	// Applications limit the sites to those that these Argo CD applications deploy. With Owners, the whole tree is looked
	// through for applications, even when Paths limit the search. Place is where the job's root lies.
	Applications []string
	Owners       bool
	Place        argocd.Place
}

// Committing says how a job becomes commits. Prefix is the folder of the repository that the job's paths are relative to,
// "" for its top. MaxAttempts limits how often a lost race is run again; 0 is no limit but the context's.
type Committing struct {
	Prefix      string
	Message     Message
	Per         Grouping // which changes make a commit of their own
	Proposals   *Proposals
	MaxAttempts int
	Lost        func(attempt int, err error) // told of each lost race before the next attempt
}

// Proposals sends the commits to branches for pull requests instead of the branch that is decided on.
type Proposals struct {
	Per  Grouping                           // which changes make a pull request of their own
	Head func(group string) (Branch, error) // the branch for a group's commits

	// Declined says why what a group would change on its head is not proposed, "" where it is. Without it, all is. The
	// group's Failures are those of the whole run.
	Declined func(ctx context.Context, head string, p Plan) (reason string, err error)
}

// DecideOn decides the job on the branch's tip.
func (j Job) DecideOn(ctx context.Context, branch Branch, prefix string) (tip string, plan Plan, err error) {
	if tip, err = branch.Tip(ctx); err != nil {
		return "", Plan{}, err
	}
	j.Place.Prefix, j.Place.Branch = prefix, branch.Name()
	plan, err = j.Decide(ctx, func(under []string) iter.Seq2[manifest.File, error] {
		return FilesAt(ctx, branch, tip, prefix, under)
	})
	return tip, plan, err
}

// FilesAt are the files of a commit below folder prefix, with their paths relative to it; below the given ones of them, all
// when there are none.
func FilesAt(ctx context.Context, branch Branch, commit, prefix string, under []string) iter.Seq2[manifest.File, error] {
	if len(under) == 0 {
		under = []string{"."}
	}
	var full []string
	for _, p := range under {
		full = append(full, path.Join(prefix, p))
	}
	if slices.Contains(full, ".") {
		full = nil
	}
	return func(yield func(manifest.File, error) bool) {
		for f, err := range branch.Files(ctx, commit, full) {
			f.Path = strings.TrimPrefix(f.Path, prefix+"/")
			if !yield(f, err) {
				return
			}
		}
	}
}

// Commit decides the job on the branch's tip, commits and publishes. When somebody else was first, it decides again on
// the new tip. Nothing to change is no commit. The result's error is Plan.Err's business; an error here means that
// nothing was published. A race that is not won when the context's deadline passes is an error of kind Conflict.
func (j Job) Commit(ctx context.Context, branch Branch, c Committing) (Result, error) {
	var all Result // with what earlier attempts published, of which a later one may know no more
	var conflict error
	for attempt := 1; ; attempt++ {
		start := time.Now()
		result, err := j.attempt(ctx, branch, c, attempt)
		if err == nil {
			return result, nil
		}
		all = all.then(result)
		switch {
		case fault.KindOf(err) == fault.Conflict:
			conflict = err
		case conflict != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
			return c.partly(all, lost(attempt-1, conflict))
		default:
			return c.partly(all, err)
		}
		if attempt == c.MaxAttempts {
			return c.partly(all, lost(attempt, conflict))
		}
		c.Lost(attempt, conflict)
		if !pause(ctx, attempt, time.Since(start)) {
			return c.partly(all, timeUp(ctx, lost(attempt, conflict)))
		}
	}
}

// attempt is one try. With an error comes what was published before it.
func (j Job) attempt(ctx context.Context, branch Branch, c Committing, number int) (Result, error) {
	tip, plan, err := j.DecideOn(ctx, branch, c.Prefix)
	if err != nil || !j.wants(plan) {
		return Result{Plan: plan}, err
	}
	by := []Grouping{c.Per}
	if c.Proposals != nil {
		by = append(by, c.Proposals.Per)
	}
	plan.Warnings = append(plan.Warnings, plan.inseparable(by...)...)
	commits, err := c.publish(ctx, branch, tip, &plan)
	for i := range commits {
		commits[i].Attempts = number
	}
	return Result{Plan: plan, Commits: commits}, err
}

// then is what two attempts published: of each branch what the later one has.
func (r Result) then(later Result) Result {
	var kept []Commit
	for _, x := range r.Commits {
		if !slices.ContainsFunc(later.Commits, func(y Commit) bool { return y.Branch == x.Branch }) {
			kept = append(kept, x)
		}
	}
	if len(later.Rewrites) == 0 && len(kept) > 0 {
		later.Plan = r.Plan
	}
	later.Commits = append(kept, later.Commits...)
	return later
}

// partly is the end of a run that failed: when some of its commits were published, the error is one of the failures.
func (c Committing) partly(r Result, err error) (Result, error) {
	if len(r.Commits) == 0 {
		return r, err
	}
	r.Failures = append(r.Failures, Failure{Err: err})
	return r, nil
}

// publish makes the plan's commits upon tip and publishes them, all at once or for each pull request apart. What is declined
// leaves the plan. With an error come those that were published before it.
func (c Committing) publish(ctx context.Context, branch Branch, tip string, plan *Plan) ([]Commit, error) {
	if c.Proposals == nil {
		return c.series(ctx, branch, tip, *plan)
	}
	groups, err := plan.split(c.Proposals.Per)
	if err != nil {
		return nil, err
	}
	var commits []Commit
	declined := map[identity]string{}
	for _, g := range groups {
		made, reason, err := c.propose(ctx, tip, g)
		if err != nil {
			return commits, errors.Join(err, plan.skip(declined))
		}
		commits = append(commits, made...)
		for _, x := range g.Changes {
			declined[x.identity()] = reason
		}
	}
	return commits, plan.skip(declined)
}

// propose publishes what a group changes on its head, unless there is a reason not to.
func (c Committing) propose(ctx context.Context, tip string, g group) (commits []Commit, reason string, err error) {
	head, err := c.Proposals.Head(g.name)
	if err == nil && c.Proposals.Declined != nil {
		reason, err = c.Proposals.Declined(ctx, head.Name(), g.Plan)
	}
	if err == nil && reason == "" {
		commits, err = c.series(ctx, head, tip, g.Plan)
	}
	return commits, reason, err
}

// series makes a commit of each of the plan's groups, one upon the other, and publishes them at once.
func (c Committing) series(ctx context.Context, branch Branch, tip string, plan Plan) ([]Commit, error) {
	groups, err := plan.steps(c.Per)
	if err != nil {
		return nil, err
	}
	commits := make([]Commit, len(groups))
	made := make([]string, len(groups))
	at := tip
	for i, g := range groups {
		message, err := c.Message.render(g.Plan)
		if err != nil {
			return nil, err
		}
		files := make(map[string][]byte, len(g.Rewrites))
		for _, r := range g.Rewrites {
			files[path.Join(c.Prefix, r.Path)] = r.After
		}
		if at, err = branch.Commit(ctx, at, files, message); err != nil {
			return nil, err
		}
		made[i], commits[i] = at, Commit{Message: message, Changes: g.Changes, Rewrites: g.Rewrites, Hold: g.Hold}
	}
	published, err := branch.Publish(ctx, tip, made)
	if err != nil {
		return nil, err
	}
	for i := range commits {
		commits[i].SHA, commits[i].Branch = published[i], branch.Name()
	}
	return commits, nil
}

// wants reports whether the plan is to be carried out.
func (j Job) wants(p Plan) bool {
	return len(p.Rewrites) > 0 && (!j.AllOrNothing || len(p.Failures) == 0)
}

// lost is the error of a race that was given up.
func lost(attempts int, err error) error {
	often := "once"
	if attempts > 1 {
		often = fmt.Sprintf("%d times", attempts)
	}
	return &fault.Error{Kind: fault.Conflict, What: "lost the race " + often, Hint: "run it again, or allow it more with --timeout and --max-attempts", Err: err}
}

// timeUp is the lost race's error, unless the person ended the run.
func timeUp(ctx context.Context, lost error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return lost
	}
	return ctx.Err()
}

// pause waits a random while before the next attempt, so that writers do not meet again: longer the more were lost, and
// the longer the last one took.
func pause(ctx context.Context, attempt int, took time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(rand.N(time.Duration(min(attempt, 8)) * max(took/2, 25*time.Millisecond))):
		return true
	}
}

// Folder is a folder whose files are edited in place.
type Folder interface {
	Files(ctx context.Context, under []string) iter.Seq2[manifest.File, error]
	Write(ctx context.Context, files map[string][]byte) error
}

// FilesIn are the files of a folder.
func FilesIn(ctx context.Context, folder Folder) Files {
	return func(under []string) iter.Seq2[manifest.File, error] { return folder.Files(ctx, under) }
}

// DecideIn decides the job on the folder's files.
func (j Job) DecideIn(ctx context.Context, folder Folder) (Plan, error) {
	return j.Decide(ctx, FilesIn(ctx, folder))
}

// Edit decides the job on the folder's files and writes those that change.
func (j Job) Edit(ctx context.Context, folder Folder) (Result, error) {
	plan, err := j.DecideIn(ctx, folder)
	if err != nil || !j.wants(plan) {
		return Result{Plan: plan}, err
	}
	files := make(map[string][]byte, len(plan.Rewrites))
	for _, r := range plan.Rewrites {
		files[r.Path] = r.After
	}
	return Result{Plan: plan}, folder.Write(ctx, files)
}
