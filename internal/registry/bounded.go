package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// How long a registry may be silent before a request ends.
const (
	answerTimeout = 25 * time.Second // until its answer begins
	// A registry on object storage copies a large blob before it answers the closing request, and a proxy may pass on
	// only then what it was sent.
	closingTimeout = 10 * time.Minute
	idleTimeout    = time.Minute // between two pieces of a body, either way
)

// silence is the error of a request that ended because nothing moved. Repeating it is no help.
type silence struct {
	host  string
	limit time.Duration
}

func (s silence) Error() string {
	return fmt.Sprintf("no sign of life from %s for %v", s.host, s.limit)
}

// bounded ends requests in which nothing moves. The time that our own side takes over a body does not count.
type bounded struct {
	inner                 http.RoundTripper
	answer, closing, idle time.Duration
}

func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := b.answer
	if sendsBlob(r) {
		answer = b.closing
	}
	w := newWatch(r)
	w.start(answer)
	r = r.WithContext(w.ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &outgoing{r.Body, w, b.idle, answer}
	}
	resp, err := b.inner.RoundTrip(r)
	w.timer.Stop()
	if err != nil {
		w.cancel(nil)
		return nil, w.explain(err)
	}
	resp.Body = &incoming{resp.Body, w, b.idle}
	return resp, nil
}

// sendsBlob reports whether r brings content of a blob, or closes its upload with the digest (distribution specification).
func sendsBlob(r *http.Request) bool {
	return r.Method == http.MethodPatch || r.Method == http.MethodPut && r.URL.Query().Has("digest")
}

// watch cancels a request when its timer runs out.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  atomic.Int64 // what the timer was set to
}

func newWatch(r *http.Request) *watch {
	w := &watch{}
	w.ctx, w.cancel = context.WithCancelCause(r.Context())
	w.timer = time.AfterFunc(time.Hour, func() { w.cancel(silence{r.URL.Host, time.Duration(w.limit.Load())}) })
	return w
}

func (w *watch) start(limit time.Duration) {
	w.limit.Store(int64(limit))
	w.timer.Reset(limit)
}

// explain is err, or the silence that it comes from.
func (w *watch) explain(err error) error {
	var s silence
	if errors.As(context.Cause(w.ctx), &s) {
		return s
	}
	return err
}

// outgoing is the body of a request: between two reads it is the registry that we wait for.
type outgoing struct {
	io.ReadCloser
	watch        *watch
	idle, answer time.Duration
}

func (o *outgoing) Read(p []byte) (int, error) {
	o.watch.timer.Stop()
	n, err := o.ReadCloser.Read(p)
	if err == nil {
		o.watch.start(o.idle)
	} else {
		o.watch.start(o.answer)
	}
	return n, err
}

// incoming is the body of an answer: during a read it is the registry that we wait for.
type incoming struct {
	io.ReadCloser
	watch *watch
	idle  time.Duration
}

func (i *incoming) Read(p []byte) (int, error) {
	i.watch.start(i.idle)
	n, err := i.ReadCloser.Read(p)
	i.watch.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = i.watch.explain(err)
	}
	return n, err
}

func (i *incoming) Close() error {
	err := i.ReadCloser.Close()
	i.watch.timer.Stop()
	i.watch.cancel(nil)
	return err
}
