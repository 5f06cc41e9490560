package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/ship"
)

const copyAbout = `Copy an image from one repository to another, within a registry or between two, as it is.

All platforms are copied, and what is attached to them: referrers as registries list them, or as
their tag sha256-DIGEST does, and cosign's signatures, attestations and bills of materials. Within
one registry the layers are mounted, not sent. What was signed at DST itself stays as it is. DST gets
SRC's tag unless it names one. It is tagged when everything else is there.

HARBOR_USERNAME and HARBOR_PASSWORD are for HARBOR_URL's host, else for DST's; the other registry
gets the login that Docker's configuration has for it.`

const copyExamples = `  # promote from one project to another
  harborpush copy harbor.example.com/staging/app:1.2.3 harbor.example.com/production/app

  # by digest, to another registry
  harborpush copy ghcr.io/team/app@sha256:0f74... harbor.example.com/team/app:1.2.3`

func copyCommand(c *cli.Console) *cobra.Command {
	var d destination
	cmd := &cobra.Command{
		Use:     "copy SRC DST",
		Short:   "Copy an image with all its platforms and signatures",
		Long:    copyAbout + "\n\n" + access.Environment + cacheEnvironment + "\n" + cli.Exits(0, 1, 2, 3, 4, 130),
		Example: copyExamples,
		Args:    cli.Args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.copy(cmd.Context(), c, args[0], args[1])
		},
	}
	d.bind(cmd)
	return cmd
}

func (d *destination) copy(ctx context.Context, c *cli.Console, src, dst string) error {
	from, err := d.access.Source(ctx, c, src)
	if err != nil {
		return d.report(c, "copy", ship.Result{}, err)
	}
	if named, err := imageref.Parse(dst); err == nil && named.Tag == "" && named.Digest == "" {
		if from.Tag == "" {
			return fault.Usagef("for example: "+dst+":1.2.3", "SRC has no tag that DST could get")
		}
		dst += ":" + from.Tag
	}
	d.tags = []string{dst}
	refs, client, err := d.open(ctx, c, ship.Source{Ref: from})
	if err != nil {
		return d.report(c, "copy", ship.Result{}, err)
	}
	return d.run(ctx, c, "copy", "copying "+from.String(), func() (ship.Result, error) { return ship.Copy(ctx, client, from, refs[0]) })
}
