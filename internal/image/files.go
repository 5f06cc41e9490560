package image

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// files are the named files of an image on disk: a folder, or a tar that is read in place.
type files interface {
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// errMissing is the cause when an image lacks a file.
var errMissing = errors.New("is missing")

// bounded files are read while ctx lives.
type bounded struct {
	files
	ctx context.Context // layers are opened through interfaces that take none
}

func (b bounded) open(name string) (io.ReadCloser, int64, error) {
	r, size, err := b.files.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%s %w", name, errMissing)
	}
	if err != nil {
		return nil, 0, err
	}
	return struct {
		io.Reader
		io.Closer
	}{Within(b.ctx, r), r}, size, nil
}

// Within is r until ctx ends; then reading fails with what ended it.
func Within(ctx context.Context, r io.Reader) io.Reader { return reading{ctx, r} }

type reading struct {
	ctx context.Context
	io.Reader
}

func (r reading) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// folder keeps to its root: a link that leaves it is not followed.
type folder struct{ root *os.Root }

// open does not wait for the other end of a pipe, which is refused like all that is no file.
func (f folder) open(name string) (io.ReadCloser, int64, error) {
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	stat, err := file.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", name)
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, stat.Size(), nil
}

func (f folder) Close() error { return f.root.Close() }

// tarball is a tar file and where each entry's bytes lie in it.
type tarball struct {
	file    *os.File
	entries map[string]entry
}

type entry struct {
	offset, size int64
	link         string
}

// maxLinks is how many links are followed from name to file; docker save wrote links for layers that images share.
const maxLinks = 8

func (t *tarball) open(name string) (io.ReadCloser, int64, error) {
	for range maxLinks {
		e, ok := t.entries[path.Clean(name)]
		switch {
		case !ok:
			return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case e.link == "":
			return io.NopCloser(io.NewSectionReader(t.file, e.offset, e.size)), e.size, nil
		}
		name = e.link
	}
	return nil, 0, fmt.Errorf("%s: too many links", name)
}

func (t *tarball) Close() error { return t.file.Close() }

// openTar indexes a tar file, which is read in place unless it is compressed. It closes file.
func openTar(ctx context.Context, file *os.File) (*tarball, error) {
	head := make([]byte, len(zstdMagic))
	n, err := file.ReadAt(head, 0)
	if err == nil || errors.Is(err, io.EOF) {
		if compressionOf(head[:n]) == None {
			return indexed(file)
		}
		defer file.Close()
		return readTar(ctx, file)
	}
	file.Close()
	return nil, err
}

// readTar unpacks a tar, which may be compressed, to a temporary file that has no name any more while it is used, so that
// nothing can leave it behind.
func readTar(ctx context.Context, r io.Reader) (*tarball, error) {
	plain, err := decompress(io.NopCloser(Within(ctx, r)))
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	file, err := spool(plain)
	if err != nil {
		return nil, err
	}
	return indexed(file)
}

func indexed(file *os.File) (*tarball, error) {
	t := &tarball{file: file, entries: map[string]entry{}}
	if err := t.index(); err != nil {
		file.Close()
		return nil, err
	}
	return t, nil
}

// index notes where the tar reader stands after each header: at the entry's first byte, since it reads no further.
func (t *tarball) index() error {
	for tr := tar.NewReader(t.file); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		offset, err := t.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		e := entry{offset: offset, size: h.Size}
		switch h.Typeflag {
		case tar.TypeReg:
		case tar.TypeSymlink:
			e.link = path.Join(path.Dir(h.Name), h.Linkname)
		case tar.TypeLink:
			e.link = h.Linkname
		default:
			continue
		}
		t.entries[path.Clean(h.Name)] = e
	}
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// Plain is the tar of a layer that is kept compressed, as in a registry or a layout. It takes half the time of the layer's
// own Uncompressed, which is go-containerregistry's.
func Plain(l v1.Layer) (io.ReadCloser, error) {
	packed, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	return decompress(packed)
}

// decompress is what r holds, plain. Closing it closes r.
func decompress(r io.ReadCloser) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, chunk)
	head, err := buffered.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, r.Close())
	}
	type stream struct {
		io.Reader
		io.Closer
	}
	switch compressionOf(head) {
	case Gzip:
		zr, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		return stream{zr, r}, nil
	case Zstd:
		zr, err := zstd.NewReader(buffered, zstd.WithDecoderMaxMemory(maxWindow))
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		return stream{zr, closers{zr.IOReadCloser(), r}}, nil
	}
	return stream{buffered, r}, nil
}

// maxWindow is the most memory that reading zstd may take, in bytes: a frame may ask for more than there is.
const maxWindow = 128 << 20

type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, one := range c {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}

// spool copies r into an unnamed temporary file.
func spool(r io.Reader) (*os.File, error) {
	tmp, err := os.CreateTemp("", "image-*.tar")
	if err != nil {
		return nil, err
	}
	err = os.Remove(tmp.Name())
	if err == nil {
		_, err = io.Copy(tmp, r)
	}
	if err == nil {
		_, err = tmp.Seek(0, io.SeekStart)
	}
	if err != nil {
		tmp.Close()
		return nil, err
	}
	return tmp, nil
}
