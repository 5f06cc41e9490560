package registry

import (
	"context"
	"sync"
	"time"
)

// Pauses collects the pauses that the client makes, in place of making them.
func (c *Client) Pauses() *[]time.Duration {
	var mu sync.Mutex
	var pauses []time.Duration
	c.wait = func(_ context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		pauses = append(pauses, d)
		return nil
	}
	return &pauses
}

// SetNow replaces the clock.
func (c *Client) SetNow(now func() time.Time) { c.now = now }

// SetPatience shortens all that the client waits for.
func (c *Client) SetPatience(d time.Duration) {
	b := c.http.(*bounded)
	b.answer, b.closing, b.idle = d, d, d
}

// Operation is what a request is for.
var Operation = operation
