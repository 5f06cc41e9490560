package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// blob brings one blob into the repository by the cheapest way: it is there, it is mounted, it is uploaded.
func (d *destination) blob(ctx context.Context, l v1.Layer, isLayer bool) error {
	if mediaType, err := l.MediaType(); err == nil && !mediaType.IsDistributable() {
		return nil // its own URL serves it (image specification, non-distributable layers)
	}
	status, uploaded, err := d.bring(ctx, l)
	if err != nil {
		return err
	}
	digest, err := l.Digest()
	if err != nil {
		return fmt.Errorf("push %s: %w", d.name(), err)
	}
	size, err := l.Size()
	if err != nil {
		return fmt.Errorf("push %s: %w", d.name(), err)
	}
	done := image.LayerReceipt{Digest: digest, Size: size, Status: status}
	d.push.note(done, uploaded, isLayer)
	if isLayer {
		d.client.options.Progress(done)
	}
	return nil
}

func (d *destination) bring(ctx context.Context, l v1.Layer) (status image.Status, uploaded int64, err error) {
	digest, err := l.Digest()
	switch {
	case err == nil:
		size, err := l.Size()
		if err != nil {
			return "", 0, err
		}
		if there, err := d.exists(ctx, digest, size); err != nil || there {
			return image.Exists, 0, err
		}
		if mounted, err := d.mount(ctx, l, digest); err != nil || mounted {
			return image.Mounted, 0, err
		}
	case !errors.Is(err, stream.ErrNotComputed):
		return "", 0, err
	}
	err = d.client.retry(ctx, func() (err error) {
		uploaded, err = d.upload(ctx, l)
		return err
	})
	return image.Pushed, uploaded, err
}

// exists reports whether the repository has the blob; a web page in its place does not count. The size is -1 when it is
// not known.
func (d *destination) exists(ctx context.Context, digest v1.Hash, size int64) (bool, error) {
	r := request{method: http.MethodHead, url: d.url("%s/blobs/%s", d.repository, digest), scopes: d.scopes}
	resp, err := d.expect(ctx, "push", d.name(), r, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	said := cmp.Or(resp.Header.Get("Docker-Content-Digest"), digest.String())
	sized := size < 0 || resp.ContentLength < 0 || resp.ContentLength == size
	return resp.StatusCode == http.StatusOK && said == digest.String() && sized, nil
}

// origin is another repository of this registry that has the layer, "" when none is known.
func (d *destination) origin(l v1.Layer) string {
	from, ok := l.(*fetchedLayer)
	if d.sibling == "" && ok && from.session == d.session && from.repository != d.repository {
		return from.repository
	}
	return d.sibling
}

// mayPull lets the push read another repository, so that it can mount from it.
func (d *destination) mayPull(repository string) {
	if scope := "repository:" + repository + ":pull"; repository != "" && !slices.Contains(d.scopes, scope) {
		d.scopes = append(d.scopes, scope)
	}
}

// mount asks the registry to take the blob from the repository that has it; a registry that will not, opens an upload
// instead, which is left to expire.
func (d *destination) mount(ctx context.Context, l v1.Layer, digest v1.Hash) (bool, error) {
	from := d.origin(l)
	if from == "" {
		return false, nil
	}
	query := url.Values{"mount": {digest.String()}, "from": {from}}
	r := request{method: http.MethodPost, url: d.url("%s/blobs/uploads/?%s", d.repository, query.Encode()), scopes: d.scopes}
	resp, err := d.expect(ctx, "push", d.name(), r, http.StatusCreated, http.StatusAccepted)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusCreated, nil
}

// upload opens an upload, streams the layer through it, and closes it with the digest, which is known by then.
func (d *destination) upload(ctx context.Context, l v1.Layer) (int64, error) {
	open := request{method: http.MethodPost, url: d.url("%s/blobs/uploads/", d.repository), scopes: d.scopes}
	location, err := d.step(ctx, open, http.StatusAccepted)
	if err != nil {
		return 0, err
	}
	content, err := l.Compressed()
	if err != nil {
		return 0, err
	}
	body := &source{from: content}
	defer content.Close()
	size, err := l.Size()
	if err != nil {
		size = -1
	}
	patch := request{method: http.MethodPatch, url: location.String(), scopes: d.scopes, stream: body, size: size,
		header: http.Header{"Content-Type": {"application/octet-stream"}}}
	if location, err = d.step(ctx, patch, http.StatusAccepted, http.StatusOK, http.StatusCreated, http.StatusNoContent); err != nil {
		if reading := body.failure(); reading != nil && ctx.Err() == nil {
			return 0, &fault.Error{What: "push", Where: d.name(), Err: reading}
		}
		return 0, err
	}
	digest, err := l.Digest()
	if err != nil {
		return 0, fmt.Errorf("push %s: %w", d.name(), err)
	}
	query := location.Query()
	query.Set("digest", digest.String())
	location.RawQuery = query.Encode()
	done := request{method: http.MethodPut, url: location.String(), scopes: d.scopes}
	_, err = d.step(ctx, done, http.StatusCreated, http.StatusNoContent)
	return body.n.Load(), err
}

// step does one request of an upload and returns where the next one goes.
func (d *destination) step(ctx context.Context, r request, statuses ...int) (*url.URL, error) {
	resp, err := d.expectOnce(ctx, "push", d.name(), r, statuses...)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	location, err := resp.Location()
	if errors.Is(err, http.ErrNoLocation) {
		return resp.Request.URL, nil
	}
	return location, err
}

// source counts what an upload reads, and keeps apart why reading failed from why sending did. The HTTP client may
// still read when it has returned.
type source struct {
	from io.Reader
	n    atomic.Int64
	err  atomic.Pointer[error]
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.n.Add(int64(n))
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
