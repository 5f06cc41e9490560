package registry

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
)

// maxManifest is the largest manifest or configuration that is read, in bytes; distribution takes manifests up to 4 MiB.
const maxManifest = 16 << 20

// unsized is the bound of what has no size that was promised: more than is read of it.
const unsized = maxManifest + 2

// Image is the image that ref names, for platform when it names several. Its layers are fetched when they are read,
// while ctx lives; a push to the registry that they come from takes them over without fetching them.
func (c *Client) Image(ctx context.Context, ref imageref.Ref, platform v1.Platform) (v1.Image, error) {
	f, err := c.fetch(ctx, "fetch", ref)
	if err != nil {
		return nil, err
	}
	raw, mediaType, err := f.manifest(nameOf(ref))
	if err != nil {
		return nil, err
	}
	if mediaType.IsIndex() {
		child, err := choose(raw, platform)
		if err != nil {
			return nil, &fault.Error{What: f.what, Where: f.where, Err: err}
		}
		if raw, mediaType, err = f.manifest(child.String()); err != nil {
			return nil, err
		}
	}
	return f.image(raw, mediaType)
}

// Artifact is the image or index that ref names, whole. It is fetched as Image's is.
func (c *Client) Artifact(ctx context.Context, ref imageref.Ref) (image.Artifact, error) {
	f, err := c.fetch(ctx, "fetch", ref)
	if err != nil {
		return nil, err
	}
	return f.artifact(nameOf(ref), 1)
}

// artifact is what name stands for; an index may be in others, depth of them with itself.
func (f *fetch) artifact(name string, depth int) (image.Artifact, error) {
	raw, mediaType, err := f.manifest(name)
	if err != nil {
		return nil, err
	}
	if !mediaType.IsIndex() {
		return f.image(raw, mediaType)
	}
	manifest, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err == nil && depth > image.MaxNesting {
		err = image.ErrNesting
	}
	if err != nil {
		return nil, &fault.Error{What: f.what, Where: f.where, Err: err}
	}
	return &fetchedIndex{fetch: f, depth: depth, raw: raw, mediaType: mediaType, parsed: manifest, images: map[v1.Hash]v1.Image{}}, nil
}

func (f *fetch) image(raw []byte, mediaType types.MediaType) (v1.Image, error) {
	if !mediaType.IsImage() {
		return nil, &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("it is %q, not an image", mediaType)}
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, &fault.Error{What: f.what, Where: f.where, Err: err}
	}
	core := &remote{fetch: f, raw: raw, mediaType: mediaType, parsed: manifest}
	core.config = sync.OnceValues(core.readConfig)
	img, err := partial.CompressedToImage(core)
	return &fetched{Image: img, fetch: f}, err
}

// choose is the image of the index that runs on platform.
func choose(raw []byte, platform v1.Platform) (v1.Hash, error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return v1.Hash{}, err
	}
	return image.Choose(index, platform)
}

// fetch reads one repository.
type fetch struct {
	*session
	ctx         context.Context // of the command: layers are opened through interfaces that take none
	repository  string
	what, where string // for errors
	scopes      []string
}

// fetch reads the repository of ref; what says in errors what that is for.
func (c *Client) fetch(ctx context.Context, what string, ref imageref.Ref) (*fetch, error) {
	s, err := c.session(ctx, ref.Host())
	if err != nil {
		return nil, err
	}
	if _, err := v1.NewHash(ref.Digest); ref.Digest != "" && err != nil {
		return nil, &fault.Error{What: what, Where: ref.String(), Err: errors.New("a digest of this kind is not supported yet"), Hint: "name it by sha256 or sha512"}
	}
	repository := pathOf(ref)
	return &fetch{session: s, ctx: ctx, repository: repository, what: what, where: ref.String(), scopes: []string{pulling(repository)}}, nil
}

// nameOf is what a manifest is asked for by.
func nameOf(ref imageref.Ref) string { return cmp.Or(ref.Digest, ref.Tag, "latest") }

// manifest reads a manifest, which must have the digest that it was asked for by.
func (f *fetch) manifest(name string) ([]byte, types.MediaType, error) {
	r := request{method: http.MethodGet, url: f.url("%s/manifests/%s", f.repository, name), scopes: f.scopes, header: http.Header{"Accept": {manifestTypes}}}
	resp, err := f.expect(f.ctx, f.what, f.where, r, http.StatusOK)
	if err != nil {
		return nil, "", err
	}
	body := resp.Body
	if want, err := v1.NewHash(name); err == nil { // no tag
		body = checked(body, want, unsized)
	}
	raw, err := f.all(body)
	return raw, mediaTypeOf(resp), err
}

func mediaTypeOf(resp *http.Response) types.MediaType {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return types.MediaType(mediaType)
}

// all reads a manifest or configuration to its end, where its digest is checked.
func (f *fetch) all(body io.ReadCloser) ([]byte, error) {
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	switch {
	case err != nil:
		return nil, f.failed(f.ctx, f.what, f.where, err)
	case len(raw) > maxManifest:
		return nil, &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("its manifest or configuration has more than %d MiB", maxManifest>>20)}
	}
	return raw, nil
}

// blob opens a blob of at most size bytes; reading it to its end fails when it is not what its digest says.
func (f *fetch) blob(digest v1.Hash, size int64) (io.ReadCloser, error) {
	r := request{method: http.MethodGet, url: f.url("%s/blobs/%s", f.repository, digest), scopes: f.scopes}
	resp, err := f.expect(f.ctx, f.what, f.where, r, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return checked(resp.Body, digest, size), nil
}

// small is a whole blob of at most size bytes, such as a configuration.
func (f *fetch) small(digest v1.Hash, size int64) ([]byte, error) {
	body, err := f.blob(digest, size)
	if err != nil {
		return nil, err
	}
	return f.all(body)
}

// remote is what partial needs to make a v1.Image.
type remote struct {
	*fetch
	raw       []byte
	mediaType types.MediaType
	parsed    *v1.Manifest
	config    func() ([]byte, error)
}

func (r *remote) RawManifest() ([]byte, error)        { return r.raw, nil }
func (r *remote) RawConfigFile() ([]byte, error)      { return r.config() }
func (r *remote) MediaType() (types.MediaType, error) { return r.mediaType, nil }

func (r *remote) readConfig() ([]byte, error) { return r.small(r.parsed.Config.Digest, unsized) }

func (r *remote) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range append([]v1.Descriptor{r.parsed.Config}, r.parsed.Layers...) {
		if d.Digest == digest {
			return &remoteLayer{fetch: r.fetch, of: d}, nil
		}
	}
	return nil, fmt.Errorf("no layer %s in %s", digest, r.where)
}

type remoteLayer struct {
	fetch *fetch
	of    v1.Descriptor
}

func (l *remoteLayer) Digest() (v1.Hash, error)            { return l.of.Digest, nil }
func (l *remoteLayer) Size() (int64, error)                { return l.of.Size, nil }
func (l *remoteLayer) MediaType() (types.MediaType, error) { return l.of.MediaType, nil }
func (l *remoteLayer) Compressed() (io.ReadCloser, error) {
	return l.fetch.blob(l.of.Digest, l.of.Size)
}

// fetchedIndex is an index whose images are fetched when they are asked for.
type fetchedIndex struct {
	*fetch
	depth     int
	raw       []byte
	mediaType types.MediaType
	parsed    *v1.IndexManifest

	mu     sync.Mutex
	images map[v1.Hash]v1.Image // fetched so far
}

func (i *fetchedIndex) RawManifest() ([]byte, error)              { return i.raw, nil }
func (i *fetchedIndex) IndexManifest() (*v1.IndexManifest, error) { return i.parsed.DeepCopy(), nil }
func (i *fetchedIndex) MediaType() (types.MediaType, error)       { return i.mediaType, nil }
func (i *fetchedIndex) Digest() (v1.Hash, error)                  { return partial.Digest(i) }
func (i *fetchedIndex) Size() (int64, error)                      { return partial.Size(i) }

func (i *fetchedIndex) Image(h v1.Hash) (v1.Image, error) {
	i.mu.Lock()
	img := i.images[h]
	i.mu.Unlock()
	if img != nil {
		return img, nil
	}
	raw, mediaType, err := i.manifest(h.String())
	if err != nil {
		return nil, err
	}
	if img, err = i.image(raw, mediaType); err == nil {
		i.mu.Lock()
		i.images[h] = img
		i.mu.Unlock()
	}
	return img, err
}

func (i *fetchedIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	artifact, err := i.artifact(h.String(), i.depth+1)
	if err != nil {
		return nil, err
	}
	index, ok := artifact.(v1.ImageIndex)
	if !ok {
		return nil, &fault.Error{What: i.what, Where: i.where, Err: fmt.Errorf("%s is no index", h)}
	}
	return index, nil
}

// fetched is an image whose layers know where they came from.
type fetched struct {
	v1.Image
	fetch *fetch
}

// fetchedLayer is a layer that a push to the same registry can mount.
type fetchedLayer struct {
	v1.Layer
	*fetch
}

func (f *fetched) Layers() ([]v1.Layer, error) {
	layers, err := f.Image.Layers()
	for i, l := range layers {
		layers[i] = &fetchedLayer{l, f.fetch}
	}
	return layers, err
}

func (f *fetched) LayerByDigest(digest v1.Hash) (v1.Layer, error) {
	l, err := f.Image.LayerByDigest(digest)
	return &fetchedLayer{l, f.fetch}, err
}

func (f *fetched) LayerByDiffID(id v1.Hash) (v1.Layer, error) {
	l, err := f.Image.LayerByDiffID(id)
	return &fetchedLayer{l, f.fetch}, err
}

// checkedBody compares what was read with a digest, and fails where more comes than there may be.
type checkedBody struct {
	io.ReadCloser
	want v1.Hash
	sum  hash.Hash
	left int64
}

func checked(body io.ReadCloser, want v1.Hash, most int64) io.ReadCloser {
	sum, err := v1.Hasher(want.Algorithm)
	if err != nil { // a manifest left the digest out: no sum will do
		sum = sha256.New()
	}
	return &checkedBody{ReadCloser: body, want: want, sum: sum, left: most}
}

func (b *checkedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.sum.Write(p[:n])
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: %s is larger than its manifest says", image.ErrCorrupt, b.want)
	}
	if err == nil && b.left == 0 || errors.Is(err, io.EOF) { // at the last byte: nobody may wait for the end
		if got := hex.EncodeToString(b.sum.Sum(nil)); got != b.want.Hex {
			return n, fmt.Errorf("%w: asked for %s, got %s", image.ErrCorrupt, b.want, got)
		}
	}
	return n, err
}
