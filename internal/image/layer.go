// Package image holds images as values: readers of docker-save archives and OCI layouts, writers of both, and
// the layer that is built, compressed and uploaded in one pass.
//
// Nothing here holds a layer in memory or knows a registry: who pushes an image pulls its layers through. They can be
// read while the context lives that the image was opened, fetched or built in; so whatever reads them ends with it.
package image

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
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

// NewLayer is a gzip layer of what write puts into the tar. Reading Compressed to its end runs, in one pass and
// overlapping, tar, sha256 (DiffID), gzip and sha256 (Digest); until then Digest, DiffID and Size are
// stream.ErrNotComputed, which mutate.Append understands. write is called anew for every reader and must give
// the same bytes each time; it need not close the writer. The same input gives the same digest.
func NewLayer(write func(*tar.Writer) error) v1.Layer {
	return &layer{write: func(w io.Writer) error {
		tw := tar.NewWriter(w)
		if err := write(tw); err != nil {
			return err
		}
		return tw.Close()
	}}
}

// layer compresses the tar that write gives. A tar that was promised to have the sum diffID is held to it.
type layer struct {
	write  func(io.Writer) error
	diffID v1.Hash

	mu  sync.Mutex
	sum *summary
}

// summary is what is known of a layer once it has been read.
type summary struct {
	digest, diffID v1.Hash
	size           int64
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

func (l *layer) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

func (l *layer) Uncompressed() (io.ReadCloser, error) { return l.tar(sha256.New()), nil }

func (l *layer) Compressed() (io.ReadCloser, error) {
	diffID := sha256.New()
	tarred := l.tar(diffID)
	zipped := pipe(func(w io.Writer) error {
		defer tarred.Close()
		zw, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return err
		}
		if _, err := io.CopyBuffer(zw, tarred, make([]byte, chunk)); err != nil {
			return err
		}
		return zw.Close()
	})
	return &reader{layer: l, from: zipped, buffered: bufio.NewReaderSize(zipped, chunk), diffID: diffID, digest: sha256.New()}, nil
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
	l.sum = &s
	return nil
}

// reader hands out the compressed layer and finishes it at its end.
type reader struct {
	layer          *layer
	from           *io.PipeReader
	buffered       *bufio.Reader
	diffID, digest hash.Hash
	size           int64
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.buffered.Read(p)
	r.digest.Write(p[:n])
	r.size += int64(n)
	if errors.Is(err, io.EOF) {
		if ferr := r.layer.finish(summary{digest: sum256(r.digest), diffID: sum256(r.diffID), size: r.size}); ferr != nil {
			return n, ferr
		}
	}
	return n, err
}

// Close lets the stages behind the reader end; a layer closed before its end stays unknown.
func (r *reader) Close() error { return r.from.Close() }

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
