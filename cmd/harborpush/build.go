package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/dockerfile"
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
	flags.StringVar(&f.target, "target", "", "`STAGE` to build, by name or number (default the last)")
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
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	if err := f.builder.open(c); err != nil {
		return err
	}
	build, err := f.described(c)
	if err != nil {
		return err
	}
	build.Context, build.Dockerfile = folder, f.file
	if err := f.stdinOnce(build); err != nil {
		return err
	}
	refs, client, err := f.open(ctx, c)
	if err != nil {
		return f.report(c, "build", ship.Result{}, err)
	}
	if build.Push && len(refs) == 0 {
		return fault.Usagef("for example: -t harbor.example.com/team/app:1.2.3", "--push needs the image's name, -t")
	}
	build.Options.Warn = func(file string, line int, message string) { c.Warnf(file, line, "%s", message) }
	secrets, err := readSecrets(c, f.runs.secrets)
	if err != nil {
		return err
	}
	build.Secrets = lookup(secrets)
	fetching := remote.New(remote.Options{Agent: c.Agent(), Getenv: c.Getenv, Roots: f.trusted, GitToken: gitToken(secrets, folder)})
	defer fetching.Close()
	build.References, build.Fetch = refs, fetch(fetching)
	if err := f.stdin(ctx, c, fetching, &build); err != nil {
		return err
	}
	if f.check {
		return f.report(c, "build", ship.Result{}, build.Check(ctx, client))
	}
	if !build.Push && len(build.Outputs) == 0 {
		c.Warnf("", 0, "neither --push nor --output: the image is built, checked and dropped")
	}
	f.originate(c, &build)
	f.steps = newSteps(c, f.transfers, len(build.Platforms) > 1)
	defer f.steps.end()
	build.Step = f.steps.step
	var kept stepCache
	if build.Caching, kept, err = f.cache.open(ctx, c, &f.access, f.origin.client, append(refs, imageref.Ref{})[0]); err != nil {
		return err
	}
	sandboxed, release, err := f.runs.equip(c, &build)
	if err != nil {
		return err
	}
	defer release()
	return f.destination.run(ctx, c, "build", "building "+ship.ContextName(folder), func() (ship.Result, error) {
		result, err := f.builder.run(ctx, c, build, client, f.origin.client, kept, sandboxed.Probe)
		switch {
		case err == nil && f.iidfile != "":
			err = os.WriteFile(f.iidfile, []byte(result.Digest.String()), 0o644)
		case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
			err = f.late(folder)
		}
		return result, err
	})
}

// late is the error of a build that took too long.
func (f *buildFlags) late(folder string) error {
	err := fmt.Errorf("it was not done after %s", f.timeout)
	if at := f.steps.unfinished(); at != "" {
		err = fmt.Errorf("%w, at %s", err, at)
	}
	return &fault.Error{What: "build", Where: ship.ContextName(folder), Err: err, Hint: "give it more time with --timeout"}
}

// described is the build as far as the flags alone tell it.
func (f *buildFlags) described(c *cli.Console) (build ship.Build, err error) {
	build.Push = f.push
	if build.Options, err = f.options(c.Getenv); err != nil {
		return build, err
	}
	if err := f.runs.options(&build.Options); err != nil {
		return build, err
	}
	if build.Platforms, err = ship.ParsePlatforms(f.platforms); err != nil {
		return build, err
	}
	if build.Annotations, build.Index, err = f.annotated(len(build.Platforms)); err != nil {
		return build, err
	}
	if build.Layers, err = f.layers.options(f.ledger(c)); err != nil {
		return build, err
	}
	for _, s := range f.outputs {
		o, err := ship.ParseOutput(s)
		if err != nil {
			return build, err
		}
		build.Push = build.Push || o.Pushes()
		build.Outputs = append(build.Outputs, o)
		if o.Streams() {
			if err := claimStdout(c, &build); err != nil {
				return build, err
			}
		}
	}
	return build, nil
}

// claimStdout keeps standard output for the image: the result is on standard error then.
func claimStdout(c *cli.Console, build *ship.Build) error {
	switch {
	case c.JSON():
		return fault.Usagef("write the image to a file", "standard output cannot have both the image and --format json")
	case build.Stdout != nil: // ship refuses a second one
		return nil
	case screen(c.Out):
		return fault.Usagef("redirect it: > image.tar", "--output -: standard output is a terminal")
	}
	build.Stdout, c.Out = c.Out, io.Discard
	return nil
}

// screen reports whether w is a terminal.
func screen(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	stat, err := f.Stat()
	null, nerr := os.Stat(os.DevNull)
	return err == nil && stat.Mode()&os.ModeCharDevice != 0 && (nerr != nil || !os.SameFile(stat, null))
}

// annotated parts annotations of the images from those of the index.
func (f *buildFlags) annotated(platforms int) (images, index map[string]string, err error) {
	images, index = map[string]string{}, map[string]string{}
	all, err := pairs("--annotation", f.annotations, emptyValue)
	if err != nil {
		return nil, nil, err
	}
	for typed, value := range all {
		levels, key, ok := strings.Cut(typed, ":")
		if !ok {
			levels, key = "manifest", typed
		}
		for level := range strings.SplitSeq(levels, ",") {
			switch {
			case level == "manifest":
				images[key] = value
			case level == "index" && platforms > 1:
				index[key] = value
			case level == "index":
				return nil, nil, fault.Usagef("leave index: out", "--annotation %s: there is an index for several platforms only", typed)
			default:
				return nil, nil, fault.Usagef("for example: --annotation index:KEY=VALUE", "--annotation %s: %q is neither manifest nor index", typed, level)
			}
		}
	}
	return images, index, nil
}

// originate says in a workflow which commit the image comes from, where nobody else does.
func (f *buildFlags) originate(c *cli.Console, build *ship.Build) {
	build.Options.Origin = map[string]string{}
	described := []map[string]string{build.Options.Origin, build.Annotations}
	if len(build.Platforms) > 1 {
		described = append(described, build.Index)
	}
	for _, into := range described {
		fill(into, c.Getenv, build.References, build.Options.Created)
	}
}

// maxDockerfile is how much of standard input is read as a Dockerfile, in bytes.
const maxDockerfile = 16 << 20

// stdinOnce refuses two readers of standard input.
func (f *buildFlags) stdinOnce(build ship.Build) error {
	wanted := 0
	for _, is := range []bool{build.Context == "-", build.Dockerfile == "-", f.access.ReadsStdin()} {
		if is {
			wanted++
		}
	}
	if wanted > 1 {
		return errStdinTwice
	}
	return nil
}

// stdin reads the context or the Dockerfile from standard input, when that is asked for.
func (f *buildFlags) stdin(ctx context.Context, c *cli.Console, fetching *remote.Client, build *ship.Build) (err error) {
	switch {
	case build.Context == "-":
		build.Stdin, err = fetching.Spool(ctx, c.In)
	case build.Dockerfile == "-":
		build.Text, err = io.ReadAll(io.LimitReader(c.In, maxDockerfile+1))
		if err == nil && len(build.Text) > maxDockerfile {
			err = fault.Usagef("a tar of a context is read as CONTEXT: harborpush build -", "--file -: standard input has more than %d bytes", maxDockerfile)
		}
	}
	return err
}

// fetch is how ADD gets what is elsewhere.
func fetch(c *remote.Client) ship.Fetch {
	return ship.Fetch{Download: c.File, Clone: func(ctx context.Context, r dockerfile.Repository) (*os.File, error) {
		return c.Clone(ctx, remote.Repository(r))
	}}
}

// emptyValue is the value of a KEY alone.
func emptyValue(string) (string, bool) { return "", true }

// options are what the flags and the environment decide about the build.
func (f *buildFlags) options(getenv func(string) string) (dockerfile.Options, error) {
	o := dockerfile.Options{Target: f.target, Created: time.Now().UTC()}
	var err error
	if o.Contexts, err = pairs("--build-context", f.contexts, emptyValue); err != nil {
		return o, err
	}
	inherited := func(key string) (string, bool) { return getenv(key), getenv(key) != "" }
	if o.Args, err = pairs("--build-arg", f.args, inherited); err != nil {
		return o, err
	}
	if o.Labels, err = pairs("--label", f.labels, emptyValue); err != nil {
		return o, err
	}
	if _, ok := o.Args[epochVariable]; !ok { // as docker buildx does
		o.Args[epochVariable] = getenv(epochVariable)
	}
	given, err := epoch(func(name string) string { return o.Args[name] })
	if err != nil {
		return o, err
	}
	if !given.IsZero() {
		o.Created = given
	}
	return o, nil
}

// epochVariable is the one of reproducible-builds.org.
const epochVariable = "SOURCE_DATE_EPOCH"

// epoch is the time that SOURCE_DATE_EPOCH gives, zero without one.
func epoch(getenv func(string) string) (time.Time, error) {
	given := getenv(epochVariable)
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
