package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"
)

const (
	answerTimeout = 25 * time.Second // of one request; a dead server is reported within half a minute
	maxAnswer     = 32 << 20         // bytes; the longest list of pull requests is a tenth of it

	attempts   = 3 // of a request that is safe to repeat; GitHub's hiccups are over by then
	firstPause = 500 * time.Millisecond

	maxLimits  = 8           // waits of one request; GitHub asks to give up some time
	unattended = time.Minute // the longest wait when the context sets no deadline
)

// patient sends requests for a client: it bounds the answers, waits a rate limit out, and repeats what is safe to repeat
// when the server is ill or the connection breaks.
type patient struct {
	next    http.RoundTripper
	waiting func(time.Duration, string)
	now     func() time.Time
	pause   func(context.Context, time.Duration) error
}

type repeatableKey struct{}

// repeatable marks a POST that may be sent twice: it makes nothing, or nothing that anybody sees, or GitHub itself refuses
// the second.
func repeatable(ctx context.Context) context.Context {
	return context.WithValue(ctx, repeatableKey{}, true)
}

// RoundTrip implements http.RoundTripper. A limit that lasts too long is an error, a *limitError.
func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	safe := r.Method != http.MethodPost || r.Context().Value(repeatableKey{}) != nil
	for failures, limits := 0, 0; ; {
		answer, body, err := p.once(r)
		pause, limited := p.limit(answer, body, limits)
		if limited {
			limits++
			if limits > maxLimits || !p.affords(r.Context(), pause) {
				return nil, &limitError{pause, serverTime(answer, p.now()).Add(pause)}
			}
			p.waiting(pause, r.URL.Host+" takes no more requests for now: its rate limit is reached")
		} else {
			failures++
			pause = firstPause * time.Duration(failures*failures)
			if !safe || !temporary(answer, err) || failures == attempts || !p.affords(r.Context(), pause) {
				return answer, err
			}
		}
		if err := p.pause(r.Context(), pause); err != nil {
			return nil, err
		}
	}
}

// once sends the request and reads the whole answer, in the time that one request has.
func (p *patient) once(r *http.Request) (answer *http.Response, body []byte, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	attempt := r.WithContext(ctx)
	if r.GetBody != nil {
		if attempt.Body, err = r.GetBody(); err != nil {
			return nil, nil, fmt.Errorf("repeat a request: %w", err)
		}
	}
	if answer, err = p.next.RoundTrip(attempt); err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)
	}
	if err != nil {
		return nil, nil, err
	}
	answer.Body, answer.Request = io.NopCloser(bytes.NewReader(body)), r
	return answer, body, nil
}

// temporary reports whether the same request may succeed soon.
func temporary(answer *http.Response, err error) bool {
	if err == nil {
		return answer.StatusCode >= http.StatusInternalServerError && answer.StatusCode != http.StatusNotImplemented
	}
	for _, broken := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return false
}

// affords reports whether the context leaves the time for a wait.
func (p *patient) affords(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	if !ok {
		return wait <= unattended
	}
	return p.now().Add(wait).Before(deadline)
}

// sleep lets d pass, unless the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
