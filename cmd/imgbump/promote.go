package main

import (
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/spf13/cobra"
)

const promoteAbout = `Make production run what staging runs.

FROM and TO are folders or files below --root. Every place below TO whose repository FROM names,
too, gets FROM's tag and digest. What only one of them names is left alone (--verbose counts it), and
so is what has no version in FROM. Where FROM names a repository in two versions, nothing is decided
and nothing changes. A version that a kustomization of FROM overrides does not count.

With --commit, --push and --pr both are read from the commit that is decided on, as 'set' does.`

const promoteExamples = `  # production gets what staging runs; look at the diff first
  imgbump promote overlays/staging overlays/production --dry-run
  imgbump promote overlays/staging overlays/production

  # propose it: one values file to the other
  imgbump promote apps/web/values-staging.yaml apps/web/values-production.yaml --pr --branch main`

func promoteCommand(c *cli.Console) *cobra.Command {
	var f jobFlags
	cmd := &cobra.Command{
		Use:     "promote FROM TO",
		Short:   "Make the manifests of one folder name the versions of another's",
		Long:    promoteAbout + "\n\n" + gitaccess.Environment + "\n" + cli.Exits(0, 1, 2, 3, 4, 5, 6, 10, 130),
		Example: promoteExamples,
		Args:    cli.Args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			sides, err := below(args)
			if err != nil {
				return err
			}
			if within(sides[0], sides[1]) || within(sides[1], sides[0]) {
				return fault.Usagef("name two folders beside each other", "%s and %s overlap: there is nothing to promote", sides[0], sides[1])
			}
			return f.run(cmd.Context(), c, "promote", bump.Job{From: sides[0], Paths: sides[1:]})
		},
	}
	f.bind(cmd.Flags())
	return cmd
}
