package dockerfile

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// maxLinks bounds how many symbolic links one path may lead through, as Linux does with 40 and containerd with 255.
const maxLinks = 255

// file is what a name in a tree stands for. Files are never changed once they are in a tree; names that share
// one are hard links. The header's Name is not used, and its Typeflag is never that of a hard link.
type file struct {
	tar.Header
	content content // of a regular file, nil when it is empty
}

// same reports whether putting g where f is changes nothing that a layer tells: times of directories are not.
func (f *file) same(g *file) bool {
	if f.Typeflag != g.Typeflag || f.Mode != g.Mode || f.Uid != g.Uid || f.Gid != g.Gid || f.Linkname != g.Linkname || f.Size != g.Size ||
		f.Devmajor != g.Devmajor || f.Devminor != g.Devminor || f.PAXRecords[capability] != g.PAXRecords[capability] {
		return false
	}
	return f.isDir() || f.ModTime.Equal(g.ModTime) && f.content == g.content
}

// content gives the bytes of a regular file, from their beginning.
type content interface {
	open() (io.ReadCloser, error)
	// identity tells these bytes from all others, "" when nobody knows; settled is false when they may change without it.
	identity() (id string, settled bool)
}

// inline is content that the Dockerfile itself holds.
type inline string

func (s inline) open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader([]byte(s))), nil
}

func (s inline) identity() (string, bool) { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))), true }

func (f *file) isDir() bool { return f.Typeflag == tar.TypeDir }

func (f *file) isRegular() bool { return f.Typeflag == tar.TypeReg }

// source is where COPY reads: the build context, or the tree of a stage or an image. Paths are absolute, clean
// and name the place itself: links on the way are resolved already, one at the end is not followed.
type source interface {
	lstat(name string) (*file, error)  // fs.ErrNotExist when there is none
	list(dir string) ([]string, error) // sorted; lstat decides whether a name is there
}

// node is a name in a tree, with the names below it.
type node struct {
	file     *file
	children map[string]*node
	layer    int // the layer of the image that wrote it
}

// tree is a root filesystem as headers: paths resolve inside of it and nowhere else.
type tree struct {
	root    *node
	entries int // names
	text    int // bytes of their paths, and of what links point to
}

func newTree() *tree {
	return &tree{root: &node{file: directory(0o755)}}
}

func directory(mode int64) *file {
	return &file{Header: tar.Header{Typeflag: tar.TypeDir, Mode: mode}}
}

// clone is a copy that can change alone; files are shared, for they never change.
func (t *tree) clone() *tree { return &tree{root: t.root.clone(), entries: t.entries, text: t.text} }

func (n *node) clone() *node {
	c := &node{file: n.file, layer: n.layer}
	if n.children != nil {
		c.children = make(map[string]*node, len(n.children))
		for name, child := range n.children {
			c.children[name] = child.clone()
		}
	}
	return c
}

// walk calls visit for everything below n, whose own name is top.
func (n *node) walk(top string, visit func(name string, f *file)) {
	for name, child := range n.children {
		visit(top+"/"+name, child.file)
		child.walk(top+"/"+name, visit)
	}
}

// at is the node of a path, nil when there is none.
func (t *tree) at(name string) *node {
	n := t.root
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" {
			continue
		}
		if n = n.children[part]; n == nil {
			return nil
		}
	}
	return n
}

func (t *tree) lstat(name string) (*file, error) {
	if n := t.at(name); n != nil {
		return n.file, nil
	}
	return nil, fs.ErrNotExist
}

func (t *tree) list(dir string) ([]string, error) {
	n := t.at(dir)
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return slices.Sorted(maps.Keys(n.children)), nil
}

// put makes name stand for f. Its parents must be there. A directory put on a directory keeps what is in it;
// anything else replaces what was there.
func (t *tree) put(name string, f *file, layer int) {
	old := t.at(name)
	switch {
	case old == t.root:
		t.root.file = f
	case old != nil && old.file.isDir() && f.isDir():
		old.file, old.layer = f, layer
	default:
		t.link(t.at(path.Dir(name)), path.Dir(name), strings.Clone(path.Base(name)), &node{file: f, layer: layer})
	}
}

// link puts n, whatever is below it too, under a name in parent, which is at dir.
func (t *tree) link(parent *node, dir, base string, n *node) {
	if old := parent.children[base]; old != nil {
		t.count(path.Join(dir, base), old, -1)
	}
	put(&parent.children, base, n)
	t.count(path.Join(dir, base), n, 1)
}

func (t *tree) remove(name string) {
	parent, base := t.at(path.Dir(name)), path.Base(name)
	if parent == nil || parent.children[base] == nil {
		return
	}
	t.count(name, parent.children[base], -1)
	delete(parent.children, base)
}

// count adds n at name, and what is below it, to what the tree holds, or takes it off.
func (t *tree) count(name string, n *node, sign int) {
	t.entries += sign
	t.text += sign * (len(name) + len(n.file.Linkname))
	n.walk(name, func(name string, f *file) {
		t.entries += sign
		t.text += sign * (len(name) + len(f.Linkname))
	})
}

// mkdirAll makes the missing directories of name as make has them, given the directory above, tells made of each, and
// wants the others to be directories.
func (t *tree) mkdirAll(name string, layer int, make func(above *file) *file, made func(string, *file)) error {
	if n := t.at(name); n != nil {
		if !n.file.isDir() {
			return fmt.Errorf("%s is not a directory", name)
		}
		return nil
	}
	if err := t.mkdirAll(path.Dir(name), layer, make, made); err != nil {
		return err
	}
	dir := make(t.at(path.Dir(name)).file)
	t.put(name, dir, layer)
	made(name, dir)
	return nil
}

// resolve follows every symbolic link of a path, as a process chrooted to the top of src would meet it. Parts
// that do not exist stay as they are.
func resolve(src source, name string) (string, error) {
	at, rest, links := "/", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		f, err := src.lstat(next)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err != nil || f.Typeflag != tar.TypeSymlink {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s leads through too many symbolic links", name)
		}
		if path.IsAbs(f.Linkname) {
			at = "/"
		}
		rest = append(strings.Split(f.Linkname, "/"), rest...)
	}
	return at, nil
}

// read is the content of a regular file of at most limit bytes.
func read(src source, name string, limit int64) ([]byte, error) {
	resolved, err := resolve(src, name)
	if err != nil {
		return nil, err
	}
	f, err := src.lstat(resolved)
	if err != nil {
		return nil, err
	}
	if !f.isRegular() || f.Size > limit {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", name, limit)
	}
	if f.content == nil {
		return nil, nil
	}
	r, err := f.content.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// merge puts another tree on top, as a runtime unpacks its layer. The top itself stays.
func (t *tree) merge(over *tree) { t.mergeAt("/", t.root, over.root) }

func (t *tree) mergeAt(dir string, n, over *node) {
	for name, o := range over.children {
		switch below := n.children[name]; {
		case below != nil && below.file.isDir() && o.file.isDir():
			below.file, below.layer = o.file, o.layer
			t.mergeAt(path.Join(dir, name), below, o)
		default:
			t.link(n, dir, name, o.clone())
		}
	}
}
