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
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// Branch is a git branch that commits are decided on and published to. Paths are relative to the repository.
type Branch interface {
	// Tip is the branch's newest commit.
	Tip(ctx context.Context) (commit string, err error)
	// Files are the files of commit below the given paths, all when none, in order of their path.
	Files(ctx context.Context, commit string, under []string) iter.Seq2[manifest.File, error]
	// Commit makes a commit upon parent in which the files have the given content.
	Commit(ctx context.Context, parent string, files map[string][]byte, message string) (commit string, err error)
	// Publish moves the branch from parent to commit; somebody else having moved it is an error of kind Conflict.
	Publish(ctx context.Context, parent, commit string) error
}

// Job is what is to be done to a tree: Images are to be named, or, with From, what the files below that path name. Paths
// limit the search; AllOrNothing gives the whole run up when any image cannot be set. With Ages, sites that name a newer
// image are left alone; with IgnoreHold, those that are held back are not. With Include, Compose files and GitHub workflows
// count too. VersionLabel lets the label app.kubernetes.io/version of an object follow the tag. KustomizeAdd leaves resources
// alone that kustomizations build from, and adds an entry to the images of those within Paths instead.
type Job struct {
	Images       []Image
	From         string
	Paths        []string
	AllOrNothing bool
	Ages         *Ages
	IgnoreHold   bool
	Include      bool
	VersionLabel bool
	KustomizeAdd bool
}

// Committing says how a job becomes a commit. Prefix is the folder of the repository that the job's paths are relative
// to, "" for its top. MaxAttempts limits how often a lost race is run again; 0 is no limit but the context's.
type Committing struct {
	Prefix      string
	Message     Message
	MaxAttempts int
	Lost        func(attempt int, err error) // told of each lost race before the next attempt
}

// DecideOn decides the job on the branch's tip.
func (j Job) DecideOn(ctx context.Context, branch Branch, prefix string) (tip string, plan Plan, err error) {
	if tip, err = branch.Tip(ctx); err != nil {
		return "", Plan{}, err
	}
	plan, err = j.Decide(ctx, func(under []string) iter.Seq2[manifest.File, error] {
		return filesBelow(ctx, branch, tip, prefix, under)
	})
	return tip, plan, err
}

// filesBelow are the files of a commit below folder prefix, with their paths relative to it.
func filesBelow(ctx context.Context, branch Branch, commit, prefix string, under []string) iter.Seq2[manifest.File, error] {
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
// nothing was published.
func (j Job) Commit(ctx context.Context, branch Branch, c Committing) (Result, error) {
	for attempt := 1; ; attempt++ {
		tip, plan, err := j.DecideOn(ctx, branch, c.Prefix)
		if err != nil || !j.wants(plan) {
			return Result{Plan: plan}, err
		}
		message, err := c.Message.render(plan)
		if err != nil {
			return Result{Plan: plan}, err
		}
		files := make(map[string][]byte, len(plan.Rewrites))
		for _, r := range plan.Rewrites {
			files[path.Join(c.Prefix, r.Path)] = r.After
		}
		commit, err := branch.Commit(ctx, tip, files, message)
		if err != nil {
			return Result{Plan: plan}, err
		}
		err = branch.Publish(ctx, tip, commit)
		if err == nil {
			return Result{Plan: plan, Commits: []Commit{{SHA: commit, Message: message, Attempts: attempt}}}, nil
		}
		if fault.KindOf(err) != fault.Conflict {
			return Result{Plan: plan}, err
		}
		if attempt == c.MaxAttempts {
			return Result{Plan: plan}, lost(attempt, err)
		}
		c.Lost(attempt, err)
		if !pause(ctx, attempt) {
			return Result{Plan: plan}, timeUp(ctx, lost(attempt, err))
		}
	}
}

// wants reports whether the plan is to be carried out.
func (j Job) wants(p Plan) bool {
	return len(p.Rewrites) > 0 && (!j.AllOrNothing || len(p.Failures) == 0)
}

// lost is the error of a race that was given up.
func lost(attempts int, err error) error {
	return &fault.Error{Kind: fault.Conflict, What: fmt.Sprintf("lost the race %d times", attempts), Hint: "run it again, or allow it more with --timeout and --max-attempts", Err: err}
}

// timeUp is the lost race's error, unless the person ended the run.
func timeUp(ctx context.Context, lost error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return lost
	}
	return ctx.Err()
}

// pause waits a random while before the next attempt, longer the more were lost, so that writers do not meet again.
func pause(ctx context.Context, attempt int) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(rand.N(time.Duration(min(attempt, 8)) * 25 * time.Millisecond)):
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
