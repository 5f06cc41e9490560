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

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
)

// parallel is how many blobs of an image are on their way at once.
const parallel = 4

// manifestTypes are the media types that a reference may name.
var manifestTypes = strings.Join([]string{
	string(types.OCIManifestSchema1), string(types.OCIImageIndex), string(types.DockerManifestSchema2), string(types.DockerManifestList),
}, ", ")

// Push gives the artifact the names refs. Blobs are uploaded once for all names in one repository, a layer whose digest
// is not known yet in the one pass that computes it. The receipt tells what was done also when there is an error: some
// names may stand then (fault.Partial).
func (c *Client) Push(ctx context.Context, artifact image.Artifact, refs []imageref.Ref) (image.Receipt, error) {
	p := &push{layers: map[v1.Hash]int{}, complete: map[*session]string{}}
	var errs []error
	for _, group := range byRepository(refs) {
		errs = append(errs, c.pushTo(ctx, p, artifact, group)...)
	}
	if len(p.receipt.References) > 0 {
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
	complete map[*session]string // a repository of each registry that has all blobs by now
}

// note keeps the best word on a blob: that it was uploaded to one repository counts more than that another had it.
func (p *push) note(blob image.LayerReceipt, uploaded int64, isLayer bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receipt.BytesPushed += uploaded
	if !isLayer {
		return
	}
	i, known := p.layers[blob.Digest]
	if !known {
		i = len(p.receipt.Layers)
		p.layers[blob.Digest] = i
		p.receipt.Layers = append(p.receipt.Layers, blob)
	}
	if blob.Status == image.Pushed {
		p.receipt.Layers[i] = blob
	}
}

// destination is one repository that an artifact goes to.
type destination struct {
	*session
	push       *push
	repository string
	sibling    string // another repository of the registry, which has all blobs, or ""
	scopes     []string
}

func (d *destination) name() string { return d.host + "/" + d.repository }

// pushTo pushes to the one repository of refs.
func (c *Client) pushTo(ctx context.Context, p *push, artifact image.Artifact, refs []imageref.Ref) []error {
	s, err := c.session(ctx, refs[0].Host())
	if err != nil {
		return []error{err}
	}
	_, repository, _ := strings.Cut(refs[0].Canonical(), "/")
	d := &destination{session: s, push: p, repository: repository, sibling: p.complete[s], scopes: []string{"repository:" + repository + ":pull,push"}}
	d.mayPull(d.sibling)
	if err := d.content(ctx, artifact); err != nil {
		return []error{err}
	}
	p.complete[s] = repository
	var errs []error
	for _, ref := range refs {
		if err := d.manifest(ctx, artifact, ref.Tag, ref.String()); err != nil {
			errs = append(errs, err)
			continue
		}
		p.receipt.References = append(p.receipt.References, ref)
	}
	return errs
}

// content pushes all that the artifact's manifest names.
func (d *destination) content(ctx context.Context, artifact image.Artifact) error {
	switch a := artifact.(type) {
	case v1.Image:
		return d.image(ctx, a)
	case v1.ImageIndex:
		return d.index(ctx, a)
	}
	return fmt.Errorf("push %s: %T is no image", d.name(), artifact)
}

func (d *destination) index(ctx context.Context, index v1.ImageIndex) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, child := range manifest.Manifests {
		var artifact image.Artifact
		switch {
		case child.MediaType.IsImage():
			artifact, err = index.Image(child.Digest)
		case child.MediaType.IsIndex():
			artifact, err = index.ImageIndex(child.Digest)
		default:
			err = fmt.Errorf("the index names a %s, which cannot be pushed yet", child.MediaType)
		}
		if err == nil {
			err = d.content(ctx, artifact)
		}
		if err == nil {
			err = d.manifest(ctx, artifact, child.Digest.String(), d.name()+"@"+child.Digest.String())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *destination) image(ctx context.Context, img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		d.mayPull(d.origin(l))
	}
	if err := d.settle(ctx, img); err != nil {
		return err
	}
	group, together := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, l := range distinct(layers) {
		group.Go(func() error { return d.blob(together, l, true) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return fmt.Errorf("push %s: %w", d.name(), err)
	}
	if err := d.blob(ctx, config, false); err != nil {
		return err
	}
	return d.inOrder(img)
}

// settle finds the digests of an image whose configuration the repository has: it was pushed before, so its layers are
// likely to be there, and finding that out is cheaper than uploading them again.
func (d *destination) settle(ctx context.Context, img v1.Image) error {
	id, err := img.ConfigName()
	if errors.Is(err, stream.ErrNotComputed) {
		return nil
	}
	if err != nil {
		return err
	}
	if there, err := d.exists(ctx, id, -1); err != nil || !there {
		return err
	}
	return image.Settle(img)
}

// distinct drops layers that come twice.
func distinct(layers []v1.Layer) []v1.Layer {
	seen, kept := map[v1.Hash]bool{}, []v1.Layer(nil)
	for _, l := range layers {
		digest, err := l.Digest()
		if err == nil && seen[digest] {
			continue
		}
		seen[digest] = true
		kept = append(kept, l)
	}
	return kept
}

// inOrder sorts the receipt's layers as the image has them, base first.
func (d *destination) inOrder(img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return fmt.Errorf("push %s: %w", d.name(), err)
	}
	position := map[v1.Hash]int{}
	for i, l := range manifest.Layers {
		position[l.Digest] = i
	}
	p := d.push
	slices.SortStableFunc(p.receipt.Layers, func(a, b image.LayerReceipt) int { return position[a.Digest] - position[b.Digest] })
	for i, l := range p.receipt.Layers {
		p.layers[l.Digest] = i
	}
	return nil
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
