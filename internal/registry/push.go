package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
)

// parallel is how many blobs of an image are on their way at once.
const parallel = 4

// heavy is how many of those a layer counts for that takes much memory to make.
const heavy = 2

// manifestTypes are the media types that a reference may name.
var manifestTypes = strings.Join([]string{
	string(types.OCIManifestSchema1), string(types.OCIImageIndex), string(types.DockerManifestSchema2), string(types.DockerManifestList),
}, ", ")

// Push gives the artifact the names refs. Blobs are uploaded once for all names in one repository, a layer whose digest
// is not known yet in the one pass that computes it. The receipt tells what was done also when there is an error: some
// names may stand then (fault.Partial).
func (c *Client) Push(ctx context.Context, artifact image.Artifact, refs []imageref.Ref) (image.Receipt, error) {
	return c.push(ctx, artifact, nil, refs)
}

// push is Push of an artifact and of what is attached to it.
func (c *Client) push(ctx context.Context, artifact image.Artifact, attached []attachment, refs []imageref.Ref) (image.Receipt, error) {
	p := &push{layers: map[v1.Hash]int{}, complete: map[*session]string{}, slots: semaphore.NewWeighted(parallel)}
	var errs []error
	for _, group := range byRepository(refs) {
		errs = append(errs, c.pushTo(ctx, p, artifact, attached, group)...)
	}
	if len(p.receipt.References) > 0 || p.there && len(errs) == 0 {
		p.inOrder(artifact)
		if err := p.receipt.Describe(artifact); err != nil {
			errs = append(errs, err)
		}
	}
	switch {
	case len(errs) == 1 && len(p.receipt.References) == 0:
		return p.receipt, errs[0]
	case len(errs) > 0 && len(p.receipt.References) > 0 && ctx.Err() == nil:
		return p.receipt, &fault.Error{Kind: fault.Partial, Hint: fault.HintOf(errs[0]), Err: errors.Join(errs...)}
	}
	return p.receipt, errors.Join(errs...)
}

// byRepository groups references that share their blobs, in the order of their first.
func byRepository(refs []imageref.Ref) [][]imageref.Ref {
	var groups [][]imageref.Ref
	for _, ref := range refs {
		i := slices.IndexFunc(groups, func(g []imageref.Ref) bool { return g[0].Same(ref) })
		if i < 0 {
			groups = append(groups, []imageref.Ref{ref})
		} else if !slices.Contains(groups[i], ref) {
			groups[i] = append(groups[i], ref)
		}
	}
	return groups
}

// push is one run of Push and what it has done so far.
type push struct {
	mu       sync.Mutex
	receipt  image.Receipt
	layers   map[v1.Hash]int     // into receipt.Layers
	started  int                 // layers
	complete map[*session]string // a repository of each registry that has all blobs by now
	there    bool                // the artifact stands in a repository without a tag
	slots    *semaphore.Weighted // of the blobs that are on their way
	silent   bool                // nobody is told of progress
}

// note keeps the best word on a layer: that it was uploaded to one repository counts more than that another had it.
func (p *push) note(layer image.LayerReceipt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, known := p.layers[layer.Digest]
	if !known {
		i = len(p.receipt.Layers)
		p.layers[layer.Digest] = i
		p.receipt.Layers = append(p.receipt.Layers, layer)
	}
	if layer.Status == image.Pushed {
		p.receipt.Layers[i] = layer
	}
}

// count adds bytes that were sent.
func (p *push) count(sent int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receipt.BytesPushed += sent
}

// start numbers a layer.
func (p *push) start() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started++
	return p.started
}

// inOrder sorts the receipt's layers as the artifact has them: image by image, base first.
func (p *push) inOrder(artifact image.Artifact) {
	position := map[v1.Hash]int{}
	for img := range images(artifact) {
		manifest, err := img.Manifest()
		if err != nil {
			return
		}
		for _, l := range manifest.Layers {
			if _, known := position[l.Digest]; !known {
				position[l.Digest] = len(position)
			}
		}
	}
	slices.SortStableFunc(p.receipt.Layers, func(a, b image.LayerReceipt) int { return position[a.Digest] - position[b.Digest] })
}

// destination is one repository that an artifact goes to.
type destination struct {
	*session
	push       *push
	repository string
	refs       []imageref.Ref
	sibling    string // another repository of the registry, which has all blobs, or ""
	scopes     []string

	mu    sync.Mutex
	blobs map[any]func() error // those that are on their way, or there
}

func (d *destination) name() string { return d.host + "/" + d.repository }

// pushTo pushes to the one repository of refs: what is attached to the artifact stands before a tag does.
func (c *Client) pushTo(ctx context.Context, p *push, artifact image.Artifact, attached []attachment, refs []imageref.Ref) []error {
	s, err := c.session(ctx, refs[0].Host())
	if err != nil {
		return []error{err}
	}
	repository := pathOf(refs[0])
	d := &destination{session: s, push: p, repository: repository, refs: refs, sibling: p.complete[s], blobs: map[any]func() error{},
		scopes: []string{pushing(repository)}}
	d.mayPullFrom(artifact)
	if err := d.content(ctx, artifact); err != nil {
		return []error{err}
	}
	if err := d.attach(ctx, artifact, attached); err != nil {
		return []error{err}
	}
	p.complete[s] = repository
	return d.tagAll(ctx, artifact)
}

// tagAll gives the artifact, whose content is there, its tags. Where all of them are kept for others, it is there without.
func (d *destination) tagAll(ctx context.Context, artifact image.Artifact) (errs []error) {
	allKept := true
	for _, ref := range d.refs {
		kept, err := d.tag(ctx, artifact, ref)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !kept:
			d.push.receipt.References = append(d.push.receipt.References, ref)
		}
		allKept = allKept && kept
	}
	if allKept {
		if err := d.untagged(ctx, artifact); err != nil {
			return []error{err}
		}
		d.push.there = true
	}
	return errs
}

// tag gives the artifact a tag; one that names another image and is immutable is kept where that is wanted.
func (d *destination) tag(ctx context.Context, artifact image.Artifact, ref imageref.Ref) (kept bool, err error) {
	err = d.manifest(ctx, artifact, ref.Tag, ref.String())
	if keep := d.client.options.KeepImmutable; errors.Is(err, ErrImmutable) && keep != nil {
		keep(ref)
		return true, nil
	}
	return false, err
}

// content pushes all that the artifact's manifest names.
func (d *destination) content(ctx context.Context, artifact image.Artifact) error {
	if img, ok := artifact.(v1.Image); ok {
		return d.image(ctx, img)
	}
	group, together := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, c := range children(artifact) {
		group.Go(func() error {
			bring := func() error { return d.child(together, c) }
			if c.digest == (v1.Hash{}) {
				return bring()
			}
			return d.once(c.digest, bring)
		})
	}
	return group.Wait()
}

// child brings what an index names, without a tag.
func (d *destination) child(ctx context.Context, c child) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	if err := d.content(ctx, a); err != nil {
		return err
	}
	return d.untagged(ctx, a)
}

// untagged stores the artifact's manifest under its digest.
func (d *destination) untagged(ctx context.Context, artifact image.Artifact) error {
	digest, err := artifact.Digest()
	if err != nil {
		return fmt.Errorf("push %s: %w", d.name(), err)
	}
	return d.manifest(ctx, artifact, digest.String(), d.name()+"@"+digest.String())
}

// image brings the blobs of an image, and its configuration last: it is known when the layers are.
func (d *destination) image(ctx context.Context, img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	repeated := sync.OnceValues(func() (bool, error) { return d.repeated(ctx, img) })
	group, together := errgroup.WithContext(ctx)
	for _, l := range layers {
		group.Go(func() error { return d.layer(together, l, repeated) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	id, err := img.ConfigName()
	if err != nil {
		return fmt.Errorf("push %s: %w", d.name(), err)
	}
	config, err := partial.ConfigLayer(img)
	if from, ok := img.(*fetched); ok {
		config, err = from.LayerByDigest(id) // which can be mounted
	}
	if err != nil {
		return fmt.Errorf("push %s: %w", d.name(), err)
	}
	return d.once(id, func() error {
		_, err := d.blob(ctx, config, func(int64) {}, nil)
		return err
	})
}

// repeated reports whether an image like this one was pushed before: its configuration is there, or what it is to be named
// names something. Its layers are likely to be there too then, and reading one to find out is cheaper than sending it again.
func (d *destination) repeated(ctx context.Context, img v1.Image) (bool, error) {
	id, err := img.ConfigName()
	switch {
	case err == nil:
		return d.exists(ctx, id, -1)
	case !errors.Is(err, stream.ErrNotComputed):
		return false, err
	}
	for _, ref := range d.refs {
		there, err := d.named(ctx, d.url("%s/manifests/%s", d.repository, ref.Tag), ref.String())
		if err != nil || there != "" {
			return there != "", lasting(ctx, err)
		}
	}
	return false, nil
}

// manifest gives the artifact a tag, or stores it by digest. A tag that names it already is left alone: Harbor refuses
// to set an immutable tag again, to the same digest too.
func (d *destination) manifest(ctx context.Context, artifact image.Artifact, tag, where string) error {
	raw, err := artifact.RawManifest()
	if err != nil {
		return fmt.Errorf("push %s: %w", where, err)
	}
	digest, err := artifact.Digest()
	if err != nil {
		return fmt.Errorf("push %s: %w", where, err)
	}
	mediaType, err := artifact.MediaType()
	if err != nil {
		return fmt.Errorf("push %s: %w", where, err)
	}
	target := d.url("%s/manifests/%s", d.repository, tag)
	there, err := d.named(ctx, target, where)
	if err != nil || there == digest.String() {
		return err
	}
	put := request{method: http.MethodPut, url: target, scopes: d.scopes, header: http.Header{"Content-Type": {string(mediaType)}}, body: raw}
	if there, err = d.store(ctx, put, where); err != nil {
		return err
	}
	if there != "" && there != digest.String() {
		return &fault.Error{What: "push", Where: where, Err: fmt.Errorf("%w: pushed %s, the registry has %s", image.ErrCorrupt, digest, there)}
	}
	return nil
}

// store puts a manifest and returns the digest that the registry has it by, "" when it does not say. A success that is
// not the specification's, 201 Created, may be a web page's: there the digest must be found.
func (d *destination) store(ctx context.Context, put request, where string) (string, error) {
	resp, err := d.expect(ctx, "push", where, put, http.StatusCreated, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	there := resp.Header.Get("Docker-Content-Digest")
	if there != "" || resp.StatusCode == http.StatusCreated {
		return there, nil
	}
	if there, err = d.named(ctx, put.url, where); err == nil && there == "" {
		err = &fault.Error{What: "push", Where: where, Err: fmt.Errorf("%s answers %d, but keeps nothing", d.host, resp.StatusCode), Hint: d.hintPage()}
	}
	return there, err
}

// named is the digest of the manifest at target, "" when there is none.
func (d *destination) named(ctx context.Context, target, where string) (string, error) {
	head := request{method: http.MethodHead, url: target, scopes: d.scopes, header: http.Header{"Accept": {manifestTypes}}}
	resp, err := d.expect(ctx, "push", where, head, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", nil
	}
	return resp.Header.Get("Docker-Content-Digest"), nil
}
