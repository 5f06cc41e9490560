package harbor

import (
	"context"
	"time"
)

// Hurry leaves out the client's pauses.
func Hurry(c *Client) { c.wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() } }

// SetMost bounds the lists that the client reads, in bytes.
func SetMost(c *Client, most int64) { c.most = most }
