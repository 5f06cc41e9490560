package dockerfile

import (
	"cmp"
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Made is an image that somebody else made of a Dockerfile.
func Made(ctx context.Context, img v1.Image) (Image, error) {
	bases := newBases(Sources{Base: func(context.Context, string, v1.Platform) (v1.Image, error) { return img, nil }})
	r, err := bases.rootfs(ctx, "image", v1.Platform{})
	if err != nil {
		return Image{}, err
	}
	platform := cmp.Or(r.config.Platform(), &v1.Platform{}) // which it need not say
	return Image{Image: img, Platform: *platform, Runs: *platform, rootfs: r}, nil
}

// Runs reports whether a stage that the target needs has a RUN. Base images may demand further ones with ONBUILD.
func (f *File) Runs() bool {
	for _, s := range f.stages {
		for _, c := range s.commands {
			if _, run := c.Command.(*instructions.RunCommand); run {
				return true
			}
		}
	}
	return false
}
