package main

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/catalog"
	"github.com/ksera524/imgbump/internal/timespan"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const tagsAbout = `Say which tag of an image a policy would choose, and why. Nothing is changed.

Strategies, and what --constraint is to them:
  semver        the highest version; a range: ^1.2, ~1.2.3, >=1.2 <2, 1.x || 3.x. Pre-releases
                count when a bound names one: ^1.2-0
  flux-semver   the highest version of three numbers, as Flux reads ranges
  suffix        the highest version of the same kind, not below the current tag, which is the
                constraint or IMAGE's own: 1.27-alpine goes to 1.28-alpine
  calver        the latest date; a layout of calver.org: YYYY.0M.0D, YY.0M (default: any with a
                year of four digits first)
  newest-build  the image that was made last; none
  digest        what one tag names now; that tag
  alphabetical  the last name; none
  numerical     the largest number; none

What is compared equal goes by its spelling. That no tag fits is no error.`

const tagsExamples = `  # the newest version below 2
  imgbump tags harbor.example.com/team/app --constraint '>=1.2 <2'

  # the newest image of the main branch that has been there for a day
  imgbump tags harbor.example.com/team/app --strategy newest-build --allow-tags 'regexp:^main-' --min-age 24h

  # build numbers
  imgbump tags harbor.example.com/team/app --strategy numerical --allow-tags 'regexp:^build-(\d+)$' --extract '$1'

  # in a script
  imgbump tags docker.io/library/nginx:1.27-alpine --strategy suffix --format json | jq -r .tag`

const tagsEnvironment = access.Environment + cacheEnvironment

const cacheEnvironment = `  XDG_CACHE_HOME     folder where imgbump/builds.json remembers when images were made (default ~/.cache)
`

// tagsFlags are the flags of tags, as typed.
type tagsFlags struct {
	rules    policy.Rules
	strategy string
	order    string
	limit    int
	access   access.Flags

	registries access.Registries
}

func tagsCommand(c *cli.Console) *cobra.Command {
	var f tagsFlags
	cmd := &cobra.Command{
		Use:     "tags IMAGE",
		Short:   "Say which tag a policy would choose, and why",
		Long:    tagsAbout + "\n\n" + tagsEnvironment + "\n" + cli.Exits(0, 1, 2, 4, 130),
		Example: tagsExamples,
		Args:    cli.Args(oneImage),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), c, args[0]) },
	}
	f.bind(cmd.Flags())
	return cmd
}

func (f *tagsFlags) bind(flags *pflag.FlagSet) {
	mayBeEmpty := func(into *string, name, usage string) { // the variable of a script that has none
		flags.Func(name, usage, func(s string) error { *into = s; return nil })
	}
	flags.StringVar(&f.strategy, "strategy", string(policy.Semver), "`STRATEGY` to compare tags by: see above")
	mayBeEmpty(&f.rules.Constraint, "constraint", "what `CONSTRAINT` means depends on the strategy: see above")
	mayBeEmpty(&f.rules.AllowTags, "allow-tags", "only tags that match: regexp:`EXPRESSION` (RE2, unanchored), or any")
	flags.StringVar(&f.rules.Extract, "extract", "", "compare what `TEMPLATE` makes of --allow-tags' groups: $1, $name")
	flags.StringSliceVar(&f.rules.IgnoreTags, "ignore-tags", nil, "no tags that match one of `PATTERNS`: * ? [a-z]")
	flags.StringArrayVar(&f.rules.Platforms, "platform", nil, "newest-build, digest: look for an image for `OS/ARCH[/VARIANT]` (repeatable; default: any)")
	flags.BoolVar(&f.rules.PreReleases, "pre-release", false, "count pre-releases even where the constraint names none")
	flags.Func("min-age", "pass over tags that are younger than `AGE`: 24h, 7d", func(s string) (err error) {
		f.rules.MinAge, err = timespan.Parse(s)
		return err
	})
	flags.StringVar(&f.order, "order", "asc", "alphabetical, numerical: choose the last with `ORDER` asc, the first with desc")
	flags.IntVar(&f.limit, "limit", 10, "print at most `N` candidates, 0 for all; JSON has all")
	cli.Group(flags, "Registry", func(flags *pflag.FlagSet) {
		f.access.Bind(flags)
		f.access.BindProject(flags)
		f.registries.Bind(flags)
	})
}

func oneImage(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("name one image")
	}
	return nil
}

func (f *tagsFlags) run(ctx context.Context, c *cli.Console, typed string) error {
	ref, err := f.access.Repository(ctx, c, typed)
	if err != nil {
		return err
	}
	if err := f.understand(c, ref); err != nil {
		return err
	}
	options, err := f.access.Options(ctx, c, []imageref.Ref{ref})
	if err == nil {
		options.Settings, err = f.registries.Settings(c, nil)
	}
	if fault.KindOf(err) == fault.Usage {
		return err
	}
	var decision policy.Decision
	if err == nil {
		options.Ledger = builds(c)
		decision, err = catalog.New(registry.New(options), warner(c)).Choose(ctx, ref.Bare(), f.rules)
	}
	if ctx.Err() != nil {
		return err
	}
	return cmp.Or(reportTags(c, f, ref.Bare(), decision, err), err)
}

// warner warns of what a catalog has to say.
func warner(c *cli.Console) func(text string) {
	return func(text string) { c.Warnf("", 0, "%s", text) }
}

// understand completes the rules of the flags for ref, whose tag is the current one.
func (f *tagsFlags) understand(c *cli.Console, ref imageref.Ref) error {
	f.rules.Strategy = policy.Strategy(strings.ToLower(f.strategy))
	f.rules = f.rules.For(ref.Tag)
	switch f.order {
	case "asc", "desc":
		f.rules.Descending = f.order == "desc"
	default:
		return fault.Usagef("", "--order %q: it is asc or desc", f.order)
	}
	if f.limit < 0 {
		return fault.Usagef("0 prints all", "--limit %d", f.limit)
	}
	p, err := policy.New(f.rules)
	if err == nil {
		for _, name := range p.Ineffective() {
			c.Warnf("", 0, "--%s means nothing to strategy %s", name, f.rules.Strategy)
		}
	}
	return err
}

// builds is the ledger of when images were made, nil when there is no folder for it.
func builds(c *cli.Console) *image.Ledger {
	if file := c.CacheFile("imgbump", "builds.json"); file != "" {
		return image.OpenLedger(file)
	}
	return nil
}
