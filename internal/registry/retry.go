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

// Turns counts the attempts at one request. The zero value is before the first.
type Turns struct {
	made  int
	pause time.Duration
}

// Next is how long to wait after an attempt that failed before the next, at least what the answer asked for; more is
// false when there is none.
func (t *Turns) Next(asked time.Duration) (pause time.Duration, more bool) {
	t.made++
	t.pause = max(firstPause, 3*t.pause)
	return max(t.pause, asked), t.made < attempts && asked <= longest
}

// again marks an error after which the same request may succeed, at the earliest after pause.
type again struct {
	error
	pause time.Duration
}

func (a *again) Unwrap() error { return a.error }

// retry calls do until it succeeds, fails for good, or has had its attempts.
func (c *Client) retry(ctx context.Context, do func() error) error {
	var turns Turns
	for {
		err := do()
		var retry *again
		if err == nil || !errors.As(err, &retry) {
			return err
		}
		pause, more := turns.Next(retry.pause)
		if !more || ctx.Err() != nil || c.wait(ctx, pause) != nil {
			return err
		}
	}
}

// Wait lets d pass. The error is why the context ended before.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
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

func (c *Client) retryAfter(h http.Header) time.Duration { return RetryAfter(h, c.now()) }

// RetryAfter is how long an answer asks to wait: seconds, or until a date (RFC 9110, 10.2.3).
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return date.Sub(now)
	}
	return 0
}
