package dockerfile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/stepcache"
)

// place is a cache that is used until it fails, whatever becomes of others.
type place struct {
	Cache
	failed atomic.Bool // it is not used any more
	lossy  atomic.Bool // something in it is damaged, which was told
}

func places(all []Cache) (ps []*place) {
	for _, c := range all {
		ps = append(ps, &place{Cache: c})
	}
	return ps
}

// load is what the first cache that has it keeps under a name, nil when none does. What is damaged is not found; a cache that
// fails otherwise is not asked any more. The error is that of a build that ends.
func (c *caching) load(ctx context.Context, name string) (*stepcache.Entry, error) {
	for _, p := range c.from {
		if p.failed.Load() {
			continue
		}
		e, err := p.Load(ctx, name)
		switch {
		case err == nil && e != nil:
			return e, nil
		case err == nil:
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, stepcache.ErrLost):
			if !p.lossy.Swap(true) {
				c.warn(err)
			}
		case !p.failed.Swap(true):
			c.warn(fmt.Errorf("the cache is not asked any more: %w", err))
		}
	}
	return nil, nil
}

// put keeps an entry in every cache that has not failed, and returns its layer as the first of them has it, nil when none does.
// The error is the entry's own: its layer cannot be read, or the build ends.
func (c *caching) put(e stepcache.Entry, names ...string) (first v1.Layer, err error) {
	for _, p := range c.to {
		if p.failed.Load() {
			continue
		}
		kept, err := p.Keep(c.life, e, names...)
		switch {
		case err == nil && first == nil:
			first = kept
		case err == nil:
		case errors.Is(err, image.ErrChanged), errors.Is(err, stepcache.ErrLost), c.life.Err() != nil:
			return nil, err
		case !p.failed.Swap(true):
			c.warn(fmt.Errorf("no more steps are kept: %w", err))
		}
	}
	return first, nil
}

// keeps reports whether there is a cache that steps can be kept in.
func (c *caching) keeps() bool {
	return slices.ContainsFunc(c.to, func(p *place) bool { return !p.failed.Load() })
}
