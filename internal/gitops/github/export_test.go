package github

import (
	"context"
	"time"
)

// Pauses collects the pauses that the client makes, in place of making them; its clock goes on by them.
func (c *Client) Pauses() *[]time.Duration {
	var pauses []time.Duration
	var passed time.Duration
	c.patient.now = func() time.Time { return time.Now().Add(passed) }
	c.patient.pause = func(_ context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		passed += d
		return nil
	}
	return &pauses
}
