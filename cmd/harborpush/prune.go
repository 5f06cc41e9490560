package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
	"github.com/ksera524/imgbump/internal/retention"
)

const pruneAbout = `Remove the images of a Harbor project, or of one repository, that no rule keeps.

Without --apply nothing is changed: the table says what would go and what would stay, and why. One
rule is enough to stay, and what belongs together stays together: the images of an index, signatures
and attestations, the index of an image without a tag. Images with immutable tags stay.

--keep-referenced keeps whatever the manifests of a folder or a git repository name, now and at any
of their last commits (--keep-commits), by tag or digest, on whatever host. When they cannot be read,
nothing is removed. --gc has Harbor free the space, for which the account must be an administrator.`

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
}

func pruneCommand(c *cli.Console) *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use:     "prune PROJECT[/REPO]",
		Short:   "Remove images from Harbor that no rule keeps",
		Long:    pruneAbout + "\n\n" + access.Environment + "\n" + cli.Exits(0, 1, 2, 3, 4, 130),
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
	flags.IntVar(&f.commits, "keep-commits", 10, "with --keep-referenced: what they name at any of their last `N` commits")
	flags.BoolVar(&f.apply, "apply", false, "remove it; without, only say what would go")
	flags.BoolVar(&f.gc, "gc", false, "with --apply: start Harbor's garbage collection afterwards, and wait for it")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Minute, "`TIME` to wait for the garbage collection")
	f.access.BindHarbor(flags)
	f.access.Bind(flags)
	return cmd
}

func (f *pruneFlags) run(ctx context.Context, c *cli.Console, target string) error {
	rules, err := f.rules()
	if err != nil {
		return err
	}
	p := pruning{apply: f.apply}
	if p.project, p.repository, err = parseTarget(target); err != nil {
		return err
	}
	host, err := f.access.Harbor(ctx, c)
	if err != nil {
		return err
	}
	options, err := f.access.Options(ctx, c, nil)
	if err != nil {
		return err
	}
	p.client = harbor.New(registry.New(options), host)
	err = f.prune(ctx, c, rules, &p)
	if fault.KindOf(err) == fault.Usage {
		return err
	}
	if printing := p.report(c, err); printing != nil {
		return printing
	}
	return err
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
	case f.timeout <= 0:
		return r, fault.Usagef("for example: --timeout 30m", "--timeout %v leaves no time", f.timeout)
	case f.last == 0 && f.within == "" && len(f.tags) == 0 && !f.semver && len(f.referenced) == 0:
		return r, fault.Usagef("for example: --keep-last 5", "no rule says what to keep: everything would go")
	}
	if f.within != "" {
		var err error
		if r.Within, err = retention.ParseDuration(f.within); err != nil {
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
	case err != nil || ref.Versioned():
		return "", "", fault.Usagef("for example: harborpush prune team/app --keep-last 5", "%q is not PROJECT or PROJECT/REPO", target)
	}
	project, _, inside := strings.Cut(target, "/")
	if inside {
		repository = target
	}
	return project, repository, nil
}

// prune finds out what goes, and removes it when that was asked for. Before all is known nothing is removed.
func (f *pruneFlags) prune(ctx context.Context, c *cli.Console, rules retention.Rules, p *pruning) error {
	for _, source := range f.referenced {
		n := newNamed(p.project)
		read := n.folder
		if isURL(source) {
			read = n.remote
		}
		if err := errors.Join(read(ctx, c, source, f.commits), ctx.Err()); err != nil {
			return err
		}
		if err := n.err(); err != nil {
			return err
		}
		c.Progressf("%s: %d files name %d images and digests", n.where, n.files, len(n.references))
		rules.References = append(rules.References, n.references...)
	}
	if err := p.judge(ctx, c, rules); err != nil || !f.apply {
		return err
	}
	err := p.remove(ctx, c)
	if err == nil && f.gc {
		err = f.collect(ctx, c, p)
	}
	if err != nil && p.removed > 0 && ctx.Err() == nil {
		return &fault.Error{Kind: fault.Partial, What: fmt.Sprintf("%d of %d removed", p.removed, len(p.going())), Hint: fault.HintOf(err), Err: err}
	}
	return err
}

// isURL reports whether a source is the address of a repository: URL, or USER@HOST:PATH as ssh has it.
func isURL(source string) bool {
	host, _, scp := strings.Cut(source, ":")
	return strings.Contains(source, "://") || scp && strings.Contains(host, "@") && !strings.Contains(host, "/")
}

func (f *pruneFlags) collect(ctx context.Context, c *cli.Console, p *pruning) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, &fault.Error{What: "collect garbage on", Where: p.client.Host(),
		Err: fmt.Errorf("not done within %v; it goes on", f.timeout), Hint: "allow more with --timeout"})
	defer cancel()
	c.Progressf("collecting garbage on %s", p.client.Host())
	done, err := p.client.Collect(ctx)
	if err == nil {
		p.collected = &done
	}
	return err
}

// pruning is a project, or one of its repositories, with what becomes of each image.
type pruning struct {
	client              *harbor.Client
	project, repository string
	apply               bool
	outcomes            []*outcome
	removed             int
	collected           *harbor.Collection
}

// outcome is what becomes of an image, and whether it is gone.
type outcome struct {
	repository string
	retention.Decision
	gone bool
}

func (p *pruning) going() []*outcome {
	return slices.DeleteFunc(slices.Clone(p.outcomes), func(o *outcome) bool { return o.Keep })
}

// judge lists the repositories and decides about their images.
func (p *pruning) judge(ctx context.Context, c *cli.Console, rules retention.Rules) error {
	repositories := []string{p.repository}
	if p.repository == "" {
		var err error
		if repositories, err = p.client.Repositories(ctx, p.project); err != nil {
			return err
		}
		slices.Sort(repositories)
	}
	for _, name := range repositories {
		listed, err := p.client.Artifacts(ctx, name)
		if err != nil {
			return err
		}
		c.Detailf("%s: %d images", name, len(listed))
		r := retention.Repository{Name: name}
		for _, a := range listed {
			r.Artifacts = append(r.Artifacts, judged(a))
		}
		if r.Hidden, err = p.hidden(ctx, rules, r); err != nil {
			return err
		}
		for _, d := range rules.Decide(r) {
			p.outcomes = append(p.outcomes, &outcome{repository: name, Decision: d})
		}
	}
	if len(p.outcomes) == 0 {
		return p.empty(ctx)
	}
	return nil
}

// empty tells a name that is misspelled from one that holds nothing. Harbor lists nothing for both; who may not ask gets
// the benefit of the doubt.
func (p *pruning) empty(ctx context.Context) error {
	_, err := p.client.Project(ctx, p.project)
	if err == nil && p.repository != "" {
		_, err = p.client.Repository(ctx, p.repository)
	}
	if errors.Is(err, harbor.ErrForbidden) {
		return nil
	}
	return err
}

func judged(a harbor.Artifact) retention.Artifact {
	j := retention.Artifact{Digest: a.Digest, Pushed: a.Pushed, Size: a.Size, Children: a.Children, Accessories: a.Accessories}
	for _, t := range a.Tags {
		j.Tags = append(j.Tags, retention.Tag{Name: t.Name, Pushed: t.Pushed, Immutable: t.Immutable})
	}
	return j
}

// hidden are the digests that manifests name in a repository, that are there, and that Harbor does not list.
func (p *pruning) hidden(ctx context.Context, rules retention.Rules, r retention.Repository) ([]string, error) {
	shown := map[string]bool{}
	for _, a := range r.Artifacts {
		for _, digest := range slices.Concat([]string{a.Digest}, a.Children, a.Accessories) {
			shown[digest] = true
		}
	}
	var found []string
	for _, ref := range rules.References {
		if ref.Repository != r.Name || ref.Digest == "" || shown[ref.Digest] {
			continue
		}
		shown[ref.Digest] = true
		switch _, err := p.client.Artifact(ctx, r.Name, ref.Digest); {
		case err == nil:
			found = append(found, ref.Digest)
		case !errors.Is(err, harbor.ErrMissing):
			return nil, err
		}
	}
	return found, nil
}

// remove deletes what goes, indexes first. It stops where the account may not delete, or nobody answers.
func (p *pruning) remove(ctx context.Context, c *cli.Console) error {
	var errs []error
	for _, o := range p.ordered() {
		err := p.delete(ctx, c, o)
		_, refused := errors.AsType[*harbor.Refusal](err)
		if err != nil && (!refused || fault.KindOf(err) == fault.Denied) {
			return errors.Join(append([]error{err}, errs...)...)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ordered is what goes, repository by repository, in the order in which Harbor lets it go.
func (p *pruning) ordered() []*outcome {
	var all []*outcome
	for rest := p.outcomes; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].repository == rest[0].repository {
			n++
		}
		var decisions []retention.Decision
		byDigest := map[string]*outcome{}
		for _, o := range rest[:n] {
			decisions = append(decisions, o.Decision)
			byDigest[o.Digest] = o
		}
		for _, d := range retention.Order(decisions) {
			all = append(all, byDigest[d.Digest])
		}
		rest = rest[n:]
	}
	return all
}

// delete removes one image, unless it got another tag since it was judged.
func (p *pruning) delete(ctx context.Context, c *cli.Console, o *outcome) error {
	now, err := p.client.Artifact(ctx, o.repository, o.Digest)
	if err != nil && !errors.Is(err, harbor.ErrMissing) {
		return err
	}
	for _, t := range now.Tags {
		if !slices.ContainsFunc(o.Tags, func(old retention.Tag) bool { return old.Name == t.Name }) {
			return p.stay(c, o, "it was tagged "+t.Name+" meanwhile")
		}
	}
	switch err := p.client.Delete(ctx, o.repository, o.Digest); {
	case errors.Is(err, harbor.ErrReferenced):
		return p.stay(c, o, "an index that stays refers to it")
	case err != nil && !errors.Is(err, harbor.ErrMissing): // missing: gone with its index
		return err
	}
	o.gone = true
	p.removed++
	c.Progressf("removed %s@%s %s", o.repository, o.Digest, tagNames(o.Tags))
	return nil
}

// stay keeps an image that was to go.
func (p *pruning) stay(c *cli.Console, o *outcome, why string) error {
	o.Keep, o.Why = true, why
	c.Warnf("", 0, "%s@%s stays: %s", o.repository, o.Digest, why)
	return nil
}
