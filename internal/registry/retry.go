package registry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// A request is tried three times; a registry that restarts is back by then, and a dead one is reported at once.
const (
	attempts   = 3
	firstPause = 500 * time.Millisecond
	longest    = 30 * time.Second // what a Retry-After may ask for
)

// again marks an error after which the same request may succeed, at the earliest after pause.
type again struct {
	error
	pause time.Duration
}

func (a *again) Unwrap() error { return a.error }

// retry calls do until it succeeds, fails for good, or has had its attempts.
func (c *Client) retry(ctx context.Context, do func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := do()
		var retry *again
		if err == nil || !errors.As(err, &retry) {
			return err
		}
		if attempt == attempts || retry.pause > longest || ctx.Err() != nil {
			return err
		}
		if c.wait(ctx, max(pause, retry.pause)) != nil {
			return err
		}
		pause *= 3
	}
}

// wait lets d pass.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// temporary marks err when repeating the request may help: the connection broke, or the server was busy or ill.
func temporary(err error) error {
	var status *transport.Error
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		if !temporaryStatus(status.StatusCode) {
			return err
		}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
	case errors.As(err, &timeout) && timeout.Timeout() && !errors.Is(err, context.DeadlineExceeded):
	default:
		return err
	}
	return &again{error: err}
}

func temporaryStatus(status int) bool {
	return status == http.StatusTooManyRequests || (status >= 500 && status != http.StatusNotImplemented)
}

// retryAfter is how long the answer asks to wait: seconds, or a date.
func (c *Client) retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return date.Sub(c.now())
	}
	return 0
}
