package main

import (
	"context"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/remote"
	"github.com/ksera524/imgbump/internal/ship"
)

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
		f.tags = append(f.tags, o.Names...)
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
		build.Stdin, err = fetching.Spool(c.Input(ctx))
	case build.Dockerfile == "-":
		build.Text, err = io.ReadAll(io.LimitReader(c.Input(ctx), maxDockerfile+1))
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
	if _, given := o.Args[epochVariable]; !given && getenv(epochVariable) != "" { // as docker buildx does
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
