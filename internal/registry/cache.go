package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/semaphore"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/stepcache"
)

// StepCache keeps build steps in a repository, each under a tag for each of its names.
type StepCache struct {
	client *Client
	life   context.Context // of the layers, which are read when others are looked up no more
	repo   imageref.Ref
	reach  func() error // once for all
}

// StepCache keeps build steps in the repository of repo. Layers that it returns can be read while ctx lives.
func (c *Client) StepCache(ctx context.Context, repo imageref.Ref) *StepCache {
	s := &StepCache{client: c, life: ctx, repo: repo.Bare()}
	s.reach = sync.OnceValue(func() error {
		_, err := c.session(ctx, s.repo.Host())
		return err
	})
	return s
}

// Load is what is kept under a name, nil when nothing is.
func (s *StepCache) Load(ctx context.Context, name string) (*stepcache.Entry, error) {
	f, err := s.fetch(ctx)
	if err != nil {
		return nil, err
	}
	raw, _, err := f.manifest(name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lasting, err := s.fetch(s.life)
	if err != nil {
		return nil, err
	}
	e, err := stepcache.Read(raw, lasting.unchecked)
	if err != nil {
		return nil, &fault.Error{What: f.what, Where: f.where + ":" + name, Err: fmt.Errorf("%w: %w", stepcache.ErrLost, err)}
	}
	if e.Layer != nil {
		e.Layer = &fetchedLayer{e.Layer, lasting}
	}
	return e, nil
}

// fetch reads the repository while ctx lives.
func (s *StepCache) fetch(ctx context.Context) (*fetch, error) {
	if err := s.reach(); err != nil {
		return nil, err
	}
	return s.client.fetch(ctx, "read the cache", s.repo)
}

// unchecked opens a blob that its reader holds to its digest.
func (f *fetch) unchecked(d v1.Descriptor) (io.ReadCloser, error) {
	r := request{method: http.MethodGet, url: f.url("%s/blobs/%s", f.repository, d.Digest), scopes: f.scopes}
	resp, err := f.expect(f.ctx, f.what, f.where, r, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Keep keeps an entry under names, of which only the first must not fail. A push to the registry can mount the layer that
// it returns.
func (s *StepCache) Keep(ctx context.Context, e stepcache.Entry, names ...string) (v1.Layer, error) {
	if err := s.reach(); err != nil {
		return nil, err
	}
	var refs []imageref.Ref
	for _, name := range names {
		ref := s.repo
		ref.Tag = name
		refs = append(refs, ref)
	}
	p := &push{layers: map[v1.Hash]int{}, complete: map[*session]string{}, slots: semaphore.NewWeighted(parallel), silent: true}
	errs := s.client.pushTo(ctx, p, stepcache.Artifact(e), nil, refs)
	if !slices.Contains(p.receipt.References, refs[0]) {
		return nil, errors.Join(errs...)
	}
	if _, there := e.Layer.(*fetchedLayer); there || e.Layer == nil {
		return e.Layer, nil
	}
	f, err := s.fetch(s.life)
	return &fetchedLayer{e.Layer, f}, err
}
