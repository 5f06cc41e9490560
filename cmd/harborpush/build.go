package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/ship"
)

const buildAbout = `Build an image from a Dockerfile, without a Docker daemon, and push it.

CONTEXT is the folder that COPY and ADD read from, by default the current one. What it supports so
far: FROM scratch, an image or a stage; COPY and ADD of local files; all instructions that only
change the configuration. Everything else, RUN above all, is an error that names the line, before
anything is built.

Without --push or --output the image is made, checked and dropped.`

const buildEnvironment = access.Environment + cacheEnvironment + `  SOURCE_DATE_EPOCH  seconds since 1970: when the image was created, for reproducible builds
`

const buildExamples = `  # build ./Dockerfile and push it
  harborpush build -t harbor.example.com/team/app:1.2.3 --push

  # another Dockerfile and folder, two names, a build argument
  harborpush build ./app -f app/Dockerfile.prod -t app:1.2.3 -t app:latest --build-arg VERSION=1.2.3 --push

  # keep it as an OCI layout
  harborpush build -o oci:./out`

// buildFlags are the flags of build, as typed.
type buildFlags struct {
	destination
	layers           layerFlags
	annotations      []string
	file             string
	push             bool
	args, labels     []string
	target, platform string
	outputs          []string
}

func buildCommand(c *cli.Console) *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:     "build [CONTEXT] -t REF... --push",
		Short:   "Build an image from a Dockerfile and push it",
		Long:    buildAbout + "\n\n" + buildEnvironment + "\n" + cli.Exits(0, 1, 2, 3, 4, 130),
		Example: buildExamples,
		Args:    cli.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), c, append(args, ".")[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "file", "f", "", "`FILE` with the Dockerfile (default CONTEXT/Dockerfile)")
	flags.BoolVar(&f.push, "push", false, "push the image to every -t")
	flags.StringArrayVar(&f.args, "build-arg", nil, "`KEY=VALUE` of an ARG; KEY alone takes it from the environment (repeatable)")
	flags.StringArrayVar(&f.labels, "label", nil, "`KEY=VALUE` label of the image (repeatable)")
	flags.StringVar(&f.target, "target", "", "`STAGE` to build, by name or number (default the last)")
	flags.StringVar(&f.platform, "platform", "", "`OS/ARCH` to build for (default linux on this machine's architecture)")
	flags.StringArrayVarP(&f.outputs, "output", "o", nil, "write the image to `KIND:PATH`: oci:DIR or docker:FILE (repeatable)")
	flags.StringArrayVar(&f.annotations, "annotation", nil, "`KEY=VALUE` annotation of the manifest (repeatable)")
	f.layers.bind(flags, "the layers that are built")
	f.bindTags(cmd)
	f.bind(cmd)
	return cmd
}

func (f *buildFlags) run(ctx context.Context, c *cli.Console, folder string) error {
	options, err := f.options(c.Getenv)
	if err != nil {
		return err
	}
	refs, client, err := f.open(ctx, c)
	if err != nil {
		return f.report(c, "build", ship.Result{}, err)
	}
	if f.push && len(refs) == 0 {
		return fault.Usagef("for example: -t harbor.example.com/team/app:1.2.3", "--push needs the image's name, -t")
	}
	options.Warn = func(file string, line int, message string) { c.Warnf(file, line, "%s", message) }
	build := ship.Build{Context: folder, Dockerfile: f.file, Options: options, References: refs, Push: f.push, Step: func(s dockerfile.Step) {
		c.Progressf("[%d/%d] %s", s.Number, s.Total, s.Instruction)
	}}
	for _, s := range f.outputs {
		o, err := ship.ParseOutput(s)
		if err != nil {
			return err
		}
		build.Outputs = append(build.Outputs, o)
	}
	if !f.push && len(f.outputs) == 0 {
		c.Warnf("", 0, "neither --push nor --output: the image is built, checked and dropped")
	}
	if build.Layers, err = f.layers.options(f.ledger(c)); err != nil {
		return err
	}
	if build.Annotations, err = pairs("--annotation", f.annotations, emptyValue); err != nil {
		return err
	}
	fill(build.Annotations, c.Getenv, refs, options.Created)
	return f.destination.run(ctx, c, "build", "building "+folder, func() (ship.Result, error) { return build.Run(ctx, client) })
}

// emptyValue is the value of a KEY alone.
func emptyValue(string) (string, bool) { return "", true }

// options are what the flags and the environment decide about the build.
func (f *buildFlags) options(getenv func(string) string) (dockerfile.Options, error) {
	o := dockerfile.Options{Target: f.target, Created: time.Now().UTC()}
	var err error
	inherited := func(key string) (string, bool) { return getenv(key), getenv(key) != "" }
	if o.Args, err = pairs("--build-arg", f.args, inherited); err != nil {
		return o, err
	}
	if o.Labels, err = pairs("--label", f.labels, emptyValue); err != nil {
		return o, err
	}
	given, err := epoch(getenv)
	if err != nil {
		return o, err
	}
	if !given.IsZero() {
		o.Created = given
	}
	if f.platform != "" {
		o.Platform, err = ship.ParsePlatform(f.platform)
	}
	return o, err
}

// epoch is the time that SOURCE_DATE_EPOCH gives (reproducible-builds.org), zero without one.
func epoch(getenv func(string) string) (time.Time, error) {
	given := getenv("SOURCE_DATE_EPOCH")
	if given == "" {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(given, 10, 64)
	if err != nil {
		return time.Time{}, fault.Usagef("it is the number of seconds since 1970", "SOURCE_DATE_EPOCH %q is no number", given)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// pairs reads KEY=VALUE; the value of a KEY alone comes from absent, if it has one.
func pairs(flag string, typed []string, absent func(key string) (string, bool)) (map[string]string, error) {
	all := map[string]string{}
	for _, s := range typed {
		key, value, found := strings.Cut(s, "=")
		if key == "" {
			return nil, fault.Usagef("for example: "+flag+" KEY=VALUE", "%s %q has no key", flag, s)
		}
		if !found {
			value, found = absent(key)
		}
		if found {
			all[key] = value
		}
	}
	return all, nil
}
