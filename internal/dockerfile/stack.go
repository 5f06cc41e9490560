package dockerfile

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sync/errgroup"

	"github.com/ksera524/imgbump/internal/image"
)

// sheet is a layer of a root filesystem in the sandbox, where it lies once a process needs it.
type sheet struct {
	id  string
	mu  sync.Mutex
	lay func(ctx context.Context) error // nil when it lies there
}

func (s *sheet) laid(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lay == nil {
		return nil
	}
	err := s.lay(ctx)
	if err == nil {
		s.lay = nil
	}
	return err
}

// stack is the root filesystem in the sandbox: the ids of its layers, the lowest first.
func (r *rootfs) stack(ctx context.Context) ([]string, error) {
	ids := make([]string, 0, len(r.sheets))
	for _, s := range r.sheets {
		if err := s.laid(ctx); err != nil {
			return nil, err
		}
		ids = append(ids, s.id)
	}
	return ids, nil
}

// carries reports whether a RUN stands on what a stage starts from.
func (b *builder) carries(s *stage) bool {
	run := func(c command) bool { _, ok := c.Command.(*instructions.RunCommand); return ok }
	return slices.ContainsFunc(s.commands[b.adopted(s):], run) ||
		slices.ContainsFunc(b.stages, func(above *stage) bool { return above.base.stage == s && b.carries(above) })
}

// expectRun tells the image that a stage starts from whether a RUN will stand on it.
func (b *builder) expectRun(ctx context.Context, s *stage) error {
	if s.base.image == "" || !b.carries(s) {
		return nil
	}
	r, err := b.bases.rootfs(ctx, s.base.image, s.platform)
	if err == nil {
		r.carry()
	}
	return err
}

// carry says that a RUN will stand on the image.
func (r *rootfs) carry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.carries = true
}

// adopt puts a layer on top that was made before, by the same instruction on the same root filesystem; nil is none. It is
// not read before somebody needs what is in it.
func (b *builder) adopt(ctx context.Context, r *rootfs, l v1.Layer, h v1.History) error {
	r.added = append(r.added, mutate.Addendum{Layer: l, History: h})
	if l == nil {
		return nil
	}
	number := r.nextLayer()
	err := r.overlay(ctx, func(ctx context.Context, t *tree) error {
		return t.apply(ctx, &archive{open: l.Uncompressed, identity: layerIdentity(l)}, number)
	})
	b.cover(r, func(context.Context) (io.ReadCloser, error) { return l.Uncompressed() })
	return err
}

// nextLayer is a number that tells what the next layer writes from what those below wrote.
func (r *rootfs) nextLayer() int { return ours + 1 + len(r.sheets) }

// cover puts a layer on top, which open gives the tar of: one that an instruction made, which names every directory above
// what it holds.
func (b *builder) cover(r *rootfs, open func(ctx context.Context) (io.ReadCloser, error)) {
	if b.src.Sandbox == nil {
		return
	}
	s := &sheet{id: b.bases.newID()}
	s.lay = func(ctx context.Context) error {
		plain, err := open(ctx)
		if err != nil {
			return err
		}
		defer plain.Close()
		return b.src.Sandbox.Unpack(ctx, s.id, plain)
	}
	r.sheets = append(r.sheets, s)
}

// unpackInto makes a layer of the sandbox of what write puts into a tar.
func (b *builder) unpackInto(ctx context.Context, id string, write func(*tar.Writer) error) error {
	packed := tarOf(write)
	defer packed.Close()
	return b.src.Sandbox.Unpack(ctx, id, packed)
}

// tarOf is what write puts into a tar, while it does. Whoever closes it early ends write.
func tarOf(write func(*tar.Writer) error) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		buffer := bufio.NewWriterSize(w, branchSize)
		tw := tar.NewWriter(buffer)
		err := write(tw)
		if err == nil {
			err = errors.Join(tw.Close(), buffer.Flush())
		}
		w.CloseWithError(err)
	}()
	return r
}

// lay puts the layers of the image into the sandbox, and reads the tree on the way if nobody has.
func (r *rootfs) lay(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lies {
		return nil
	}
	layers, err := r.base.Layers()
	if err != nil {
		return err
	}
	if r.tree == nil {
		r.tree, err = r.unpackRead(ctx, layers)
	} else {
		err = r.unpack(ctx, layers)
	}
	r.lies = err == nil
	return err
}

// unpack reads the layers for the sandbox only.
func (r *rootfs) unpack(ctx context.Context, layers []v1.Layer) error {
	var readers []io.Reader
	for _, l := range layers {
		reader := &later{open: func() (io.ReadCloser, error) { return image.Plain(l) }}
		defer reader.Close()
		readers = append(readers, reader)
	}
	return r.sandbox.Unpack(ctx, r.sheets[0].id, readers...)
}

// later is opened when it is first read.
type later struct {
	open func() (io.ReadCloser, error)
	from io.ReadCloser
}

func (l *later) Read(p []byte) (n int, err error) {
	if l.from == nil {
		if l.from, err = l.open(); err != nil {
			return 0, err
		}
	}
	return l.from.Read(p)
}

func (l *later) Close() error {
	if l.from == nil {
		return nil
	}
	return l.from.Close()
}

// unpackRead reads the layers once, for the sandbox and for the tree.
func (r *rootfs) unpackRead(ctx context.Context, layers []v1.Layer) (t *tree, err error) {
	branches := make([]*branch, len(layers))
	readers := make([]io.Reader, len(layers))
	for i := range layers {
		branches[i] = newBranch()
		readers[i] = branches[i]
		if i > 0 {
			branches[i].before = branches[i-1].from
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := r.sandbox.Unpack(ctx, r.sheets[0].id, readers...)
		for _, b := range branches {
			b.from.Close()
		}
		return err
	})
	group.Go(func() (err error) {
		t, err = readTree(ctx, layers, branches)
		for _, b := range branches {
			b.end(err)
		}
		return err
	})
	err = group.Wait()
	return t, err
}

// branchSize is how much of a layer is handed on at once, in bytes.
const branchSize = 256 << 10

// branch is what one reader of a layer gives to another. The other need not read to the end: it is left behind when it is
// closed, and when it goes on to the next layer.
type branch struct {
	from   *io.PipeReader
	before *io.PipeReader // of the layer before, which nobody reads any more once this one is read
	to     *io.PipeWriter
	buffer *bufio.Writer
	left   bool
}

func newBranch() *branch {
	b := &branch{}
	b.from, b.to = io.Pipe()
	b.buffer = bufio.NewWriterSize(b.to, branchSize)
	return b
}

func (b *branch) Read(p []byte) (int, error) {
	if b.before != nil {
		b.before.Close()
	}
	return b.from.Read(p)
}

// end says that the layer has no more bytes, or why there are none.
func (b *branch) end(err error) {
	if err == nil && !b.left {
		err = b.buffer.Flush()
	}
	b.to.CloseWithError(err)
}

// first is open, but that the bytes go to the branch, too, when it is called first.
func (b *branch) first(open func() (io.ReadCloser, error)) func() (io.ReadCloser, error) {
	opened := false
	return func() (io.ReadCloser, error) {
		r, err := open()
		if err == nil && !opened {
			opened = true
			r = &branching{r, b}
		}
		return r, err
	}
}

type branching struct {
	io.ReadCloser
	*branch
}

func (b *branching) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !b.left {
		_, failed := b.buffer.Write(p[:n])
		b.left = failed != nil
	}
	if errors.Is(err, io.EOF) {
		b.end(nil)
	}
	return n, err
}
