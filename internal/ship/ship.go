// Package ship is what harborpush does: take an image or make one, push it, and tell what came of it.
package ship

import (
	"cmp"
	"context"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Registry is where images come from and go to. Push and Copy tell what they did also when they fail.
type Registry interface {
	Image(ctx context.Context, ref imageref.Ref, platform v1.Platform) (v1.Image, error)
	Artifact(ctx context.Context, ref imageref.Ref) (image.Artifact, error)
	Push(ctx context.Context, artifact image.Artifact, refs []imageref.Ref) (image.Receipt, error)
	Copy(ctx context.Context, from, to imageref.Ref) (image.Receipt, error)
}

// Result is a receipt and how long it took to earn.
type Result struct {
	image.Receipt
	Duration time.Duration
}

// timed runs do and adds how long it took.
func timed(do func() (image.Receipt, error)) (Result, error) {
	start := time.Now()
	receipt, err := do()
	return Result{Receipt: receipt, Duration: time.Since(start)}, err
}

// Copy gives the image from the name to, with all that is attached to it.
func Copy(ctx context.Context, registry Registry, from, to imageref.Ref) (Result, error) {
	return timed(func() (image.Receipt, error) { return registry.Copy(ctx, from, to) })
}

// Source is where an image is: what Stream gives, or a file or folder, or else an image in a registry.
type Source struct {
	Stream io.Reader
	Path   string
	Ref    imageref.Ref
}

// String is the source as errors call it.
func (s Source) String() string {
	if s.Stream != nil {
		return "standard input"
	}
	return cmp.Or(s.Path, s.Ref.String())
}

// open is the image, whole; it can be read until closer is closed.
func (s Source) open(ctx context.Context, registry Registry, o image.Options) (artifact image.Artifact, closer io.Closer, err error) {
	switch {
	case s.Stream != nil:
		return image.Read(ctx, "from standard input", s.Stream)
	case s.Path != "":
		return o.Open(ctx, s.Path)
	}
	artifact, err = registry.Artifact(ctx, s.Ref)
	return artifact, io.NopCloser(nil), err
}

// Push is images that are there, and where they go. Several become one image for several platforms.
type Push struct {
	Sources    []Source
	Options    image.Options // a compression that is named makes layers anew that are compressed otherwise
	References []imageref.Ref
}

// Run pushes.
func (p Push) Run(ctx context.Context, registry Registry) (Result, error) {
	return timed(func() (image.Receipt, error) { return p.run(ctx, registry) })
}

func (p Push) run(ctx context.Context, registry Registry) (image.Receipt, error) {
	var images []v1.Image
	var artifact image.Artifact
	for _, s := range p.Sources {
		a, closer, err := s.open(ctx, registry, p.Options)
		if err != nil {
			return image.Receipt{}, err
		}
		defer closer.Close()
		artifact = a
		if img, ok := a.(v1.Image); ok {
			images = append(images, img)
		}
	}
	failed := func(err error) (image.Receipt, error) {
		return image.Receipt{}, &fault.Error{What: "prepare", Where: p.References[0].String(), Err: err}
	}
	if len(p.Sources) > 1 {
		if len(images) < len(p.Sources) {
			return image.Receipt{}, fault.Usagef("push it alone, or name the images for the single platforms", "one of the sources is for several platforms itself")
		}
		joined, err := image.Join(images)
		if err != nil {
			return failed(err)
		}
		artifact = joined
	}
	if p.Options.Compression.Algorithm != "" {
		again, err := p.Options.Recompress(artifact)
		if err != nil {
			return failed(err)
		}
		artifact = again
	}
	if err := p.Options.Apply(artifact); err != nil {
		return failed(err)
	}
	if err := levelOf(p.Options, artifact); err != nil {
		return image.Receipt{}, err
	}
	return registry.Push(ctx, artifact, p.References)
}

// levelOf is an error when a level of compression was asked for, and nothing is compressed.
func levelOf(o image.Options, artifact image.Artifact) error {
	if level := o.Compression.Level; level > 0 && !image.Compresses(artifact) {
		return fault.Usagef("leave the level out, or name a --compression that they do not have", "--compression-level %d: all layers are compressed already, and stay as they are", level)
	}
	return nil
}
