package dockerfile

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/image"
)

// Whiteouts as the OCI image specification's layer.md defines them.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// capability is the one extended attribute that layers carry, as BuildKit exports them.
const capability = "SCHILY.xattr.security.capability"

// Bounds of what an archive may hold, so that a hostile one cannot take all memory or time: entries of a tree, bytes of a
// path (Linux' PATH_MAX), directories in a path, and bytes in all.
const (
	maxPath  = 4096
	maxDepth = 256
	maxBytes = 1 << 40
)

var maxEntries = 1 << 20 // a test has fewer

// archive is a tar that can be read again: a layer of an image, or an archive in the build context.
type archive struct {
	open     func() (io.ReadCloser, error)    // the tar, decompressed
	identity func() (id string, settled bool) // as of its bytes before that
}

// member is the content of an archive's entry, by its number.
type member struct {
	archive *archive
	number  int
}

func (m member) identity() (string, bool) {
	id, settled := m.archive.identity()
	if id == "" {
		return "", false
	}
	return fmt.Sprintf("%s %d", id, m.number), settled
}

func (m member) open() (io.ReadCloser, error) {
	r, err := m.archive.open()
	if err != nil {
		return nil, err
	}
	tr := tar.NewReader(r)
	for range m.number + 1 {
		if _, err := tr.Next(); err != nil {
			r.Close()
			return nil, fmt.Errorf("reading an archive again: %w", err)
		}
	}
	return struct {
		io.Reader
		io.Closer
	}{tr, r}, nil
}

// each calls visit for every entry of the archive, until the context ends. It reads the archive to its end.
func (a *archive) each(ctx context.Context, visit func(number int, hdr *tar.Header, r io.Reader) error) error {
	r, err := a.open()
	if err != nil {
		return err
	}
	defer r.Close()
	rest := io.LimitReader(image.Within(ctx, r), maxBytes)
	tr := tar.NewReader(rest)
	for number := 0; ; number++ {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, rest) // whoever gives the bytes checks them at their end
			return err
		}
		if err == nil {
			err = bounded(hdr)
		}
		if err == nil {
			err = visit(number, hdr, tr)
		}
		if err != nil {
			return err
		}
	}
}

func bounded(hdr *tar.Header) error {
	if longest := max(len(hdr.Name), len(hdr.Linkname)); longest > maxPath || strings.Count(hdr.Name, "/") > maxDepth {
		return fmt.Errorf("an entry's name is longer than %d bytes or %d directories: %.60q", maxPath, maxDepth, hdr.Name)
	}
	return nil
}

// newFile is the file of an archive's entry, with its content if it has one; hard links are the caller's.
func newFile(hdr *tar.Header, c content) (*file, error) {
	f := &file{Header: tar.Header{
		Typeflag: hdr.Typeflag, Linkname: hdr.Linkname, Mode: hdr.Mode & 0o7777, Uid: hdr.Uid, Gid: hdr.Gid,
		ModTime: hdr.ModTime, Devmajor: hdr.Devmajor, Devminor: hdr.Devminor,
	}}
	if value, ok := hdr.PAXRecords[capability]; ok {
		f.PAXRecords = map[string]string{capability: value}
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		f.Typeflag, f.Size = tar.TypeReg, hdr.Size
		if hdr.Size > 0 {
			f.content = c
		}
	case tar.TypeDir, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
	default:
		return nil, fmt.Errorf("%s has the unknown type %q", hdr.Name, hdr.Typeflag)
	}
	return f, nil
}

// readTree reads the headers of an image's layers into a tree. Their bytes go to branches, too, if there are any.
func readTree(ctx context.Context, layers []v1.Layer, branches []*branch) (*tree, error) {
	t := newTree()
	for i, l := range layers {
		a := &archive{open: l.Uncompressed, identity: layerIdentity(l)}
		if branches != nil {
			a.open = branches[i].first(a.open)
		}
		if err := t.apply(ctx, a, i+1); err != nil {
			return nil, fmt.Errorf("reading layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return t, nil
}

// layerIdentity is that of a layer's bytes: its digest.
func layerIdentity(l v1.Layer) func() (string, bool) {
	return func() (string, bool) {
		digest, err := l.Digest()
		if err != nil {
			return "", false
		}
		return digest.String(), true
	}
}

// apply puts a layer on the tree, as a runtime unpacks it.
func (t *tree) apply(ctx context.Context, a *archive, layer int) error {
	return a.each(ctx, func(number int, hdr *tar.Header, r io.Reader) error {
		c, err := remember(member{a, number}, hdr, r)
		if err != nil {
			return err
		}
		return t.applyEntry(hdr, layer, c)
	})
}

// applyEntry puts an entry of a layer on the tree.
func (t *tree) applyEntry(hdr *tar.Header, layer int, c content) error {
	dir, base := path.Split(path.Clean("/" + hdr.Name))
	if base == "" || hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	dir, err := resolve(t, dir)
	if err != nil {
		return err
	}
	if base == opaque {
		if n := t.at(dir); n != nil {
			n.hide(layer)
		}
		return nil
	}
	if hidden, ok := strings.CutPrefix(base, whiteout); ok {
		t.remove(path.Join(dir, hidden))
		return nil
	}
	if err := t.mkdirAll(dir, layer, func(*file) *file { return directory(0o755) }, func(string, *file) {}); err != nil {
		return err
	}
	f, err := t.unpacked("/", hdr, c)
	if err != nil {
		return err
	}
	t.put(path.Join(dir, base), f, layer)
	return t.bounded()
}

// remembered is a member that need not be read again.
type remembered struct {
	member
	text string
}

func (r remembered) open() (io.ReadCloser, error) { return inline(r.text).open() }

// maxRemembered bounds what is remembered, in bytes.
const maxRemembered = 64 << 10

// remember keeps the text of the files that USER and --chown look names up in.
func remember(m member, hdr *tar.Header, r io.Reader) (content, error) {
	name := path.Clean("/" + hdr.Name)
	if name != passwdFile && name != groupFile || hdr.Typeflag != tar.TypeReg || hdr.Size > maxRemembered {
		return m, nil
	}
	text, err := io.ReadAll(r)
	return remembered{m, string(text)}, err
}

// unpacked is an entry's file when the archive is unpacked below dir: that of the other name for a hard link.
func (t *tree) unpacked(dir string, hdr *tar.Header, c content) (*file, error) {
	if hdr.Typeflag != tar.TypeLink {
		return newFile(hdr, c)
	}
	target := path.Join("/", hdr.Linkname)
	parent, err := resolve(below{t, dir}, path.Dir(target))
	if err != nil {
		return nil, err
	}
	f, err := t.lstat(path.Join(dir, parent, path.Base(target)))
	if err != nil || f.isDir() {
		return nil, fmt.Errorf("%s is a hard link to %s, which is no file", hdr.Name, hdr.Linkname)
	}
	return f, nil
}

// bounded is an error when the tree has more names than an image can have.
func (t *tree) bounded() error {
	if t.entries > maxEntries {
		return fmt.Errorf("there are more than %d files", maxEntries)
	}
	return nil
}

// hide removes what lower layers put below n.
func (n *node) hide(layer int) {
	for name, child := range n.children {
		child.hide(layer)
		if child.layer != layer && len(child.children) == 0 {
			delete(n.children, name)
		}
	}
}

// below is a folder of a source as if it were the top.
type below struct {
	source
	dir string
}

func (b below) lstat(name string) (*file, error)   { return b.source.lstat(path.Join(b.dir, name)) }
func (b below) list(name string) ([]string, error) { return b.source.list(path.Join(b.dir, name)) }
