package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/folder"
	"github.com/spf13/pflag"
)

// jobFlags are the flags of a verb that edits manifests, as typed.
type jobFlags struct {
	root         string
	dryRun       bool
	exitCode     bool
	allOrNothing bool
	ignoreHold   bool
	withIgnored  bool
	git          gitFlags
	registry     registryFlags // only set binds them
}

func (f *jobFlags) bind(flags *pflag.FlagSet) {
	f.bindPlace(flags)
	flags.BoolVar(&f.ignoreHold, "ignore-hold", false, "change places too that imgbump.yaml or a comment 'imgbump: hold' holds back")
}

// bindPlace binds the flags that say where manifests are, and where what becomes of them goes.
func (f *jobFlags) bindPlace(flags *pflag.FlagSet) {
	flags.StringVar(&f.root, "root", ".", "folder `DIR` that holds the manifests")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "print a diff that 'git apply' takes, and change nothing")
	flags.BoolVar(&f.exitCode, "exit-code", false, "with --dry-run: exit 10 when something would change")
	flags.BoolVar(&f.allOrNothing, "all-or-nothing", false, "change nothing when any image cannot be set")
	bindGitignore(flags, &f.withIgnored)
	cli.Group(flags, "Git", f.git.bind)
}

// bindGitignore binds the flag of verbs that search a folder.
func bindGitignore(flags *pflag.FlagSet, withIgnored *bool) {
	flags.BoolVar(withIgnored, "no-gitignore", false, "in a folder, search files too that .gitignore leaves out")
}

// bindInclude binds the flag of verbs that look at more than what a cluster pulls.
func bindInclude(flags *pflag.FlagSet, include *bool) {
	flags.BoolVar(include, "include", false, "Compose files and GitHub workflows count too")
}

// run does the job where the flags say, prints what came of it and returns the error that decides the exit code.
func (f jobFlags) run(ctx context.Context, c *cli.Console, verb string, job bump.Job) error {
	if err := f.check(job.Images); err != nil {
		return err
	}
	job.AllOrNothing, job.IgnoreHold, job.Owners = f.allOrNothing, f.ignoreHold, f.git.namesApplications()
	outcomes, err := f.outcomes(ctx, c, job)
	if err != nil {
		outcomes = []outcome{{err: err}}
	}
	err = together(outcomes)
	published := func(o outcome) bool { return len(o.Commits) > 0 }
	if fault.KindOf(err) == fault.Usage && !slices.ContainsFunc(outcomes, published) {
		return err
	}
	if printing := report(c, verb, f.dryRun, outcomes); printing != nil {
		return printing
	}
	return err
}

// outcomes carries the job out, in place or on branches.
func (f *jobFlags) outcomes(ctx context.Context, c *cli.Console, job bump.Job) ([]outcome, error) {
	if result, err := f.registry.prepare(ctx, c, &job); err != nil {
		return []outcome{{Result: result, err: err}}, nil
	}
	if f.git.commits() {
		return f.toBranches(ctx, c, job)
	}
	job.Place = placeOf(c, f.root, f.git.remote)
	result, err := f.inPlace(ctx, job)
	if err == nil {
		err = f.verdict(result)
	}
	return []outcome{{Result: result, err: err}}, nil
}

func (f *jobFlags) check(images []bump.Image) error {
	if f.exitCode && !f.dryRun {
		return fault.Usagef("add --dry-run", "--exit-code tells of changes that are pending, but without --dry-run they are made")
	}
	if err := f.registry.check(images, f.git); err != nil {
		return err
	}
	return f.git.check()
}

// below is paths, clean. One that leads out of --root is an error of kind Usage.
func below(paths []string) ([]string, error) {
	clean := make([]string, len(paths))
	for i, p := range paths {
		clean[i] = path.Clean(filepath.ToSlash(p))
		switch {
		case p == "":
			return nil, fault.Usagef("name a file or folder below --root", "a path is empty")
		case filepath.IsAbs(p):
			return nil, fault.Usagef("name it relative to --root", "path %s is absolute", p)
		case !fs.ValidPath(clean[i]):
			return nil, fault.Usagef("name a file or folder below --root", "path %s leads outside of --root", p)
		}
	}
	return clean, nil
}

// limits is what --path was given, clean, each part of the tree once and in the order of the files.
func limits(paths []string) ([]string, error) {
	paths, err := below(paths)
	slices.SortFunc(paths, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
	var apart []string
	for _, p := range paths {
		if len(apart) == 0 || !within(p, apart[len(apart)-1]) {
			apart = append(apart, p)
		}
	}
	return apart, err
}

// within reports whether path p is dir or lies below it.
func within(p, dir string) bool {
	return dir == "." || p == dir || strings.HasPrefix(p, dir+"/")
}

func (f jobFlags) inPlace(ctx context.Context, job bump.Job) (bump.Result, error) {
	tree, err := folder.Open(f.root)
	if err != nil {
		return bump.Result{}, err
	}
	defer tree.Close()
	tree.WithIgnored = f.withIgnored
	if f.dryRun {
		plan, err := job.DecideIn(ctx, tree)
		return bump.Result{Plan: plan}, err
	}
	return job.Edit(ctx, tree)
}

// inTime explains an error that the end of --timeout caused.
func (f jobFlags) inTime(ctx context.Context, err error) error {
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) || fault.KindOf(err) == fault.Conflict {
		return err
	}
	return &fault.Error{Kind: fault.KindOf(err), What: fmt.Sprintf("the time was up (--timeout %v)", f.git.timeout), Hint: "is the host reachable? allow more with --timeout", Err: err}
}

// verdict is the error that a finished run ends with.
func (f jobFlags) verdict(result bump.Result) error {
	err := result.Err()
	if f.allOrNothing && fault.KindOf(err) == fault.Partial {
		return &fault.Error{Kind: fault.Failed, What: "nothing was changed (--all-or-nothing)", Hint: fault.HintOf(err), Err: err}
	}
	if err == nil && f.exitCode && len(result.Changes) > 0 {
		return &fault.Error{Kind: fault.Pending, What: "changes are pending"}
	}
	return err
}
