package dockerfile

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// errXZ is the cause when a file is compressed as this builder cannot read it.
var errXZ = notYet("unpacking xz", "COPY keeps the file as it is; gzip, bzip2 and zstd are unpacked")

// asArchive is a file as the tar in it, nil when there is none. As in BuildKit its name does not matter.
func asArchive(f *file) (*archive, error) {
	if !f.isRegular() || f.content == nil {
		return nil, nil
	}
	a := &archive{open: func() (io.ReadCloser, error) { return decompress(f.content) }}
	r, err := a.open()
	if errors.Is(err, errXZ) {
		return nil, err
	}
	if err != nil {
		return nil, nil // what cannot be decompressed is no archive, and copied as it is
	}
	defer r.Close()
	if _, err := tar.NewReader(r).Next(); err != nil {
		return nil, nil // likewise
	}
	return a, nil
}

// decompress opens content, and reads through the compression that its first bytes tell.
func decompress(c content) (io.ReadCloser, error) {
	raw, err := c.open()
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(raw)
	magic, _ := r.Peek(6)
	plain := io.NopCloser(io.Reader(r))
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		plain, err = gzip.NewReader(r)
	case bytes.HasPrefix(magic, []byte("BZh")):
		plain = io.NopCloser(bzip2.NewReader(r))
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		var zr *zstd.Decoder
		if zr, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1)); err == nil {
			plain = zr.IOReadCloser()
		}
	case bytes.Equal(magic, []byte("\xfd7zXZ\x00")):
		err = errXZ
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return stacked{plain, raw}, nil
}

// stacked reads from the top and closes both.
type stacked struct {
	io.ReadCloser
	under io.Closer
}

func (s stacked) Close() error { return errors.Join(s.ReadCloser.Close(), s.under.Close()) }

// unpack puts what is in the archive below dest, as tar run in a chroot there would.
func (p *plan) unpack(ctx context.Context, a *archive, dest string) error {
	dest, err := resolve(p.tree, dest)
	if err != nil {
		return err
	}
	if err := p.mkdirAll(dest, 0o755, p.owner); err != nil {
		return err
	}
	return a.each(ctx, func(number int, hdr *tar.Header, _ io.Reader) error {
		name := path.Clean(strings.TrimLeft(hdr.Name, "/"))
		if name == ".." || strings.HasPrefix(name, "../") {
			return fmt.Errorf("the archive's entry %s points out of it", hdr.Name)
		}
		if name == "." || hdr.Typeflag == tar.TypeXGlobalHeader {
			return nil
		}
		dir, err := resolve(below{p.tree, dest}, path.Dir(name))
		if err != nil {
			return err
		}
		dir = path.Join(dest, dir)
		if err := p.mkdirAll(dir, 0o755, nil); err != nil {
			return err
		}
		return p.unpackEntry(a, number, hdr, dest, path.Join(dir, path.Base(name)))
	})
}

func (p *plan) unpackEntry(a *archive, number int, hdr *tar.Header, dest, target string) error {
	f, err := p.tree.unpacked(dest, a, number, hdr)
	if err != nil {
		return err
	}
	if old := p.tree.at(target); old != nil && old.file.isDir() && !f.isDir() {
		return notYet("replacing the directory "+target+" by a file of an archive", "unpack it to another folder")
	}
	if p.owner != nil && hdr.Typeflag != tar.TypeLink {
		f.Uid, f.Gid = p.owner.uid, p.owner.gid
	}
	p.put(target, f)
	return nil
}
