package dockerfile

import (
	"context"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// SetMaxEntries bounds trees for a test, and returns how to undo it.
func SetMaxEntries(entries, names int) (undo func()) {
	entriesBefore, namesBefore := maxEntries, maxNames
	maxEntries, maxNames = entries, names
	return func() { maxEntries, maxNames = entriesBefore, namesBefore }
}

// SetMaxMount bounds the cache mounts that are kept, for a test, and returns how to undo it.
func SetMaxMount(n int64) (undo func()) {
	before := maxMount
	maxMount = n
	return func() { maxMount = before }
}

// SetLater moves the clock that tells whether a file has settled, and returns how to undo it.
func SetLater(d time.Duration) (undo func()) {
	now = func() time.Time { return time.Now().Add(d) }
	return func() { now = time.Now }
}

// Build is Build for one platform.
func (f *File) Build(ctx context.Context, src Sources, progress func(Step)) (v1.Image, error) {
	images, err := Build(ctx, src, progress, f)
	if err != nil {
		return nil, err
	}
	return images[0].Image, nil
}
