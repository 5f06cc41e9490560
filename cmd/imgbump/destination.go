package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/github"
	"github.com/ksera524/imgbump/internal/gitops/repo"
)

// destination is where a job's commits go.
type destination struct {
	branch     bump.Branch     // that is decided on and, without proposals, committed to
	proposals  *bump.Proposals // the branches for pull requests
	repository string          // the address that is pushed to, or the folder of a commit that stays local
	warning    string          // what a person must know before anything is published
	finish     func(context.Context, *bump.Result) error
	otherwise  *destination // where they go when the branch takes no push; nil: that is an error
}

// outcome is how it went with a target, which has no name when imgbump.yaml was not asked for one.
type outcome struct {
	target string
	bump.Result
	err error
}

// toBranches carries the job out on the branch that the flags name, or on that of each target.
func (f *jobFlags) toBranches(ctx context.Context, c *cli.Console, job bump.Job) ([]outcome, error) {
	w, err := f.git.open(ctx, c, f.root)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	w.pages = &pages{asked: &f.registry, silent: map[string]bool{}}
	targets, jobs, err := f.chosen(ctx, w, job)
	if err != nil {
		return nil, err
	}
	w.several = len(targets) > 1
	var outcomes []outcome
	for i, target := range targets {
		o := outcome{target: target.Name}
		o.Result, o.err = f.toTarget(ctx, c, w, target, jobs[i])
		if o.err == nil {
			o.err = f.verdict(o.Result)
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// chosen are the targets that the flags ask for, and what is to be done in each.
func (f *jobFlags) chosen(ctx context.Context, w *workplace, job bump.Job) (targets []config.Target, jobs []bump.Job, err error) {
	targets = []config.Target{{Branch: f.git.branch}}
	if f.git.toTargets() {
		ctx, cancel := context.WithTimeout(ctx, f.git.timeout)
		defer cancel()
		if targets, err = f.git.named(ctx, w); err != nil {
			return nil, nil, f.inTime(ctx, err)
		}
	}
	for _, target := range targets {
		bound, err := bounded(job, target)
		if err != nil {
			return nil, nil, err
		}
		jobs = append(jobs, bound)
	}
	return targets, jobs, nil
}

// named are the targets of imgbump.yaml that the flags ask for.
func (f *gitFlags) named(ctx context.Context, w *workplace) ([]config.Target, error) {
	parsed, err := f.config(ctx, w)
	switch {
	case err != nil:
		return nil, err
	case f.allTargets:
		return parsed.All()
	}
	return parsed.Choose(f.targets)
}

// bounded is the job with no more paths than the target has. It is an error of kind Usage when it asks for others.
func bounded(job bump.Job, target config.Target) (bump.Job, error) {
	allowed, err := limits(target.Paths)
	if err != nil || len(allowed) == 0 {
		return job, err
	}
	for _, p := range job.Paths {
		if !slices.ContainsFunc(allowed, func(dir string) bool { return within(p, dir) }) {
			return job, fault.Usagef("its paths are "+strings.Join(allowed, ", "), "%s is outside of target %s (%s)", p, target.Name, config.Where(target.Line))
		}
	}
	if len(job.Paths) == 0 {
		job.Paths = allowed
	}
	return job, nil
}

// toTarget carries the job out on one branch, in the time that there is.
func (f *jobFlags) toTarget(ctx context.Context, c *cli.Console, w *workplace, target config.Target, job bump.Job) (bump.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, f.git.timeout)
	defer cancel()
	d, err := f.aim(ctx, c, w, target, job)
	if err != nil {
		return bump.Result{}, f.inTime(ctx, err)
	}
	result, err := f.through(ctx, c, w, d, target, job)
	return result, f.inTime(ctx, err)
}

// through carries the job out at its destination.
func (f *jobFlags) through(ctx context.Context, c *cli.Console, w *workplace, d *destination, target config.Target, job bump.Job) (bump.Result, error) {
	if address, err := w.Address(f.git.remoteOf(target)); err == nil {
		job.Place.Repository = address
	}
	if f.dryRun {
		_, plan, err := job.DecideOn(ctx, d.branch, w.prefix)
		return bump.Result{Plan: plan}, err
	}
	result, err := f.commit(ctx, c, w, d, job)
	if d.otherwise != nil && (repo.Protected(err) || github.Protected(err)) {
		refusal := err
		d = d.otherwise
		if result, err = f.commit(ctx, c, w, d, job); err != nil || len(result.Commits) > 0 {
			c.Warnf("", 0, "%v; a pull request proposes the change instead", refusal)
		}
	}
	if err == nil && d.finish != nil {
		err = d.finish(ctx, &result)
	}
	return result, err
}

// commit makes the job's commits and publishes them.
func (f *jobFlags) commit(ctx context.Context, c *cli.Console, w *workplace, d *destination, job bump.Job) (bump.Result, error) {
	if d.warning != "" {
		c.Warnf("", 0, "%s", d.warning)
	}
	start := time.Now()
	result, err := job.Commit(ctx, d.branch, bump.Committing{
		Prefix: w.prefix, Message: w.message, Per: f.git.per, Proposals: d.proposals, MaxAttempts: f.git.maxAttempts,
		Lost: func(attempt int, err error) {
			c.Progressf("attempt %d: %v; deciding again on the new tip", attempt, err)
		},
	})
	for i := range result.Commits {
		commit := &result.Commits[i]
		commit.Repository, commit.Pushed = d.repository, f.git.pushes()
		c.Detailf("committed after %d attempt(s), %v", commit.Attempts, time.Since(start).Round(time.Millisecond))
	}
	return result, err
}

// aim finds the branch that is decided on and the way that commits go: the checkout's, the remote's, or that of pull
// requests. What makes that way impassable is known then; a dry run does not ask for it.
func (f *jobFlags) aim(ctx context.Context, c *cli.Console, w *workplace, target config.Target, job bump.Job) (*destination, error) {
	if !f.git.pushes() {
		return &destination{branch: w.Local(), repository: w.Root()}, nil
	}
	remote, err := w.Remote(f.git.remoteOf(target), target.Branch)
	if err != nil {
		return nil, err
	}
	remote.Expect(w.reads(job))
	d := &destination{branch: remote, repository: remote.URL()}
	proposes, may := f.git.pr.open || target.PR, f.git.pr.onProtected == "pr"
	if f.dryRun || !proposes && !may && f.git.via == viaGit {
		return d, nil
	}
	h, err := hubOf(ctx, c, w, remote)
	if err == nil && (proposes || may) {
		err = f.git.pr.checkReviewers(h.owner)
	}
	if err != nil {
		return nil, err
	}
	proposed := f.git.proposed(w, h, remote, target, job)
	if proposes {
		return proposed, nil
	}
	if may {
		d.otherwise = proposed
	}
	if f.git.via == viaAPI {
		f.git.throughAPI(c, d, h, remote)
	}
	return d, nil
}

// reads are the paths of the repository that the job looks at, none when it may be any.
func (w *workplace) reads(job bump.Job) []string {
	paths := append(slices.Clone(job.Paths), config.Name)
	if job.From != "" {
		paths = append(paths, job.From)
	}
	if len(job.Paths) == 0 || job.KustomizeAdd || job.Owners || len(job.Applications) > 0 {
		paths = []string{""}
	}
	var full []string
	for _, p := range paths {
		if p = path.Join(w.prefix, p); p == "" {
			return nil
		}
		full = append(full, p)
	}
	return full
}

// together is the error of a run: with several targets, of kind Partial when one was served, if only in part. That changes are pending is
// no failure.
func together(outcomes []outcome) error {
	if len(outcomes) == 1 {
		return outcomes[0].err
	}
	var failed []error
	var pending error
	kind, done := fault.Failed, false
	for _, o := range outcomes {
		of := fault.KindOf(o.err)
		done = done || o.err == nil || of == fault.Pending || of == fault.Partial
		switch {
		case o.err == nil:
		case of == fault.Pending:
			pending = o.err
		default:
			if failed = append(failed, &fault.Error{Kind: of, What: "target", Where: o.target, Hint: fault.HintOf(o.err), Err: o.err}); len(failed) == 1 {
				kind = of
			} else if kind != of {
				kind = fault.Failed
			}
		}
	}
	if len(failed) == 0 {
		return pending
	}
	if done {
		kind = fault.Partial
	}
	return &fault.Error{Kind: kind, Hint: fault.HintOf(failed[0]), Err: fmt.Errorf("%d of %d targets failed:\n%w", len(failed), len(outcomes), errors.Join(failed...))}
}
