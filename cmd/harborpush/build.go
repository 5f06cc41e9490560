package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/remote"
	"github.com/ksera524/imgbump/internal/ship"
)

const buildAbout = `Build an image from a Dockerfile, without a Docker daemon, and push it.

CONTEXT is what COPY and ADD read from: a folder, by default the current one; a tar, which may be
compressed; the address of a tar, of a Dockerfile, or of a git repository as URL#REF:FOLDER; or '-' for
a tar or a Dockerfile on standard input. Of all but a folder the Dockerfile is in it. The Dockerfile means
what docker/dockerfile:1 makes of it, and the layers are those of BuildKit. What BuildKit's linter finds is
a warning with its line.

RUN needs root's rights in this container, its own or with sudo, and finds nothing of the machine around
it; other instructions need no right at all. Where RUN cannot work, a BuildKit at BUILDKIT_HOST builds, and
without one it is an error that says what to allow. --cache-repo keeps steps for the next runner.

With several platforms the image is an index. -o keeps it elsewhere: oci:DIR, docker:FILE, local:DIR and
tar:FILE (the files in it), or what 'docker buildx' reads, as type=oci,dest=FILE; - is standard output.
Without --push or --output the image is made, checked and dropped. Flags of 'docker build' that ask for
what is so anyway are taken; those that cannot be had are refused with the reason.`

const buildEnvironment = access.Environment + cacheEnvironment + originEnvironment + builderEnvironment + secretEnvironment + `  SOURCE_DATE_EPOCH  seconds since 1970: when the image was created, for reproducible builds
`

const buildExamples = `  # build ./Dockerfile and push it
  harborpush build -t harbor.example.com/team/app:1.2.3 --push

  # another Dockerfile and folder, two names, a build argument
  harborpush build ./app -f app/Dockerfile.prod -t app:1.2.3 -t app:latest --build-arg VERSION=1.2.3 --push

  # keep steps for the next build, and give RUN --mount=type=secret,id=npm a token
  harborpush build -t app:1.2.3 --push --cache-repo cache --secret id=npm,env=NPM_TOKEN

  # from a branch of a repository, for two platforms
  harborpush build https://github.com/example/app.git#main --platform linux/amd64,linux/arm64 -t app:1.2.3 --push

  # keep it as an OCI layout; or just the files in it
  harborpush build -o oci:./out
  harborpush build --target assets -o ./dist`

// buildFlags are the flags of build, as typed.
type buildFlags struct {
	destination
	layers           layerFlags
	builder          builderFlags
	cache            cacheFlags
	runs             runFlags
	annotations      []string
	file             string
	push, check      bool
	args, labels     []string
	contexts         []string
	target, progress string
	platforms        []string
	outputs          []string
	iidfile          string
	timeout          time.Duration
}

func buildCommand(c *cli.Console) *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:     "build [CONTEXT] -t REF... --push",
		Short:   "Build an image from a Dockerfile and push it",
		Long:    buildAbout + "\n\n" + buildEnvironment + "\n" + cli.Exits(0, 1, 2, 3, 4, 7, 130),
		Example: buildExamples,
		Args:    cli.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), c, append(args, ".")[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "file", "f", "", "`FILE` with the Dockerfile, - for standard input (default CONTEXT/Dockerfile)")
	flags.BoolVar(&f.push, "push", false, "push the image to every -t")
	flags.BoolVar(&f.check, "check", false, "build nothing, and fail if the Dockerfile breaks a rule of BuildKit's linter")
	flags.StringArrayVar(&f.contexts, "build-context", nil, "`NAME=CONTEXT` for FROM and --from: a folder, a tar, an address, docker-image://REF or oci-layout://DIR (repeatable)")
	flags.StringVar(&f.iidfile, "iidfile", "", "write the image's digest to `FILE`")
	flags.StringArrayVar(&f.args, "build-arg", nil, "`KEY=VALUE` of an ARG; KEY alone takes it from the environment (repeatable)")
	flags.StringArrayVar(&f.labels, "label", nil, "`KEY=VALUE` label of the image (repeatable)")
	flags.StringVar(&f.target, "target", "", "`STAGE` to build, by its name (default the last)")
	flags.StringArrayVar(&f.platforms, "platform", nil, "`OS/ARCH` to build for; several with commas (repeatable; default linux on this machine's architecture)")
	flags.StringArrayVarP(&f.outputs, "output", "o", nil, "write the image to `KIND:PATH`: oci:DIR, docker:FILE, local:DIR or tar:FILE (repeatable)")
	flags.StringArrayVar(&f.annotations, "annotation", nil, "`KEY=VALUE` annotation of the manifest; index:KEY=VALUE of the index for several platforms (repeatable)")
	flags.StringVar(&f.progress, "progress", "auto", "`HOW` to show what goes on: auto, plain, tty or quiet")
	flags.DurationVar(&f.timeout, "timeout", 0, "give the build up after `DURATION`, such as 30m (default never)")
	f.layers.bind(flags, "the layers that are built")
	f.bindTags(cmd)
	f.bind(cmd)
	cli.Group(flags, "RUN", f.runs.bind)
	cli.Group(flags, "Cache", f.cache.bind)
	cli.Group(flags, "BuildKit", f.builder.bind)
	f.bindDocker(cmd)
	return cmd
}

func (f *buildFlags) run(ctx context.Context, c *cli.Console, folder string) error {
	if err := c.ShowProgress(f.progress); err != nil {
		return err
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, f.late(folder, ""))
		defer cancel()
	}
	if err := f.openBuilder(c); err != nil {
		return err
	}
	build, err := f.described(c)
	if err != nil {
		return err
	}
	build.Context, build.Dockerfile = folder, f.file
	if err := cmp.Or(f.stdinOnce(build), writable("--iidfile", f.iidfile)); err != nil {
		return err
	}
	refs, client, err := f.open(ctx, c)
	if err != nil {
		return f.report(c, "build", ship.Result{}, err)
	}
	if build.Push && len(refs) == 0 {
		return fault.Usagef("for example: -t harbor.example.com/team/app:1.2.3", "--push needs the image's name, -t")
	}
	build.References = refs
	build.Options.Warn = func(file string, line int, message string) { c.Warnf(file, line, "%s", message) }
	secrets, err := readSecrets(c, f.runs.secrets)
	if err != nil {
		return err
	}
	build.Secrets = lookup(secrets)
	fetching := remote.New(remote.Options{Agent: c.Agent(), Getenv: c.Getenv, Roots: f.trusted, GitToken: gitToken(secrets, folder)})
	defer fetching.Close()
	build.Fetch = fetch(fetching)
	if err := f.stdin(ctx, c, fetching, &build); err != nil {
		return err
	}
	if f.check {
		return f.report(c, "build", ship.Result{}, build.Check(ctx, client))
	}
	return f.carryOut(ctx, c, build, client)
}

// carryOut builds, and takes the image where it goes.
func (f *buildFlags) carryOut(ctx context.Context, c *cli.Console, build ship.Build, client ship.Registry) error {
	if !build.Push && len(build.Outputs) == 0 {
		c.Warnf("", 0, "neither --push nor --output: the image is built, checked and dropped")
	}
	f.originate(c, &build)
	var kept stepCache
	var err error
	if build.Caching, kept, err = f.cache.open(ctx, c, &f.access, f.origin.client, append(build.References, imageref.Ref{})[0]); err != nil {
		return err
	}
	sandboxed, release, err := f.runs.equip(c, &build)
	if err != nil {
		return err
	}
	defer release()
	f.steps = newSteps(c, f.transfers, len(build.Platforms) > 1)
	defer f.steps.end()
	build.Step = f.steps.step
	return f.destination.run(ctx, c, "build", "building "+ship.ContextName(build.Context), func() (ship.Result, error) {
		result, err := f.builder.run(ctx, c, build, client, f.origin.client, kept, sandboxed.Probe)
		switch {
		case err == nil && f.iidfile != "":
			err = os.WriteFile(f.iidfile, []byte(result.Digest.String()), 0o644)
		case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
			err = f.late(build.Context, f.steps.unfinished())
		}
		return result, err
	})
}

// late is the error of a build that took too long, at a step when that is known.
func (f *buildFlags) late(folder, at string) error {
	err := fmt.Errorf("it was not done after %s", f.timeout)
	if at != "" {
		err = fmt.Errorf("%w, at %s", err, at)
	}
	return &fault.Error{What: "build", Where: ship.ContextName(folder), Err: err, Hint: "give it more time with --timeout"}
}
