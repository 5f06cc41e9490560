package main

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
	"github.com/ksera524/imgbump/internal/ship"
)

// harborFlags say what a push does where Harbor's project or tag stands in its way.
type harborFlags struct {
	create, public bool
	onImmutable    string

	kept []string // tags that were left as they are
}

func (f *harborFlags) bind(flags *pflag.FlagSet) {
	flags.BoolVar(&f.create, "create-project", false, "create the project in Harbor when it is missing; only its members may pull from it")
	flags.BoolVar(&f.public, "public", false, "with --create-project: anybody may pull from it")
	flags.StringVar(&f.onImmutable, "on-immutable", "fail", "`ACTION` when a tag is immutable and names another image: fail, or skip to leave it")
}

func (f *harborFlags) check() error {
	switch {
	case f.public && !f.create:
		return fault.Usagef("pass --create-project too, or change an existing project in Harbor", "--public is about a project that is created")
	case f.onImmutable != "fail" && f.onImmutable != "skip":
		return fault.Usagef("for example: --on-immutable skip", "--on-immutable %q: it is fail or skip", f.onImmutable)
	}
	return nil
}

// open is the client of the registries, and as the flags have it push.
func (f *harborFlags) open(c *cli.Console, options registry.Options) (*registry.Client, ship.Registry) {
	if f.onImmutable == "skip" {
		options.KeepImmutable = func(ref imageref.Ref) {
			f.kept = append(f.kept, ref.String())
			c.Warnf("", 0, "%s is immutable and names another image: it is left as it is", ref)
		}
	}
	options.Kept = func(ref imageref.Ref) {
		f.kept = append(f.kept, ref.String())
		c.Warnf("", 0, "%s has signatures of its own: it is left as it is", ref)
	}
	client := registry.New(options)
	if f.create {
		return client, creating{client, c, f.public}
	}
	return client, client
}

// creating is a client that creates missing projects of Harbor before it pushes to them.
type creating struct {
	*registry.Client
	console *cli.Console
	public  bool
}

func (r creating) Push(ctx context.Context, artifact image.Artifact, refs []imageref.Ref) (image.Receipt, error) {
	if err := r.create(ctx, refs...); err != nil {
		return image.Receipt{}, err
	}
	return r.Client.Push(ctx, artifact, refs)
}

func (r creating) Copy(ctx context.Context, from, to imageref.Ref) (image.Receipt, error) {
	if err := r.create(ctx, to); err != nil {
		return image.Receipt{}, err
	}
	return r.Client.Copy(ctx, from, to)
}

// create creates the projects that are missing. Whatever else stands in the push's way, the push says.
func (r creating) create(ctx context.Context, refs ...imageref.Ref) error {
	for _, ref := range refs {
		_, err := r.Digest(ctx, ref)
		missing, ok := errors.AsType[*registry.MissingProject](err)
		if !ok {
			continue
		}
		err = harbor.New(r.Client, missing.Host).CreateProject(ctx, missing.Project, r.public)
		if errors.Is(err, harbor.ErrConflict) { // somebody was faster
			continue
		}
		if err != nil {
			return err
		}
		r.console.Progressf("created project %s on %s", missing.Project, missing.Host)
	}
	return nil
}
