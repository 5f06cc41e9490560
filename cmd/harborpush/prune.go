package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/prune"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
	"github.com/ksera524/imgbump/internal/retention"
	"github.com/ksera524/imgbump/internal/timespan"
)

const pruneAbout = `Remove the images of a Harbor project, or of one repository, that no rule keeps.

Without --apply nothing is changed: the table says what would go and what would stay, and why. One
rule is enough to stay, and what belongs together stays together: the images of an index, signatures
and attestations, the index of an image without a tag. Images with immutable tags stay.

--keep-referenced keeps whatever the manifests of a folder or a git repository name, now and at any
of the last commits of the branch (--keep-commits), by tag or digest, on whatever host; and all of a
repository that is named without a tag that can be told. What cannot be read might name anything:
then nothing is removed. Git's token is for the server of the first URL.

--gc has Harbor free the space, for which the account must be an administrator.`

const pruneExamples = `  # what would go, next to what the GitOps repository names
  harborpush prune team --keep-last 5 --keep-within 30d --keep-referenced ../gitops

  # do it, in one repository, and free the space
  harborpush prune team/app --keep-tag 'v*' --keep-semver-latest --apply --gc`

// pruneFlags are the flags of prune, as typed.
type pruneFlags struct {
	last       int
	within     string
	tags       []string
	semver     bool
	referenced []string
	commits    int
	apply      bool
	gc         bool
	timeout    time.Duration
	access     access.Flags
	login      gitaccess.Flags
}

// pruneEnvironment is the help on the variables that prune reads.
var pruneEnvironment = access.Environment + "\n" + strings.Replace(gitaccess.ReadEnvironment, "Environment:", "Environment, to read git repositories:", 1)

func pruneCommand(c *cli.Console) *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use:     "prune PROJECT[/REPO]",
		Short:   "Remove images from Harbor that no rule keeps",
		Long:    pruneAbout + "\n\n" + pruneEnvironment + "\n" + cli.Exits(0, 1, 2, 3, 4, 130),
		Example: pruneExamples,
		Args:    cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), c, args[0])
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.last, "keep-last", 0, "keep the newest `N` of each repository, by when they were pushed")
	flags.StringVar(&f.within, "keep-within", "", "keep what was pushed within `TIME`: 30d, 4w, 36h")
	flags.StringArrayVar(&f.tags, "keep-tag", nil, "keep what has a tag like `GLOB`, with *, ? and [...] (repeatable)")
	flags.BoolVar(&f.semver, "keep-semver-latest", false, "keep the highest version of each repository")
	flags.StringArrayVar(&f.referenced, "keep-referenced", nil, "keep what the manifests below `DIR`, or in the git repository URL[#BRANCH], name (repeatable)")
	flags.IntVar(&f.commits, "keep-commits", 10, "with --keep-referenced: what they name at any of the branch's last `N` commits")
	flags.BoolVar(&f.apply, "apply", false, "remove it; without, only say what would go")
	flags.BoolVar(&f.gc, "gc", false, "with --apply: start Harbor's garbage collection afterwards, and wait for it")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Minute, "`TIME` to wait for the garbage collection")
	f.access.BindHarbor(flags)
	cli.Group(flags, "Registry", f.access.Bind)
	cli.Group(flags, "Git server", f.login.Bind)
	return cmd
}

// run prunes, and says what came of it.
func (f *pruneFlags) run(ctx context.Context, c *cli.Console, target string) error {
	p := pruning{apply: f.apply}
	err := f.prune(ctx, c, target, &p)
	return p.report(c, err)
}

// rules are what the flags say, without what manifests name.
func (f *pruneFlags) rules() (retention.Rules, error) {
	r := retention.Rules{Last: f.last, Now: time.Now(), Tags: f.tags, Semver: f.semver}
	switch {
	case f.last < 0:
		return r, fault.Usagef("for example: --keep-last 5", "--keep-last %d is negative", f.last)
	case f.commits < 1:
		return r, fault.Usagef("for example: --keep-commits 10", "--keep-commits %d: the newest commit counts at least", f.commits)
	case f.gc && !f.apply:
		return r, fault.Usagef("add --apply", "--gc frees the space of what is removed, but without --apply nothing is")
	case f.access.ReadsStdin() && f.login.ReadsStdin():
		return r, fault.Usagef("set IMGBUMP_TOKEN, or name a file", "standard input is the password's: --git-token-file - cannot be read from there too")
	case f.timeout <= 0:
		return r, fault.Usagef("for example: --timeout 30m", "--timeout %v leaves no time", f.timeout)
	case f.last == 0 && f.within == "" && len(f.tags) == 0 && !f.semver && len(f.referenced) == 0:
		return r, fault.Usagef("for example: --keep-last 5", "no rule says what to keep: everything would go")
	}
	if f.within != "" {
		var err error
		if r.Within, err = timespan.Parse(f.within); err != nil {
			return r, fault.Usagef("for example: --keep-within 30d", "--keep-within: %w", err)
		}
	}
	if err := r.Check(); err != nil {
		return r, fault.Usagef("for example: --keep-tag 'v*'", "--keep-tag: %w", err)
	}
	return r, nil
}

// parseTarget reads PROJECT or PROJECT/REPO; repository is the whole name, "" for all of the project's.
func parseTarget(target string) (project, repository string, err error) {
	ref, err := imageref.Parse("registry.invalid/" + target)
	switch {
	case errors.Is(err, imageref.ErrUpperCase):
		return "", "", fault.Usagef("did you mean "+strings.ToLower(target)+"?", "%s: %w", target, imageref.ErrUpperCase)
	case errors.Is(err, imageref.ErrLogin):
		return "", "", fault.Usagef("for example: harborpush prune team/app --keep-last 5", "%w", err)
	case err != nil || ref.Versioned():
		return "", "", fault.Usagef("for example: harborpush prune team/app --keep-last 5", "%q is not PROJECT or PROJECT/REPO", target)
	}
	project, _, inside := strings.Cut(target, "/")
	if inside {
		repository = target
	}
	return project, repository, nil
}

// pruning is a project with what became of its images.
type pruning struct {
	project   string
	apply     bool
	result    prune.Result
	collected *harbor.Collection
}

// prune does the work. Before all is known nothing is removed.
func (f *pruneFlags) prune(ctx context.Context, c *cli.Console, target string, p *pruning) error {
	job := prune.Job{Apply: f.apply, Progressf: c.Progressf, Detailf: c.Detailf, Warnf: func(format string, args ...any) { c.Warnf("", 0, format, args...) }}
	var err error
	if job.Rules, err = f.rules(); err != nil {
		return err
	}
	if job.Project, job.Repository, err = parseTarget(target); err != nil {
		return err
	}
	p.project = job.Project
	host, err := f.access.Harbor(ctx, c)
	if err != nil {
		return err
	}
	options, err := f.access.Options(ctx, c, nil)
	if err != nil {
		return err
	}
	from := sources{flags: f, console: c}
	defer from.close()
	if err := from.open(ctx); err != nil {
		return err
	}
	job.Sources = from.all
	client := harbor.New(registry.New(options), host)
	if p.result, err = job.Run(ctx, pruned{client}); err == nil && f.gc {
		p.collected, err = f.collect(ctx, c, client)
	}
	if ctx.Err() != nil {
		return err
	}
	return p.result.Partial(err)
}

// collect has Harbor free the space.
func (f *pruneFlags) collect(ctx context.Context, c *cli.Console, client *harbor.Client) (*harbor.Collection, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, &fault.Error{What: "collect garbage on", Where: client.Host(),
		Err: fmt.Errorf("not done within %v; it goes on", f.timeout), Hint: "allow more with --timeout"})
	defer cancel()
	c.Progressf("collecting garbage on %s", client.Host())
	done, err := client.Collect(ctx)
	if err != nil {
		return nil, err
	}
	return &done, nil
}
