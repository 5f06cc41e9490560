package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// share is until when questions may take of the time until end, and how much that is in all.
type share struct {
	end, until time.Time
	length     time.Duration
}

// limit ends a question when three quarters are over of the time that there was at the first one. So a registry that is stuck
// keeps nothing from being done with what others answered.
func (c *Catalog) limit(ctx context.Context, ref imageref.Ref) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !end.Equal(c.share.end) {
		length := time.Until(end) * 3 / 4
		c.share = share{end, time.Now().Add(length), length}
	}
	return context.WithDeadlineCause(ctx, c.share.until, &fault.Error{What: "ask", Where: ref.Host(),
		Err:  fmt.Errorf("no answer in %v, three quarters of the time", c.share.length.Round(time.Second)),
		Hint: "is the registry slow, or stuck? allow more with --timeout"})
}

// late is why a question ended early, if it did, else err.
func late(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
