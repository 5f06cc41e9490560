// Package image holds images as values: readers of docker-save archives and OCI layouts, writers of both, and
// the layer that is built, compressed and uploaded in one pass.
//
// Nothing here holds a layer in memory or knows a registry: who pushes an image pulls its layers through. They can be
// read while the context lives that the image was opened, fetched or built in; so whatever reads them ends with it.
package image

import (
	"archive/tar"
	"bufio"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// chunk is what one stage of a layer hands to the next, in bytes. Both sides of a pipe use it, so that a
// stage works on one chunk while the next is made.
const chunk = 256 << 10

var (
	// ErrChanged is the cause when a layer's second reading gave other bytes than its first.
	ErrChanged = errors.New("files changed while the image was made")
	// ErrCorrupt is the cause when bytes do not have the digest that names them.
	ErrCorrupt = errors.New("content and digest disagree")
)

// NewLayer is a layer of what write puts into the tar. Reading Compressed to its end runs, in one pass and overlapping,
// tar, sha256 (DiffID), compression and sha256 (Digest); until then Digest, DiffID and Size are stream.ErrNotComputed,
// which mutate.Append understands. write is called anew for every reader and must give the same bytes each time; it need
// not close the writer. The same input gives the same digest.
func NewLayer(write func(*tar.Writer) error) v1.Layer { return NewLayerOf("", write) }

// NewLayerOf is NewLayer of something that has a name: source tells what write reads in its present state, so that a
// Ledger can know the layer again without reading it.
func NewLayerOf(source string, write func(*tar.Writer) error) v1.Layer {
	return &layer{source: source, write: func(w io.Writer) error {
		tw := tar.NewWriter(w)
		if err := write(tw); err != nil {
			return err
		}
		return tw.Close()
	}}
}

// layer compresses the tar that write gives, or is compressed already. A tar that was promised to have the sum diffID is
// held to it.
type layer struct {
	write      func(io.Writer) error
	packed     func() (io.ReadCloser, error) // the compressed bytes, in place of write
	packedSize int64                         // of those
	source     string
	diffID     v1.Hash

	compression Compression
	docker      bool // it goes into a manifest of Docker's family
	ledger      *Ledger

	mu    sync.Mutex
	guess *summary // what the ledger says
	sum   *summary
}

// summary is what is known of a layer once it has been read.
type summary struct {
	digest, diffID v1.Hash
	size           int64
}

// Pending is a layer that may not know its digest yet.
type Pending interface {
	v1.Layer
	// Guess is what the digest and size will be, as far as a Ledger knows; a registry that has the blob confirms it.
	Guess() (digest v1.Hash, size int64, ok bool)
	// Confirm makes the guess what the layer is.
	Confirm()
	// Settle reads the layer and keeps digest and size.
	Settle() error
	// Heavy reports whether reading the layer takes more than 32 MiB of memory.
	Heavy() bool
}

func (l *layer) known() (summary, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sum == nil {
		return summary{}, stream.ErrNotComputed
	}
	return *l.sum, nil
}

func (l *layer) Digest() (v1.Hash, error) {
	s, err := l.known()
	return s.digest, err
}

func (l *layer) DiffID() (v1.Hash, error) {
	if l.diffID != (v1.Hash{}) {
		return l.diffID, nil
	}
	s, err := l.known()
	return s.diffID, err
}

func (l *layer) Size() (int64, error) {
	s, err := l.known()
	return s.size, err
}

func (l *layer) MediaType() (types.MediaType, error) { return l.compression.mediaType(l.docker), nil }

// form tells what blob of its content the layer is.
func (l *layer) form() string {
	if l.packed != nil {
		return fmt.Sprintf("packed %s %d", l.compression.named(), l.packedSize)
	}
	return l.compression.String()
}

func (l *layer) Guess() (v1.Hash, int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range l.keys(l.diffID) {
		known, ok := l.ledger.known(key)
		if ok && known.Digest.Hex != "" && known.DiffID.Hex != "" && (l.diffID.Hex == "" || l.diffID == known.DiffID) {
			l.guess = &summary{digest: known.Digest, diffID: known.DiffID, size: known.Size}
			return known.Digest, known.Size, true
		}
	}
	return v1.Hash{}, 0, false
}

// keys are what a ledger knows the layer by.
func (l *layer) keys(diffID v1.Hash) (keys []string) {
	if l.source != "" {
		keys = append(keys, "source "+l.source+" "+l.form())
	}
	if diffID.Hex != "" {
		keys = append(keys, "diff "+diffID.String()+" "+l.form())
	}
	return keys
}

func (l *layer) Confirm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sum == nil {
		l.sum = l.guess
	}
}

func (l *layer) Heavy() bool { return l.packed == nil && l.compression.heavy() }

func (l *layer) Settle() error {
	if _, err := l.known(); err == nil {
		return nil
	}
	return copyLayer(io.Discard, l)
}

func (l *layer) Uncompressed() (io.ReadCloser, error) {
	if l.packed == nil {
		return l.tar(sha256.New()), nil
	}
	r, err := l.packed()
	if err != nil {
		return nil, err
	}
	return decompress(r)
}

func (l *layer) Compressed() (io.ReadCloser, error) {
	if l.packed != nil {
		from, err := l.packed()
		if err != nil {
			return nil, err
		}
		u := unpack()
		return &reader{layer: l, Reader: io.TeeReader(from, u), Closer: closers{from, u}, diffID: u.sum, digest: sha256.New()}, nil
	}
	diffID := sha256.New()
	tarred := l.tar(diffID)
	zipped := pipe(func(w io.Writer) error {
		defer tarred.Close()
		zw, err := l.compression.writer(w)
		if err != nil {
			return err
		}
		_, err = io.CopyBuffer(zw, tarred, make([]byte, chunk))
		return cmp.Or(err, zw.Close())
	})
	return &reader{layer: l, Reader: bufio.NewReaderSize(zipped, chunk), Closer: zipped, digest: sha256.New(),
		diffID: func() (v1.Hash, error) { return sum256(diffID), nil }}, nil
}

// tar is the layer's tar stream; sum has seen all of it when its end is read.
func (l *layer) tar(sum hash.Hash) *io.PipeReader {
	return pipe(func(w io.Writer) error {
		return l.write(io.MultiWriter(w, sum))
	})
}

// finish keeps what one reading found, and holds it against an earlier one.
func (l *layer) finish(s summary) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.diffID != (v1.Hash{}) && l.diffID != s.diffID {
		return fmt.Errorf("%w: the configuration says %s, the layer is %s", ErrCorrupt, l.diffID, s.diffID)
	}
	if l.sum != nil && *l.sum != s {
		return fmt.Errorf("%w: a layer was %s, and is %s", ErrChanged, l.sum.digest, s.digest)
	}
	if l.sum == nil {
		l.sum = &s
		l.remember(s)
	}
	return nil
}

// remember tells the ledger before the layer's upload is closed: a process that ends in between finds the blob again.
func (l *layer) remember(s summary) {
	var news []line
	for _, key := range l.keys(s.diffID) {
		news = append(news, line{Key: key, Digest: s.digest, DiffID: s.diffID, Size: s.size})
	}
	l.ledger.note(news...)
}

// reader hands out the compressed layer and finishes it at its end. The stages behind it end when it is closed; a layer
// closed before its end stays unknown.
type reader struct {
	layer *layer
	io.Reader
	io.Closer
	diffID func() (v1.Hash, error) // once all is read
	digest hash.Hash
	size   int64
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.digest.Write(p[:n])
	r.size += int64(n)
	if errors.Is(err, io.EOF) {
		diffID, derr := r.diffID()
		if derr != nil {
			return n, derr
		}
		if ferr := r.layer.finish(summary{digest: sum256(r.digest), diffID: diffID, size: r.size}); ferr != nil {
			return n, ferr
		}
	}
	return n, err
}

func sum256(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", h.Sum(nil))}
}

// pipe runs write beside its reader, a chunk ahead of it. The reader gets write's error.
func pipe(write func(io.Writer) error) *io.PipeReader {
	r, w := io.Pipe()
	go func() {
		b := bufio.NewWriterSize(w, chunk)
		err := write(b)
		if err == nil {
			err = b.Flush()
		}
		w.CloseWithError(err)
	}()
	return r
}
