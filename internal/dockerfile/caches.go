package dockerfile

import (
	"context"
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/stepcache"
)

// Caches are several as one: what one has From which steps are taken is found, and what is kept is kept in all To.
type Caches struct{ From, To []Cache }

// Load asks one after the other.
func (c Caches) Load(ctx context.Context, name string) (*stepcache.Entry, error) {
	var errs []error
	for _, one := range c.From {
		e, err := one.Load(ctx, name)
		if e != nil {
			return e, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Keep returns the layer that is in the first.
func (c Caches) Keep(ctx context.Context, e stepcache.Entry, names ...string) (v1.Layer, error) {
	var first v1.Layer
	for i, one := range c.To {
		kept, err := one.Keep(ctx, e, names...)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			first = kept
		}
	}
	return first, nil
}
