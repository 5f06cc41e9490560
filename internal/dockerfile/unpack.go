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
	"github.com/therootcompany/xz"
)

// Most that a decompressor may take of memory, in bytes: what xz -9 and zstd --long=27 need. A file may demand more.
const maxWindow = 128 << 20

// asArchive is a file as the tar in it, nil when there is none. As in BuildKit its name does not matter.
func asArchive(f *file) (*archive, error) {
	if !f.isRegular() || f.content == nil {
		return nil, nil
	}
	a := &archive{open: func() (io.ReadCloser, error) { return decompress(f.content) }, identity: f.content.identity}
	r, err := a.open()
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
		if zr, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow)); err == nil {
			plain = zr.IOReadCloser()
		}
	case bytes.Equal(magic, []byte("\xfd7zXZ\x00")):
		var xr *xz.Reader
		xr, err = xz.NewReader(r, maxWindow)
		plain = io.NopCloser(xr)
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
		if dangles(below{p.tree, dest}, path.Dir(name)) {
			return fmt.Errorf("the archive's entry %s is below a link to nothing", hdr.Name)
		}
		if err := p.mkdirAll(dir, 0o755, &owner{}); err != nil {
			return err
		}
		return p.unpackEntry(a, number, hdr, dest, path.Join(dir, path.Base(name)))
	})
}

func (p *plan) unpackEntry(a *archive, number int, hdr *tar.Header, dest, target string) error {
	f, err := p.unpacked(dest, hdr, member{a, number})
	if err != nil {
		return err
	}
	if p.owner != nil {
		f.Uid, f.Gid = p.owner.uid, p.owner.gid
	}
	p.put(target, f)
	return p.tree.bounded()
}

// unpacked is the file of an archive's entry. What a hard link leads to gets the mode and owner that the link says.
func (p *plan) unpacked(dest string, hdr *tar.Header, c content) (*file, error) {
	if hdr.Typeflag != tar.TypeLink {
		return newFile(hdr, c)
	}
	name, f, err := p.tree.linked(dest, hdr)
	if err != nil {
		return nil, err
	}
	ofImage := p.changes[name] != f
	if ofImage {
		if p.copies[f] == nil {
			own := *f
			p.copies[f] = &own
		}
		f = p.copies[f]
	}
	if f.Typeflag != tar.TypeSymlink {
		f.Mode = hdr.Mode & 0o7777
	}
	f.Uid, f.Gid = hdr.Uid, hdr.Gid
	if ofImage {
		p.put(name, f)
	}
	return f, nil
}

// dangles reports whether a path leads through a link to what is not there.
func dangles(src source, name string) bool {
	for ; name != "." && name != "/"; name = path.Dir(name) {
		parent, err := resolve(src, path.Dir(name))
		if err != nil {
			return true
		}
		if f, err := src.lstat(path.Join(parent, path.Base(name))); err == nil {
			_, _, err := follow(src, name)
			return f.Typeflag == tar.TypeSymlink && err != nil
		}
	}
	return false
}
