package main

import (
	"context"
	"time"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/catalog"
	"github.com/spf13/pflag"
)

// registryFlags say what the registry is asked about the images, as typed. The zero value asks nothing.
type registryFlags struct {
	pin         string
	checkExists bool
	ifNewer     bool
	access      access.Flags

	registries access.Registries // of update, and so are
	demands    catalog.Demands
	observe    func(host, operation string, status int, took time.Duration) // of serve: each request
	lists      *registry.Lists                                              // of serve: what one round tells the next
	client     *registry.Client                                             // nil until the registry is asked
}

func (f *registryFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.pin, "pin", "", "`PARTS` of the version to write: tag, digest or both (default: those that REF has); a digest that REF lacks is asked for")
	flags.BoolVar(&f.checkExists, "check-exists", false, "change nothing unless the registry has every REF")
	flags.BoolVar(&f.ifNewer, "if-newer", false, "leave alone what names a newer image: by date, else by semantic version")
	cli.Group(flags, "Registry", f.access.Bind)
}

// check refuses what contradicts itself, or the flags for git.
func (f *registryFlags) check(images []bump.Image, git gitFlags) error {
	if f.access.ReadsStdin() && git.login.ReadsStdin() {
		return fault.Usagef("name a file with --git-token-file, or set HARBOR_PASSWORD", "--password-stdin and --git-token-file - both read standard input")
	}
	return bump.Pin(f.pin).Check(images)
}

// prepare asks the registry what has to be known before the job is decided. The result has the images that it could not
// tell of.
func (f *registryFlags) prepare(ctx context.Context, c *cli.Console, job *bump.Job) (bump.Result, error) {
	if job.Updates != nil {
		return bump.Result{}, f.prepareUpdate(ctx, c, job.Updates)
	}
	if f.pin == "" && !f.checkExists && !f.ifNewer {
		return bump.Result{}, nil
	}
	refs := make([]imageref.Ref, len(job.Images))
	for i, image := range job.Images {
		refs[i] = image.Ref
	}
	options, err := f.access.Options(ctx, c, refs)
	if err != nil {
		return bump.Result{}, err
	}
	f.client = registry.New(options)
	if f.ifNewer {
		job.Ages = bump.NewAges(f.client)
	}
	failures, err := job.Resolve(ctx, f.client, bump.Pin(f.pin), f.checkExists)
	return bump.Result{Plan: bump.Plan{Failures: failures}}, err
}
