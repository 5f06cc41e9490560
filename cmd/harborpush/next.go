package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/release"
	"github.com/ksera524/imgbump/internal/version"
)

const nextAbout = `Print the next version of what the checkout DIR holds (default: here), from git's tags.

The remote is asked for its tags, and with --bump auto for the commits since the last of them, so
that a clone of one commit is enough. A commit that has a version keeps it. In a workflow for a pull
request the version is pr-NUMBER-COMMIT, and there is no tag.

--push makes the annotated tag on the remote without losing a race: when somebody else takes the
version, the next one is computed.`

const nextExamples = `  # the next patch version, for a build
  harborpush next

  # release it: the version that the commits ask for, tagged and pushed
  version=$(harborpush next --bump auto --push)

  # one application of several, tagged app/v1.2.3, by the commits that change its folder
  harborpush next --prefix app/ --bump auto --path app --path lib --push`

func nextCommand(c *cli.Console) *cobra.Command {
	var f nextFlags
	cmd := &cobra.Command{
		Use:     "next [DIR]",
		Short:   "Print the next version from git's tags, and tag it",
		Long:    nextAbout + "\n\n" + gitaccess.Environment + "\n" + cli.Exits(0, 1, 2, 4, 5, 130),
		Example: nextExamples,
		Args:    cli.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			n, err := f.find(cmd.Context(), c, append(args, ".")[0])
			return n.report(c, err)
		},
	}
	f.bind(cmd.Flags())
	return cmd
}

// nextFlags say which version is wanted and what becomes of it, as typed.
type nextFlags struct {
	scheme    version.Scheme
	bump      string
	paths     []string
	within    []string // paths, from the top of the repository
	pre       string
	createTag bool
	push      bool
	remote    string
	message   string
	timeout   time.Duration
	sign      gitaccess.SignFlags
	login     gitaccess.Flags
}

func (f *nextFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.bump, "bump", string(version.Patch), "`PART` to raise: patch, minor, major, or auto for what the commits ask for (conventionalcommits.org)")
	flags.StringVar(&f.scheme.Prefix, "prefix", "", "`TEXT` in front of this application's tags: app/ for app/v1.2.3")
	flags.StringArrayVar(&f.paths, "path", nil, "with --bump auto: commits count that change this `PATH` below DIR (repeatable)")
	flags.StringVar(&f.pre, "pre", "", "make it a pre-release of this `KIND`: rc for 1.3.0-rc.1")
	flags.StringVar(&f.scheme.Initial, "initial", "0.1.0", "the first `VERSION`, when there is no tag yet")
	flags.StringVar(&f.remote, "remote", "origin", "`REMOTE` that has the tags")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "`TIME` for all of the git work")
	cli.Group(flags, "Tag", func(flags *pflag.FlagSet) {
		flags.BoolVar(&f.createTag, "create-tag", false, "make the annotated tag in the checkout")
		flags.BoolVar(&f.push, "push", false, "make the annotated tag on the remote too")
		flags.StringVar(&f.message, "message", "", "tag message, a Go `TEMPLATE` over .Tag, .Version, .Previous and .Why (default: the tag)")
		f.sign.Bind(flags, "the tag")
	})
	cli.Group(flags, "Git server", f.login.Bind)
}

// creates reports whether the version becomes a tag.
func (f *nextFlags) creates() bool { return f.createTag || f.push }

func (f *nextFlags) check() error {
	switch {
	case !slices.Contains(version.Bumps, version.Bump(f.bump)):
		return fault.Usagef("it is patch, minor, major or auto", "--bump %s is unknown", f.bump)
	case len(f.paths) > 0 && version.Bump(f.bump) != version.Auto:
		return fault.Usagef("add --bump auto", "--path says which commits count, but --bump %s goes by none", f.bump)
	case f.timeout <= 0:
		return fault.Usagef("for example: --timeout 2m", "--timeout %v leaves no time", f.timeout)
	case f.message != "" && !f.creates():
		return fault.Usagef("add --create-tag or --push", "--message is for a tag, but none is asked for")
	case f.sign.Given() && !f.creates():
		return fault.Usagef("add --create-tag or --push", "--sign-key signs a tag, but none is asked for")
	}
	if err := f.scheme.Check(); err != nil {
		return fault.Usagef(fault.HintOf(err), "--initial: %w", err)
	}
	_, err := f.words(version.Next{})
	return err
}

// words are the message of the version's tag.
func (f *nextFlags) words(n version.Next) (string, error) {
	var b strings.Builder
	t, err := template.New("--message").Parse(cmp.Or(f.message, "{{.Tag}}"))
	if err == nil {
		err = t.Execute(&b, n)
	}
	if err != nil {
		return "", fault.Usagef("for example: --message 'Release {{.Version}}'", "%w", err)
	}
	return b.String(), nil
}

// next is a version with what became of it.
type next struct {
	release.Result
	commit string
}

// find computes the version and makes its tag.
func (f *nextFlags) find(ctx context.Context, c *cli.Console, dir string) (next, error) {
	if n, found, err := fromEvent(c.Getenv, f.scheme); found || err != nil {
		if f.creates() && n.Tag == "" && err == nil {
			c.Progressf("no tag for a pull request")
		}
		return n, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	r, tags, err := f.open(ctx, c, dir)
	if err != nil {
		return next{}, err
	}
	defer r.Close()
	commit, err := r.Local().Tip(ctx)
	if err != nil {
		return next{}, err
	}
	job := release.Job{
		Scheme: f.scheme, Bump: version.Bump(f.bump), Pre: f.pre, Within: f.within, Create: f.createTag, Push: f.push, Message: f.words,
		Lost: func(attempt int, err error) { c.Progressf("attempt %d: %v; counting again", attempt, err) },
	}
	result, err := job.Run(ctx, tagged{tags}, commit)
	return next{result, commit}, f.inTime(ctx, err)
}

// tagged is git's tags as release needs them.
type tagged struct{ *repo.Tags }

func (t tagged) List(ctx context.Context) ([]release.Tag, error) {
	listed, err := t.Tags.List(ctx)
	var all []release.Tag
	for _, tag := range listed {
		all = append(all, release.Tag(tag))
	}
	return all, err
}

// open finds the checkout, and its tags on the remote.
func (f *nextFlags) open(ctx context.Context, c *cli.Console, dir string) (*repo.Repo, *repo.Tags, error) {
	keys, err := f.login.Keyring(c)
	if err != nil {
		return nil, nil, err
	}
	options := f.login.Options(c)
	options.Credential = keys.Credential
	if f.creates() {
		if options.Signer, err = f.sign.Signer(c); err != nil {
			return nil, nil, err
		}
	}
	r, err := repo.Open(dir, options)
	if err != nil {
		return nil, nil, &fault.Error{Kind: fault.KindOf(err), Hint: "run inside a git checkout, or name one: harborpush next DIR", Err: err}
	}
	address, _ := r.Address(f.remote) // of a remote that is not there Tags tells
	var tags *repo.Tags
	if err = keys.Home(r, address); err == nil {
		tags, err = r.Tags(f.remote)
	}
	if err == nil {
		f.within, err = f.below(r, dir)
	}
	if err != nil {
		r.Close()
	}
	return r, tags, err
}

// below is --path from the top of the repository, nil for all of it.
func (f *nextFlags) below(r *repo.Repo, dir string) ([]string, error) {
	prefix, err := r.Prefix(dir)
	if err != nil {
		return nil, err
	}
	var below []string
	for _, typed := range f.paths {
		p := path.Join(prefix, filepath.ToSlash(typed))
		if filepath.IsAbs(typed) || !fs.ValidPath(p) {
			return nil, fault.Usagef("for example: --path src", "--path %s leads out of the repository", typed)
		}
		if p == "." {
			return nil, nil
		}
		below = append(below, p)
	}
	return below, nil
}

// inTime explains an error that the end of --timeout caused.
func (f *nextFlags) inTime(ctx context.Context, err error) error {
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return &fault.Error{Kind: fault.KindOf(err), What: fmt.Sprintf("the time was up (--timeout %v)", f.timeout), Hint: "is the host reachable? allow more with --timeout", Err: err}
}
