package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
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
	finish     func(context.Context, *bump.Result) error
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
	w.pages = &pages{client: f.registry.client, silent: map[string]bool{}}
	targets := []config.Target{{Branch: f.git.branch}}
	if f.git.toTargets() {
		if targets, err = f.git.chosen(ctx, w); err != nil {
			return nil, err
		}
	}
	var outcomes []outcome
	for _, target := range targets {
		o := outcome{target: target.Name}
		o.Result, o.err = f.toTarget(ctx, c, w, target, job)
		if o.err == nil {
			o.err = f.verdict(o.Result)
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// chosen are the targets of imgbump.yaml that the flags ask for.
func (f *gitFlags) chosen(ctx context.Context, w *workplace) ([]config.Target, error) {
	parsed, err := f.config(ctx, w)
	if err != nil {
		return nil, err
	}
	if f.allTargets && len(parsed.Targets) > 0 {
		return parsed.Targets, nil
	}
	return parsed.Choose(f.targets)
}

// toTarget carries the job out on one branch, in the time that there is.
func (f *jobFlags) toTarget(ctx context.Context, c *cli.Console, w *workplace, target config.Target, job bump.Job) (bump.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, f.git.timeout)
	defer cancel()
	if len(job.Paths) == 0 {
		job.Paths = target.Paths
	}
	d, err := f.git.aim(c, w, target, job)
	if err != nil {
		return bump.Result{}, err
	}
	if address, err := w.Address(f.git.remoteOf(target)); err == nil {
		job.Place.Repository = address
	}
	if f.dryRun {
		_, plan, err := job.DecideOn(ctx, d.branch, w.prefix)
		return bump.Result{Plan: plan}, f.inTime(ctx, err)
	}
	result, err := f.commit(ctx, c, w, d, job)
	if f.git.pr.instead(err) && d.proposals == nil {
		c.Warnf("", 0, "%v; a pull request proposes the change instead", err)
		target.PR = true
		if d, err = f.git.aim(c, w, target, job); err == nil {
			result, err = f.commit(ctx, c, w, d, job)
		}
	}
	if err == nil && d.finish != nil {
		err = d.finish(ctx, &result)
	}
	return result, f.inTime(ctx, err)
}

// commit makes the job's commits and publishes them.
func (f *jobFlags) commit(ctx context.Context, c *cli.Console, w *workplace, d *destination, job bump.Job) (bump.Result, error) {
	start := time.Now()
	per, err := grouping("--commit-per", f.git.per)
	if err != nil {
		return bump.Result{}, err
	}
	result, err := job.Commit(ctx, d.branch, bump.Committing{
		Prefix: w.prefix, Message: w.message, Per: per, Proposals: d.proposals, MaxAttempts: f.git.maxAttempts,
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
// requests.
func (f *gitFlags) aim(c *cli.Console, w *workplace, target config.Target, job bump.Job) (*destination, error) {
	if !f.pushes() {
		return &destination{branch: w.Local(), repository: w.Root()}, nil
	}
	remote, err := w.Remote(f.remoteOf(target), target.Branch)
	if err != nil {
		return nil, err
	}
	remote.Expect(w.reads(job))
	d := &destination{branch: remote, repository: remote.URL()}
	if f.pr.open || target.PR || f.via == viaAPI {
		err = f.throughGitHub(c, w, d, remote, job, f.pr.open || target.PR)
	}
	return d, err
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

// instead reports whether the branch refused the push, and a pull request is wanted then.
func (f *pullRequestFlags) instead(err error) bool {
	return f.onProtected == "pr" && (repo.Protected(err) || github.Protected(err))
}

// together is the error of a run: with several targets, of kind Partial when one was served.
func together(outcomes []outcome) error {
	if len(outcomes) == 1 {
		return outcomes[0].err
	}
	var failed []error
	var kinds []fault.Kind
	for _, o := range outcomes {
		if o.err == nil {
			continue
		}
		failed = append(failed, &fault.Error{Kind: fault.KindOf(o.err), What: "target", Where: o.target, Hint: fault.HintOf(o.err), Err: o.err})
		kinds = append(kinds, fault.KindOf(o.err))
	}
	if len(failed) == 0 {
		return nil
	}
	kind := kinds[0]
	for _, k := range kinds[1:] {
		if k != kind {
			kind = fault.Failed
		}
	}
	if len(failed) < len(outcomes) && kind != fault.Pending {
		kind = fault.Partial
	}
	return &fault.Error{Kind: kind, Hint: fault.HintOf(failed[0]), Err: fmt.Errorf("%d of %d targets failed:\n%w", len(failed), len(outcomes), errors.Join(failed...))}
}
