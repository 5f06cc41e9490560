// Package ship is what harborpush does: take an image or build one, push it, and tell what came of it.
package ship

import (
	"context"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Registry is where images come from and go to. Push tells what it did also when it fails.
type Registry interface {
	Image(ctx context.Context, ref imageref.Ref, platform v1.Platform) (v1.Image, error)
	Push(ctx context.Context, artifact image.Artifact, refs []imageref.Ref) (image.Receipt, error)
}

// Result is a receipt and how long it took to earn.
type Result struct {
	image.Receipt
	Duration time.Duration
}

// Push pushes the `docker save` archive or OCI layout at path under refs.
func Push(ctx context.Context, registry Registry, path string, refs []imageref.Ref) (Result, error) {
	start := time.Now()
	artifact, closer, err := image.Open(ctx, path)
	if err != nil {
		return Result{Duration: time.Since(start)}, err
	}
	defer closer.Close()
	receipt, err := registry.Push(ctx, artifact, refs)
	return Result{Receipt: receipt, Duration: time.Since(start)}, err
}
