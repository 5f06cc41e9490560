package dockerfile

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// SetMaxEntries bounds trees for a test, and returns how to undo it.
func SetMaxEntries(n int) (undo func()) {
	before := maxEntries
	maxEntries = n
	return func() { maxEntries = before }
}

// Build is Build for one platform.
func (f *File) Build(ctx context.Context, src Sources, progress func(Step)) (v1.Image, error) {
	images, err := Build(ctx, src, progress, f)
	if err != nil {
		return nil, err
	}
	return images[0].Image, nil
}
