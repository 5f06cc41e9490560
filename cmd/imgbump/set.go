package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"time"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/folder"
	"github.com/spf13/cobra"
)

const setAbout = `Make every place that names an image name another version of it.

REF is a repository with a tag, a digest or both; what it says is what gets written. OLD=REF also
matches OLD's repository and replaces it, as 'kustomize edit set image' does.

Without --commit or --push, files below --root are edited in place. --commit commits the edits
upon HEAD. --push decides on the tip of the remote's branch, whatever is checked out, and pushes
one commit; nothing else that is local goes along. When somebody else was first, the edits are
decided on again, never merged. --pr does the same on a branch of its own, and opens a pull request
on GitHub or brings the open one up to date.`

const setEnvironment = `Environment:
  IMGBUMP_TOKEN  token to push with, sent to the remote's host alone
  GITHUB_TOKEN   the same, used only where the remote is the workflow's GitHub server, and for --pr
`

const setExamples = `  # edit the files below the current folder, and look at the diff first
  imgbump set harbor.example.com/team/app:1.2.3 --dry-run
  imgbump set harbor.example.com/team/app:1.2.3

  # pin a tag together with its digest, commit and push
  imgbump set harbor.example.com/team/app:1.2.3@sha256:4bcf... --push

  # propose it instead
  imgbump set harbor.example.com/team/app:1.2.3 --pr --branch main

  # move an image to another registry
  imgbump set docker.io/library/redis=harbor.example.com/mirror/redis:7.4.1`

// setFlags are the flags of set, as typed.
type setFlags struct {
	root         string
	paths        []string
	dryRun       bool
	exitCode     bool
	allOrNothing bool
	git          gitFlags
}

func setCommand(c *cli.Console) *cobra.Command {
	var f setFlags
	cmd := &cobra.Command{
		Use:     "set [OLD=]REF...",
		Short:   "Make the manifests name this version of an image",
		Long:    setAbout + "\n\n" + setEnvironment + "\n" + cli.Exits(0, 1, 2, 3, 4, 5, 6, 10, 130),
		Example: setExamples,
		Args:    cli.Args(someImage),
		RunE: func(cmd *cobra.Command, args []string) error {
			images, err := bump.ParseImages(args)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), c, images)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.root, "root", ".", "folder `DIR` that holds the manifests")
	flags.StringArrayVar(&f.paths, "path", nil, "limit the search to `PATH`, a file or folder below --root (repeatable)")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "print a diff that 'git apply' takes, and change nothing")
	flags.BoolVar(&f.exitCode, "exit-code", false, "with --dry-run: exit 10 when something would change")
	flags.BoolVar(&f.allOrNothing, "all-or-nothing", false, "change nothing when any image cannot be set")
	f.git.bind(flags)
	return cmd
}

func someImage(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("name at least one image")
	}
	return nil
}

// run does the job where the flags say, prints what came of it and returns the error that decides the exit code.
func (f setFlags) run(ctx context.Context, c *cli.Console, images []bump.Image) error {
	if err := f.check(); err != nil {
		return err
	}
	job := bump.Job{Images: images, Paths: f.paths, AllOrNothing: f.allOrNothing}
	var result bump.Result
	var err error
	if f.git.commits() {
		result, err = f.inGit(ctx, c, job)
	} else {
		result, err = f.inPlace(ctx, job)
	}
	if err == nil {
		err = f.verdict(result)
	}
	if fault.KindOf(err) == fault.Usage {
		return err
	}
	if printing := report(c, f.dryRun, result, err); printing != nil {
		return printing
	}
	return err
}

// check refuses flags that contradict each other, and makes the paths clean.
func (f *setFlags) check() error {
	if f.exitCode && !f.dryRun {
		return fault.Usagef("add --dry-run", "--exit-code tells of changes that are pending, but without --dry-run they are made")
	}
	for i, p := range f.paths {
		f.paths[i] = path.Clean(filepath.ToSlash(p))
		if !fs.ValidPath(f.paths[i]) {
			return fault.Usagef("name a file or folder below --root", "--path %s leads outside of --root", p)
		}
	}
	return f.git.check()
}

func (f setFlags) inPlace(ctx context.Context, job bump.Job) (bump.Result, error) {
	tree, err := folder.Open(f.root)
	if err != nil {
		return bump.Result{}, err
	}
	defer tree.Close()
	if f.dryRun {
		plan, err := bump.Decide(ctx, tree.Files(ctx, job.Paths), job.Images)
		return bump.Result{Plan: plan}, err
	}
	return job.Edit(ctx, tree)
}

func (f setFlags) inGit(ctx context.Context, c *cli.Console, job bump.Job) (bump.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, f.git.timeout)
	defer cancel()
	target, err := f.git.open(c, f.root)
	if err != nil {
		return bump.Result{}, err
	}
	defer target.Close()
	if f.dryRun {
		_, plan, err := job.DecideOn(ctx, target.branch, target.prefix)
		return bump.Result{Plan: plan}, err
	}
	start := time.Now()
	result, err := job.Commit(ctx, target.branch, bump.Committing{
		Prefix: target.prefix, Message: target.message, MaxAttempts: f.git.maxAttempts,
		Lost: func(attempt int, err error) {
			c.Progressf("attempt %d: %v; deciding again on the new tip", attempt, err)
		},
	})
	for i := range result.Commits {
		commit := &result.Commits[i]
		commit.Repository, commit.Branch, commit.Pushed = target.repository(), target.branch.Name(), f.git.pushes()
		c.Detailf("committed after %d attempt(s), %v", commit.Attempts, time.Since(start).Round(time.Millisecond))
	}
	if err == nil && target.propose != nil {
		err = target.propose(ctx, &result)
	}
	return result, f.inTime(ctx, err)
}

// inTime explains an error that the end of --timeout caused.
func (f setFlags) inTime(ctx context.Context, err error) error {
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) || fault.KindOf(err) == fault.Conflict {
		return err
	}
	return &fault.Error{Kind: fault.KindOf(err), What: fmt.Sprintf("the time was up (--timeout %v)", f.git.timeout), Hint: "is the host reachable? allow more with --timeout", Err: err}
}

// verdict is the error that a finished run ends with.
func (f setFlags) verdict(result bump.Result) error {
	err := result.Err()
	if f.allOrNothing && fault.KindOf(err) == fault.Partial {
		return &fault.Error{Kind: fault.Failed, What: "nothing was changed (--all-or-nothing)", Hint: fault.HintOf(err), Err: err}
	}
	if err == nil && f.exitCode && len(result.Changes) > 0 {
		return &fault.Error{Kind: fault.Pending, What: "changes are pending"}
	}
	return err
}
