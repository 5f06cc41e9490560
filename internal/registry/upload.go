package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// headway is how much a registry must have received of a blob since an upload broke last, in bytes, for the attempts to be
// counted anew: so a large blob gets through over a bad line.
const headway = 1 << 20

// upload is one blob on its way.
type upload struct {
	*destination
	layer    v1.Layer
	location *url.URL // where the next request goes; nil when no upload is open
	received int64    // how much of the blob the registry has
	broken   bool     // the last attempt ended early
	report   func(sent int64)
}

// upload streams the layer into an upload, the one at location when there is one, and closes it with the digest, which is
// known by then. An upload that breaks goes on where the registry says it stands.
func (d *destination) upload(ctx context.Context, l v1.Layer, location *url.URL, report func(sent int64)) error {
	u := &upload{destination: d, layer: l, location: location, report: report}
	for {
		before := u.received
		err := d.client.retry(ctx, func() error { return u.attempt(ctx) })
		if err == nil || u.received-before < headway || ctx.Err() != nil {
			return err
		}
	}
}

func (u *upload) attempt(ctx context.Context) error {
	if u.broken {
		if done, err := u.resume(ctx); err != nil || done {
			return err
		}
	}
	u.broken = true
	if u.location == nil {
		open := request{method: http.MethodPost, url: u.url("%s/blobs/uploads/", u.repository), scopes: u.scopes}
		location, err := u.step(ctx, open, http.StatusAccepted)
		if err != nil {
			return err
		}
		u.location, u.received = location, 0
	}
	if err := u.stream(ctx); err != nil {
		return err
	}
	return u.close(ctx)
}

// resume finds out where a broken upload stands: the blob may be there after all, the registry may know how much of it it
// has (distribution specification, "Resumable push"), or the upload is lost.
func (u *upload) resume(ctx context.Context) (done bool, err error) {
	if digest, size, err := identity(u.layer); err == nil {
		if there, err := u.exists(ctx, digest, size); err != nil || there {
			return there, err
		}
	}
	if u.location == nil {
		return false, nil
	}
	ask := request{method: http.MethodGet, url: u.location.String(), scopes: u.scopes}
	u.location, u.received = nil, 0
	resp, err := u.session.send(ctx, ask)
	if err != nil {
		return false, nil // it will fail again, and say why, when an upload is opened
	}
	resp.Body.Close()
	var first, last int64
	if _, err := fmt.Sscanf(resp.Header.Get("Range"), "%d-%d", &first, &last); err != nil || resp.StatusCode >= 300 || first != 0 || last <= 0 {
		return false, nil // "0-0" is what distribution says of nothing
	}
	if location, err := next(resp); err == nil {
		u.location, u.received = location, last+1
	}
	return false, nil
}

// stream sends what the registry does not have yet.
func (u *upload) stream(ctx context.Context) error {
	content, err := u.layer.Compressed()
	if err != nil {
		return err
	}
	if _, pending := u.layer.(image.Pending); !pending {
		digest, size, err := identity(u.layer)
		if err != nil {
			return err
		}
		content = checked(content, digest, size)
	}
	defer content.Close()
	if _, err := io.CopyN(io.Discard, content, u.received); err != nil {
		return u.unreadable(err)
	}
	body := &source{from: content, start: u.received, report: u.report}
	patch := request{method: http.MethodPatch, url: u.location.String(), scopes: u.scopes, stream: body, size: -1,
		header: http.Header{"Content-Type": {"application/octet-stream"}}}
	if size, err := u.layer.Size(); err == nil {
		patch.size = size - u.received
		if u.received > 0 {
			patch.header.Set("Content-Range", fmt.Sprintf("%d-%d", u.received, size-1))
		}
	}
	location, err := u.step(ctx, patch, http.StatusAccepted, http.StatusOK, http.StatusCreated, http.StatusNoContent)
	u.push.count(body.n.Load())
	if reading := body.failure(); reading != nil && ctx.Err() == nil {
		return u.unreadable(reading)
	}
	if err != nil {
		return err
	}
	u.location = location
	return nil
}

// unreadable is the error of a push whose layer cannot be read.
func (d *destination) unreadable(err error) error {
	hint := ""
	if errors.Is(err, image.ErrCorrupt) {
		hint = "what is pushed is damaged: build it, save it or download it again"
	}
	return &fault.Error{Kind: fault.KindOf(err), What: "push", Where: d.name(), Hint: hint, Err: err}
}

// close names the digest. A registry that does not find it in what it received gets the blob once more.
func (u *upload) close(ctx context.Context) error {
	digest, err := u.layer.Digest()
	if err != nil {
		return fmt.Errorf("push %s: %w", u.name(), err)
	}
	done := *u.location
	query := done.Query()
	query.Set("digest", digest.String())
	done.RawQuery = query.Encode()
	put := request{method: http.MethodPut, url: done.String(), scopes: u.scopes}
	_, err = u.step(ctx, put, http.StatusCreated, http.StatusNoContent)
	return err
}

// step does one request of an upload and returns where the next one goes. A registry that has lost the upload, or has
// received something else than was sent, is worth a new one.
func (u *upload) step(ctx context.Context, r request, statuses ...int) (*url.URL, error) {
	resp, err := u.session.send(ctx, r)
	if err != nil {
		return nil, u.failed(ctx, "push", u.name(), err)
	}
	defer resp.Body.Close()
	if slices.Contains(statuses, resp.StatusCode) {
		return next(resp)
	}
	err = u.refused(ctx, "push", u.name(), r, resp)
	lost := resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusRequestedRangeNotSatisfiable
	if lost && r.method != http.MethodPost {
		u.location, u.received = nil, 0
		return nil, &again{error: err}
	}
	return nil, err
}

// next is where an answer sends the next request.
func next(resp *http.Response) (*url.URL, error) {
	location, err := resp.Location()
	if errors.Is(err, http.ErrNoLocation) {
		return resp.Request.URL, nil
	}
	return location, err
}

// reportEvery is how often progress is told, in bytes.
const reportEvery = 1 << 20

// source counts what an upload reads, and keeps apart why reading failed from why sending did. The HTTP client may
// still read when it has returned.
type source struct {
	from     io.Reader
	start    int64
	report   func(sent int64)
	reported int64
	n        atomic.Int64
	err      atomic.Pointer[error]
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if sent := s.n.Add(int64(n)); sent-s.reported >= reportEvery {
		s.reported = sent
		s.report(s.start + sent)
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		s.err.Store(&err)
	}
	return n, err
}

func (s *source) failure() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}
