package ship

import (
	"context"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// Order is what somebody else needs to know to build an image.
type Order struct {
	Dockerfile  string // as errors call it
	Text        []byte // of the Dockerfile
	Sources     dockerfile.Sources
	Options     dockerfile.Options
	Platforms   []string          // an image for each; none is Options.Platform
	Compression image.Compression // of new layers
	Step        func(dockerfile.Step)
}

// Builder builds an image elsewhere, which can be read until closer is closed.
type Builder func(ctx context.Context, o Order) (artifact image.Artifact, closer io.Closer, err error)

// RunElsewhere does what Run does with an image that somebody else builds.
func (b Build) RunElsewhere(ctx context.Context, registry Registry, build Builder) (Result, error) {
	return timed(func() (image.Receipt, error) {
		if err := b.outputs(); err != nil {
			return image.Receipt{}, err
		}
		var opened closers
		defer opened.Close()
		order, err := b.order(ctx, registry, &opened)
		if err != nil {
			return image.Receipt{}, err
		}
		artifact, closer, err := build(ctx, order)
		if err != nil {
			return image.Receipt{}, err
		}
		defer closer.Close()
		made, err := b.received(ctx, artifact)
		if err != nil {
			return image.Receipt{}, err
		}
		return b.deliver(ctx, registry, made)
	})
}

// order reads the Dockerfile, and opens what the build reads besides.
func (b Build) order(ctx context.Context, registry Registry, opened *closers) (o Order, err error) {
	main, err := b.open(ctx, b.Context, opened)
	if err != nil {
		return o, err
	}
	o = Order{Dockerfile: b.path(main), Options: b.Options, Compression: b.Layers.Compression, Step: b.Step}
	for _, p := range b.Platforms {
		o.Platforms = append(o.Platforms, p.String())
	}
	if o.Text, err = b.dockerfile(main); err != nil {
		return o, err
	}
	o.Sources, err = b.sources(ctx, registry, main, opened)
	return o, err
}

// received is what somebody built: an image, or an index of images for the platforms that were asked for.
func (b Build) received(ctx context.Context, artifact image.Artifact) (built, error) {
	failed := func(err error) (built, error) {
		return built{}, &fault.Error{What: "read the image that was built", Err: err}
	}
	parts, err := parts(artifact)
	if err != nil {
		return failed(err)
	}
	if len(parts) != max(1, len(b.Platforms)) {
		return failed(errors.New("it is not for the platforms that were asked for"))
	}
	var images []dockerfile.Image
	for _, part := range parts {
		img, err := dockerfile.Made(ctx, part)
		if err != nil {
			return failed(err)
		}
		images = append(images, img)
	}
	return built{artifact: b.join(images), images: images}, nil
}

// parts are the images of an artifact.
func parts(artifact image.Artifact) ([]v1.Image, error) {
	index, ok := artifact.(v1.ImageIndex)
	if !ok {
		return image.Parts(artifact), nil
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var all []v1.Image
	for _, d := range manifest.Manifests {
		img, err := index.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		all = append(all, img)
	}
	return all, nil
}

// Runs reports whether the build has a RUN, as far as the Dockerfile tells.
func (b Build) Runs(ctx context.Context) (bool, error) {
	var opened closers
	defer opened.Close()
	main, err := b.open(ctx, b.Context, &opened)
	if err != nil {
		return false, err
	}
	text, err := b.dockerfile(main)
	if err != nil {
		return false, err
	}
	files, err := b.parse(b.path(main), text)
	for _, f := range files {
		if f.Runs() {
			return true, nil
		}
	}
	return false, err
}
