package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/ship"
)

const pushAbout = `Push an image that is there to one or more references.

SOURCE is an archive as 'docker save' or 'podman save' writes it, or an OCI layout, a folder or a
tar; each tar may be compressed with gzip or zstd, and come from standard input as '-'. An image in
a registry is a source too, with its host; within one registry its layers are mounted, not sent.
Several sources become one image for several platforms.

Every -t names the image in a registry; the layers are uploaded once for all names in one
repository. Layers stay as they are, and those that are not compressed get gzip, unless
--compression asks for something else.`

const pushExamples = `  # push what a build left behind
  harborpush push image.tar -t harbor.example.com/team/app:1.2.3
  docker save app | harborpush push - -t harbor.example.com/team/app:1.2.3

  # two archives, one image for both platforms
  harborpush push amd64.tar arm64.tar -t harbor.example.com/team/app:1.2.3

  # with two names, to the registry and project of the environment
  export HARBOR_URL=https://harbor.example.com HARBOR_PROJECT=team
  export HARBOR_USERNAME='robot$team+ci' HARBOR_PASSWORD=...
  harborpush push ./oci-layout -t app:1.2.3 -t app:latest`

// cacheEnvironment is the help on where layers are remembered.
const cacheEnvironment = `  XDG_CACHE_HOME     folder where harborpush/layers.json remembers what was pushed (default ~/.cache)
`

func pushCommand(c *cli.Console) *cobra.Command {
	var d destination
	var layers layerFlags
	cmd := &cobra.Command{
		Use:     "push SOURCE... -t REF...",
		Short:   "Push a docker-save archive, an OCI layout or an image of a registry",
		Long:    pushAbout + "\n\n" + access.Environment + cacheEnvironment + "\n" + cli.Exits(0, 1, 2, 3, 4, 130),
		Example: pushExamples,
		Args:    cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx, push := cmd.Context(), ship.Push{}
			if push.Options, err = layers.options(d.ledger(c)); err != nil {
				return err
			}
			if push.Sources, err = d.sources(ctx, c, args); err != nil {
				return d.report(c, "push", ship.Result{}, err)
			}
			refs, client, err := d.open(ctx, c, push.Sources...)
			if err != nil {
				return d.report(c, "push", ship.Result{}, err)
			}
			push.References = refs
			return d.run(cmd.Context(), c, "push", "pushing "+strings.Join(args, ", "), func() (ship.Result, error) { return push.Run(ctx, client) })
		},
	}
	layers.bind(cmd.Flags(), "the layers")
	d.bindTags(cmd)
	d.bind(cmd)
	return cmd
}

// destination is where a command pushes to, and what it leaves in files.
type destination struct {
	tags         []string
	refs         []imageref.Ref // as they are in full
	metadataFile string
	access       access.Flags
	harbor       harborFlags
	origin       originFlags
	page         string // of the image, for people
	transfers    *transfers
	steps        *steps // of a build
	known        *image.Ledger
	trusted      *x509.CertPool // certificate authorities, nil for the system's
}

func (d *destination) bindTags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&d.tags, "tag", "t", nil, "`REF` to push to (repeatable)")
}

func (d *destination) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&d.metadataFile, "metadata-file", "", "write digest and names to `FILE`, as JSON like docker buildx's")
	cli.Group(flags, "Registry", d.access.Bind)
	d.access.BindProject(flags)
	d.harbor.bind(flags)
	d.origin.bind(flags)
}

// open makes the references whole, and the client that reaches them and the sources. The login is for the references.
func (d *destination) open(ctx context.Context, c *cli.Console, sources ...ship.Source) ([]imageref.Ref, ship.Registry, error) {
	err := cmp.Or(d.harbor.check(), writable("--metadata-file", d.metadataFile))
	if err != nil {
		return nil, nil, err
	}
	refs, err := d.access.References(ctx, c, d.tags)
	if err != nil {
		return nil, nil, err
	}
	d.refs = refs
	reached := slices.Clone(refs)
	for _, s := range sources {
		if s.Ref != (imageref.Ref{}) {
			reached = append(reached, s.Ref)
		}
	}
	options, err := d.access.Options(ctx, c, reached)
	if err != nil {
		return nil, nil, err
	}
	d.transfers, d.trusted = newTransfers(c), options.RootCAs
	options.Progress, options.Ledger = d.transfers.progress, d.ledger(c)
	client, pushing := d.harbor.open(c, options)
	d.origin.client = client
	return refs, pushing, nil
}

// writable refuses a file of a flag whose folder is not there, before there is anything to lose.
func writable(flag, file string) error {
	if file == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(file)); err != nil {
		return &fault.Error{Kind: fault.Usage, What: flag, Where: file, Err: fault.Cause(err), Hint: "make the folder first"}
	}
	return nil
}

// ledger is the one of this user, nil when there is no folder for it.
func (d *destination) ledger(c *cli.Console) *image.Ledger {
	if file := c.CacheFile("harborpush", "layers.json"); d.known == nil && file != "" {
		d.known = image.OpenLedger(file)
	}
	return d.known
}

// sources are where the images are that typed names.
func (d *destination) sources(ctx context.Context, c *cli.Console, typed []string) ([]ship.Source, error) {
	if len(d.tags) == 0 {
		return nil, errNoTag
	}
	var all []ship.Source
	for i, s := range typed {
		if s == "-" && slices.Contains(typed[:i], s) {
			return nil, errStdinTwice
		}
		source, err := d.source(ctx, c, s)
		if err != nil {
			return nil, err
		}
		all = append(all, source)
	}
	return all, nil
}

var (
	errNoTag      = fault.Usagef("for example: -t harbor.example.com/team/app:1.2.3", "name the image with -t")
	errStdinTwice = fault.Usagef("write the image to a file first", "standard input cannot be read twice")
)

// source is standard input, what is there under the name, or else an image of a registry: one with a host, or with a tag
// or digest where Harbor's address is known.
func (d *destination) source(ctx context.Context, c *cli.Console, typed string) (ship.Source, error) {
	switch {
	case typed == "-" && d.access.ReadsStdin():
		return ship.Source{}, errStdinTwice
	case typed == "-":
		return ship.Source{Stream: c.Input(ctx)}, nil
	}
	if _, err := os.Lstat(typed); err == nil {
		return ship.Source{Path: typed}, nil
	}
	ref, err := imageref.Parse(typed)
	if errors.Is(err, imageref.ErrLogin) {
		return ship.Source{}, fault.Usagef("no file is called so; HARBOR_USERNAME and HARBOR_PASSWORD are a login", "%w", err)
	}
	if err != nil || ref.Registry == "" && (c.Getenv("HARBOR_URL") == "" || ref.Tag == "" && ref.Digest == "") {
		return ship.Source{Path: typed}, nil
	}
	ref, err = d.access.Source(ctx, c, typed)
	return ship.Source{Ref: ref}, err
}

// run does the work within a group of the log, and reports what came of it.
func (d *destination) run(ctx context.Context, c *cli.Console, verb, title string, do func() (ship.Result, error)) error {
	end := func() {}
	if d.steps == nil {
		end = c.Group(title)
	} else {
		c.Progressf("%s", title) // each step has a group of its own
	}
	result, err := do()
	d.transfers.drawing.End()
	if len(result.References) > 0 {
		d.origin.tell(ctx, c, result)
		d.page = d.origin.page(ctx, c, result)
	}
	end()
	return d.report(c, verb, result, err)
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
