package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"

	"github.com/ksera524/imgbump/internal/image"
)

// once does do for the blob unless that was done, or is being done. What names it is its digest, or the layer itself as long
// as that is not known.
func (d *destination) once(blob any, do func() error) error {
	d.mu.Lock()
	if d.blobs[blob] == nil {
		d.blobs[blob] = sync.OnceValue(do)
	}
	do = d.blobs[blob]
	d.mu.Unlock()
	return do()
}

// layer brings one layer into the repository, and tells how far it is. What repeated says decides whether a layer of which
// nothing is known is read before it is sent.
func (d *destination) layer(ctx context.Context, l v1.Layer, repeated func() (bool, error)) error {
	if mediaType, err := l.MediaType(); err == nil && !mediaType.IsDistributable() {
		return nil // its own URL serves it (image specification, non-distributable layers)
	}
	digest, err := l.Digest()
	if errors.Is(err, stream.ErrNotComputed) {
		return d.once(l, func() error { return d.bring(ctx, l, repeated) }) // the images of several platforms may share it
	}
	if err != nil {
		return fmt.Errorf("push %s: %w", d.name(), err)
	}
	return d.once(digest, func() error { return d.bring(ctx, l, repeated) })
}

func (d *destination) bring(ctx context.Context, l v1.Layer, repeated func() (bool, error)) error {
	slots := int64(1)
	if pending, ok := l.(image.Pending); ok && pending.Heavy() {
		slots = heavy
	}
	if d.push.slots.Acquire(ctx, slots) != nil {
		return context.Cause(ctx)
	}
	defer d.push.slots.Release(slots)
	tell := d.client.options.Progress
	if d.push.silent {
		tell = func(image.Progress) {}
	}
	progress := image.Progress{Layer: d.push.start()}
	if size, err := l.Size(); err == nil {
		progress.Size = size
	}
	status, err := d.blob(ctx, l, func(sent int64) {
		progress.Sent = sent
		tell(progress)
	}, repeated)
	if err != nil {
		return err
	}
	if progress.Digest, err = l.Digest(); err != nil {
		return fmt.Errorf("push %s: %w", d.name(), err)
	}
	if progress.Size, err = l.Size(); err != nil {
		return fmt.Errorf("push %s: %w", d.name(), err)
	}
	progress.Status = status
	d.push.note(progress.LayerReceipt)
	tell(progress)
	if status == image.Pushed {
		d.client.options.Ledger.NoteOrigin(d.host, d.repository, progress.Digest)
	}
	return nil
}

// blob brings one blob into the repository by the cheapest way: it is there, it is mounted, it is uploaded.
func (d *destination) blob(ctx context.Context, l v1.Layer, report func(sent int64), repeated func() (bool, error)) (image.Status, error) {
	digest, size, err := identity(l)
	pending, canWait := l.(image.Pending)
	switch {
	case err == nil:
	case !errors.Is(err, stream.ErrNotComputed) || !canWait:
		return "", fmt.Errorf("push %s: %w", d.name(), err)
	default:
		guess, guessed, ok := pending.Guess()
		if !ok {
			return d.unknown(ctx, pending, report, repeated)
		}
		digest, size = guess, guessed
	}
	there, err := d.exists(ctx, digest, size)
	status, location := image.Exists, (*url.URL)(nil)
	if err == nil && !there {
		status = image.Mounted
		there, location, err = d.mount(ctx, l, digest)
	}
	switch {
	case err != nil:
		return "", err
	case !there:
		return image.Pushed, d.upload(ctx, l, location, report)
	case canWait:
		pending.Confirm()
	}
	return status, nil
}

// unknown brings a layer of which nothing is known.
func (d *destination) unknown(ctx context.Context, l image.Pending, report func(int64), repeated func() (bool, error)) (image.Status, error) {
	again, err := repeated()
	switch {
	case err != nil:
		return "", err
	case !again:
		return image.Pushed, d.upload(ctx, l, nil, report)
	}
	if err := l.Settle(); err != nil {
		return "", d.unreadable(err)
	}
	return d.blob(ctx, l, report, repeated)
}

// identity is a layer's digest and size, which are known together.
func identity(l v1.Layer) (v1.Hash, int64, error) {
	digest, err := l.Digest()
	if err != nil {
		return digest, 0, err
	}
	size, err := l.Size()
	return digest, size, err
}

// exists reports whether the repository has the blob; a web page in its place does not count. The size is -1 when it is
// not known. A refusal is no answer: that to an upload has a body, which says why.
func (d *destination) exists(ctx context.Context, digest v1.Hash, size int64) (bool, error) {
	r := request{method: http.MethodHead, url: d.url("%s/blobs/%s", d.repository, digest), scopes: d.scopes}
	resp, err := d.expect(ctx, "push", d.name(), r, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return false, lasting(ctx, err)
	}
	resp.Body.Close()
	said := cmp.Or(resp.Header.Get("Docker-Content-Digest"), digest.String())
	sized := size < 0 || resp.ContentLength < 0 || resp.ContentLength == size
	return resp.StatusCode == http.StatusOK && said == digest.String() && sized, nil
}

// origin is another repository of this registry that has the layer, "" when none is known. What the ledger says counts for
// Harbor only: others may refuse a token when a repository is gone that it would be good for too.
func (d *destination) origin(l v1.Layer) string {
	from, fetched := l.(*fetchedLayer)
	switch {
	case d.sibling != "":
		return d.sibling
	case fetched && from.session == d.session && from.repository != d.repository:
		return from.repository
	case fetched || !d.harbor():
		return ""
	}
	digest, err := l.Digest()
	if pending, ok := l.(image.Pending); ok && err != nil {
		digest, _, _ = pending.Guess()
	}
	if known := d.client.options.Ledger.Origin(d.host, digest); known != d.repository {
		return known
	}
	return ""
}

// mayPullFrom lets the push read the repositories that it can mount from.
func (d *destination) mayPullFrom(artifact image.Artifact) {
	if from, ok := artifact.(*fetchedIndex); ok {
		if from.session == d.session && from.repository != d.repository {
			d.mayPull(from.repository)
		}
		return
	}
	d.mayPull(d.sibling)
	for img := range images(artifact) {
		layers, err := img.Layers()
		if err != nil {
			return
		}
		for _, l := range layers {
			d.mayPull(d.origin(l))
		}
	}
}

// mostOrigins bounds how many repositories one token is asked for.
const mostOrigins = 8

func (d *destination) mayPull(repository string) {
	if scope := pulling(repository); repository != "" && len(d.scopes) <= mostOrigins && !slices.Contains(d.scopes, scope) {
		d.scopes = append(d.scopes, scope)
	}
}

// mount asks the registry to take the blob from the repository that has it. A registry that will not opens an upload
// instead; one that refuses will say why when the blob is uploaded, if that is refused too.
func (d *destination) mount(ctx context.Context, l v1.Layer, digest v1.Hash) (bool, *url.URL, error) {
	from := d.origin(l)
	if from == "" || !slices.Contains(d.scopes, pulling(from)) {
		return false, nil, nil
	}
	query := url.Values{"mount": {digest.String()}, "from": {from}}
	r := request{method: http.MethodPost, url: d.url("%s/blobs/uploads/?%s", d.repository, query.Encode()), scopes: d.scopes}
	resp, err := d.expect(ctx, "push", d.name(), r, http.StatusCreated, http.StatusAccepted)
	if err != nil {
		return false, nil, lasting(ctx, err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusCreated {
		return true, nil, nil
	}
	location, err := resp.Location()
	if err != nil {
		return false, nil, nil
	}
	return false, location, nil
}

// lasting is err when the next request would fail with it too: the registry is down, or the time is up. A refusal counts for
// the one request only.
func lasting(ctx context.Context, err error) error {
	var down *again
	if errors.As(err, &down) || ctx.Err() != nil {
		return err
	}
	return nil
}
