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

// Bounds of what an archive may hold, so that a hostile one cannot take all memory or time: bytes of a path (Linux'
// PATH_MAX), directories in a path, bytes of a file's capabilities (Linux' vfs_ns_cap_data), and bytes in all.
const (
	maxPath       = 4096
	maxDepth      = 256
	maxCapability = 24
	maxBytes      = 1 << 40
)

// Bounds of a tree: names, and bytes of their paths and of what links point to. A test has fewer.
var maxEntries, maxNames = 1 << 20, 128 << 20

// archive is a tar that can be read again: a layer of an image, or an archive in the build context.
type archive struct {
	open     func() (io.ReadCloser, error)    // the tar, decompressed
	identity func() (id string, settled bool) // as of its bytes before that
	size     int64                            // of its files in bytes, if that is known
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

// newFile is the file of an archive's entry, with its content if it has one; hard links are the caller's. Nothing of hdr is
// kept, for its strings are parts of what may be much longer.
func newFile(hdr *tar.Header, c content) (*file, error) {
	f := &file{Header: tar.Header{
		Typeflag: hdr.Typeflag, Linkname: strings.Clone(hdr.Linkname), Mode: hdr.Mode & 0o7777, Uid: hdr.Uid, Gid: hdr.Gid,
		ModTime: hdr.ModTime, Devmajor: hdr.Devmajor, Devminor: hdr.Devminor,
	}}
	if value, ok := hdr.PAXRecords[capability]; ok {
		if len(value) > maxCapability {
			return nil, fmt.Errorf("%s has capabilities of %d bytes, more than any file can have", hdr.Name, len(value))
		}
		f.PAXRecords = map[string]string{capability: strings.Clone(value)}
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		f.Typeflag, f.Size = tar.TypeReg, hdr.Size
		if hdr.Size > 0 {
			f.content = c
		}
	case tar.TypeSymlink:
		f.Mode = 0o777 // as Linux has it, whatever the archive says
	case tar.TypeDir, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
	default:
		return nil, fmt.Errorf("%s has the unknown type %q", hdr.Name, hdr.Typeflag)
	}
	return f, nil
}

// readTree reads the headers of an image's layers into a tree. Their bytes go to branches, too, if there are any.
func readTree(ctx context.Context, layers []v1.Layer, branches []*branch) (*tree, error) {
	t := newTree()
	for i, l := range layers {
		a := &archive{open: func() (io.ReadCloser, error) { return image.Plain(l) }, identity: layerIdentity(l)}
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
			t.hide(dir, n, layer)
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
	f, err := t.layered(hdr, c)
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

// layered is the file of a layer's entry: that of the other name for a hard link.
func (t *tree) layered(hdr *tar.Header, c content) (*file, error) {
	if hdr.Typeflag != tar.TypeLink {
		return newFile(hdr, c)
	}
	_, f, err := t.linked("/", hdr)
	return f, err
}

// linked is the file that a hard link names when the archive is unpacked below dir, and where it is.
func (t *tree) linked(dir string, hdr *tar.Header) (name string, f *file, err error) {
	target := path.Join("/", hdr.Linkname)
	parent, err := resolve(below{t, dir}, path.Dir(target))
	if err != nil {
		return "", nil, err
	}
	name = path.Join(dir, parent, path.Base(target))
	if f, err = t.lstat(name); err != nil || f.isDir() {
		return "", nil, fmt.Errorf("%s is a hard link to %s, which is no file", hdr.Name, hdr.Linkname)
	}
	return name, f, nil
}

// bounded is an error when the tree has more, or longer, names than an image can have.
func (t *tree) bounded() error {
	switch {
	case t.entries > maxEntries:
		return fmt.Errorf("there are more than %d files", maxEntries)
	case t.text > maxNames:
		return fmt.Errorf("the names of its files and what its links point to are longer than %d bytes in all", maxNames)
	}
	return nil
}

// hide removes what lower layers put below n, which is at dir.
func (t *tree) hide(dir string, n *node, layer int) {
	for base, child := range n.children {
		name := path.Join(dir, base)
		t.hide(name, child, layer)
		if child.layer != layer && len(child.children) == 0 {
			t.count(name, child, -1)
			delete(n.children, base)
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
