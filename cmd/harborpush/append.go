package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/ship"
)

const appendAbout = `Add files to an image, change its settings, and push it.

BASE is an image of a registry, an archive, an OCI layout, or scratch. Each --add is a layer, made
while it is uploaded: a folder's content goes below DST, a file becomes DST, or goes into DST when
that ends in a slash. Files belong to root unless owner= says otherwise; a folder DST itself stays
as BASE has it unless mode= or owner= is given. BASE's layers are read for the directories that
they land in; only files at the top do without.`

const appendExamples = `  # a binary on a small base
  harborpush append gcr.io/distroless/static:nonroot -t harbor.example.com/team/app:1.2.3 \
    --add ./app:/usr/bin/app:mode=0755 --entrypoint /usr/bin/app

  # a web site on nothing but a server
  harborpush append ./server.tar -t app:1.2.3 --add ./dist:/srv:owner=1000:1000 --user 1000 --env PORT=8080`

// appendFlags are the flags of append, as typed.
type appendFlags struct {
	destination
	layers              layerFlags
	adds                []string
	entrypoint, cmd     []string
	labels, annotations []string
	platform            string
	image               ship.Append
}

func appendCommand(c *cli.Console) *cobra.Command {
	var f appendFlags
	cmd := &cobra.Command{
		Use:     "append BASE -t REF...",
		Short:   "Add files to an image and push it",
		Long:    appendAbout + "\n\n" + buildEnvironment + "\n" + cli.Exits(0, 1, 2, 3, 4, 130),
		Example: appendExamples,
		Args:    cli.Args(cobra.ExactArgs(1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), c, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.adds, "add", nil, "`SRC:DST[:mode=MODE,owner=UID:GID]` to add (repeatable)")
	flags.StringArrayVar(&f.entrypoint, "entrypoint", nil, "`WORD` of the entrypoint (repeatable), or all of it as a JSON array")
	flags.StringArrayVar(&f.cmd, "cmd", nil, "`WORD` of the command (repeatable), or all of it as a JSON array")
	flags.StringArrayVar(&f.image.Env, "env", nil, "`KEY=VALUE` of the environment (repeatable)")
	flags.StringVar(&f.image.User, "user", "", "`USER[:GROUP]` that it runs as")
	flags.StringVar(&f.image.WorkDir, "workdir", "", "`FOLDER` that it runs in")
	flags.StringArrayVar(&f.labels, "label", nil, "`KEY=VALUE` label of the image (repeatable)")
	flags.StringArrayVar(&f.annotations, "annotation", nil, "`KEY=VALUE` annotation of the manifest (repeatable)")
	flags.StringVar(&f.platform, "platform", "", "`OS/ARCH` of the base to take (default linux on this machine's architecture)")
	f.layers.bind(flags, "the layers that are added")
	f.bindTags(cmd)
	f.bind(cmd)
	return cmd
}

func (f *appendFlags) run(ctx context.Context, c *cli.Console, base string) (err error) {
	if len(f.tags) == 0 {
		return errNoTag
	}
	if err := f.settings(c.Getenv); err != nil {
		return err
	}
	a := &f.image
	if a.Options, err = f.layers.options(f.ledger(c)); err != nil {
		return err
	}
	var sources []ship.Source
	if base != "scratch" {
		source, err := f.base(ctx, c, base)
		if err != nil {
			return f.report(c, "append", ship.Result{}, err)
		}
		a.Base, sources = &source, append(sources, source)
	}
	refs, client, err := f.open(ctx, c, sources...)
	if err != nil {
		return f.report(c, "append", ship.Result{}, err)
	}
	a.References = refs
	for _, described := range []map[string]string{a.Labels, a.Annotations} {
		fill(described, c.Getenv, refs, time.Time{})
	}
	return f.destination.run(ctx, c, "append", "appending to "+base, func() (ship.Result, error) { return a.Run(ctx, client) })
}

// base is where the base is. Like FROM in a Dockerfile, a name that is no file is an image, of Docker Hub without a host.
func (f *appendFlags) base(ctx context.Context, c *cli.Console, typed string) (ship.Source, error) {
	source, err := f.source(ctx, c, typed)
	if err != nil || source.Path == "" {
		return source, err
	}
	if _, err := os.Lstat(typed); err == nil {
		return source, nil
	}
	ref, err := imageref.Parse(typed)
	if err != nil {
		return source, fault.Usagef("name an image, an archive, an OCI layout, or scratch", "BASE: %w", err)
	}
	return ship.Source{Ref: ref}, nil
}

// settings reads the flags that say what becomes of the image.
func (f *appendFlags) settings(getenv func(string) string) (err error) {
	a := &f.image
	for _, s := range f.adds {
		add, err := ship.ParseAddition(s)
		if err != nil {
			return err
		}
		a.Adds = append(a.Adds, add)
	}
	if a.Entrypoint, err = ship.ParseCommand("--entrypoint", f.entrypoint); err != nil {
		return err
	}
	if a.Cmd, err = ship.ParseCommand("--cmd", f.cmd); err != nil {
		return err
	}
	if i := slices.IndexFunc(a.Env, func(s string) bool { return strings.Index(s, "=") < 1 }); i >= 0 {
		return fault.Usagef("for example: --env PORT=8080", "--env %q is not KEY=VALUE", a.Env[i])
	}
	if a.Labels, err = pairs("--label", f.labels, emptyValue); err != nil {
		return err
	}
	if a.Annotations, err = pairs("--annotation", f.annotations, emptyValue); err != nil {
		return err
	}
	if f.platform != "" {
		if a.Platform, err = ship.ParsePlatform(f.platform); err != nil {
			return err
		}
	}
	if a.Epoch, err = epoch(getenv); err != nil {
		return err
	}
	if a.Created = a.Epoch; a.Created.IsZero() {
		a.Created = time.Now().UTC()
	}
	return nil
}
