package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/ship"
)

const pushAbout = `Push an image that is there to one or more references.

SOURCE is an archive as 'docker save' or 'podman save' writes it, or an OCI layout, a folder or a
tar; each tar may be compressed with gzip or zstd. Every -t names the image in a registry; the
layers are uploaded once for all names in one repository.`

const pushExamples = `  # push what a build left behind
  harborpush push image.tar -t harbor.example.com/team/app:1.2.3

  # with two names, to the registry and project of the environment
  export HARBOR_URL=https://harbor.example.com HARBOR_PROJECT=team
  export HARBOR_USERNAME='robot$team+ci' HARBOR_PASSWORD=...
  harborpush push ./oci-layout -t app:1.2.3 -t app:latest`

func pushCommand(c *cli.Console) *cobra.Command {
	var d destination
	cmd := &cobra.Command{
		Use:     "push SOURCE -t REF...",
		Short:   "Push a docker-save archive or an OCI layout",
		Long:    pushAbout + "\n\n" + access.Environment + "\n" + cli.Exits(0, 1, 2, 3, 4, 130),
		Example: pushExamples,
		Args:    cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, client, err := d.open(c)
			if err != nil {
				return err
			}
			if len(refs) == 0 {
				return fault.Usagef("for example: -t harbor.example.com/team/app:1.2.3", "name the image with -t")
			}
			end := c.Group("pushing " + args[0])
			result, err := ship.Push(cmd.Context(), client, args[0], refs)
			end()
			return d.report(c, "push", result, err)
		},
	}
	d.bind(cmd)
	return cmd
}

// destination is where a command pushes to, and what it leaves in files.
type destination struct {
	tags         []string
	metadataFile string
	access       access.Flags
}

func (d *destination) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&d.tags, "tag", "t", nil, "`REF` to push to (repeatable)")
	flags.StringVar(&d.metadataFile, "metadata-file", "", "write digest and names to `FILE`, as JSON like docker buildx's")
	d.access.Bind(flags)
	d.access.BindProject(flags)
}

// open makes the references whole and the client that reaches them.
func (d *destination) open(c *cli.Console) ([]imageref.Ref, *registry.Client, error) {
	refs, err := d.access.References(c, d.tags)
	if err != nil {
		return nil, nil, err
	}
	options, err := d.access.Options(c, refs)
	if err != nil {
		return nil, nil, err
	}
	options.Progress = func(l image.LayerReceipt) {
		c.Progressf("layer %s %10s  %s", l.Digest.Hex[:12], size(l.Size), l.Status)
	}
	return refs, registry.New(options), nil
}

// size is a number of bytes for people, in powers of 1000 as docker prints them.
func size(n int64) string {
	value, unit := float64(n), 0
	for value >= 1000 && unit < 4 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, []string{"B", "kB", "MB", "GB", "TB"}[unit])
}
