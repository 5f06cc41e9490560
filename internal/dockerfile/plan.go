package dockerfile

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// plan is what one instruction does to a tree, and so what its layer holds. It knows every path before a byte
// of content is read.
type plan struct {
	tree    *tree
	changes map[string]*file
	owner   *owner // of what is copied and created, nil to keep
	mode    *int64 // likewise
	created time.Time
}

func newPlan(t *tree, created time.Time) *plan {
	return &plan{tree: t, changes: map[string]*file{}, created: created}
}

// ours is the layer number of what instructions write; those of the base image are smaller.
const ours = 1 << 30

func (p *plan) put(name string, f *file) {
	p.tree.put(name, f, ours)
	if name != "/" { // layers do not describe the top
		p.changes[name] = f
	}
}

// mkdirAll creates missing directories, root's when o is nil.
func (p *plan) mkdirAll(name string, mode int64, o *owner) error {
	dir := directory(mode)
	dir.ModTime = p.created
	if o != nil {
		dir.Uid, dir.Gid = o.uid, o.gid
	}
	return p.tree.mkdirAll(name, dir, ours, func(made string) { p.changes[made] = dir })
}

// parentMode is the mode of directories that a copy creates: --chmod's, if there is one, as BuildKit has it.
func (p *plan) parentMode() int64 {
	if p.mode != nil {
		return *p.mode & 0o777
	}
	return 0o755
}

// copy puts the file or the contents of the directory at name in src to dest. dest is absolute; a slash at its
// end says that it is a directory.
func (p *plan) copy(src source, name, dest string) error {
	from, f, err := follow(src, name)
	if err != nil {
		return err
	}
	if err := p.prepare(dest); err != nil {
		return err
	}
	target, err := resolve(p.tree, dest)
	if err != nil {
		return err
	}
	existing := p.tree.at(target)
	switch {
	case !f.isDir() && existing != nil && existing.file.isDir():
		target = path.Join(target, path.Base(name))
	case f.isDir() && existing == nil:
		if err := p.mkdirAll(target, p.parentMode(), p.owner); err != nil {
			return err
		}
	}
	if err := p.mkdirAll(path.Dir(target), p.parentMode(), p.owner); err != nil {
		return err
	}
	c := copying{plan: p, src: src, links: map[*file]*file{}}
	return c.tree(from, f, target, true)
}

// prepare creates the directory that dest is, or is in.
func (p *plan) prepare(dest string) error {
	dir := dest
	if base := path.Base(dest); !strings.HasSuffix(dest, "/") && base != "." {
		dir = path.Dir(dest)
	}
	dir, err := resolve(p.tree, dir)
	if err != nil {
		return err
	}
	return p.mkdirAll(dir, p.parentMode(), p.owner)
}

// follow finds what a path names, through all links.
func follow(src source, name string) (string, *file, error) {
	resolved, err := resolve(src, name)
	if err != nil {
		return "", nil, err
	}
	f, err := src.lstat(resolved)
	return resolved, f, err
}

// copying is one source of one instruction on its way; links keeps hard links together.
type copying struct {
	*plan
	src   source
	links map[*file]*file
}

// tree copies f, found at from, to target. The top directory keeps the owner and mode that its target has;
// directories below it get the source's.
func (c *copying) tree(from string, f *file, target string, top bool) error {
	existing := c.plan.tree.at(target)
	if !f.isDir() {
		if existing != nil && existing.file.isDir() {
			return fmt.Errorf("the directory %s cannot be replaced by a file", target)
		}
		c.put(target, c.changed(f))
		return nil
	}
	switch {
	case existing != nil && !existing.file.isDir():
		return fmt.Errorf("%s is not a directory, and cannot be replaced by one", target)
	case top:
		kept := *existing.file
		kept.ModTime = f.ModTime
		c.put(target, &kept)
	default:
		c.put(target, c.changed(f))
	}
	names, err := c.src.list(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		child := path.Join(from, name)
		f, err := c.src.lstat(child)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = c.tree(child, f, path.Join(target, name), false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// changed is f with the owner and mode that were asked for.
func (c *copying) changed(f *file) *file {
	if known := c.links[f]; known != nil {
		return known
	}
	g := *f
	if c.owner != nil {
		g.Uid, g.Gid = c.owner.uid, c.owner.gid
	}
	if c.mode != nil && g.Typeflag != tar.TypeSymlink {
		g.Mode = *c.mode
	}
	c.links[f] = &g
	return &g
}

// glob is the paths that a COPY source names: itself, or what its wildcards match, sorted. A wildcard matches
// within one path component and follows no links after the first wildcard, as in BuildKit.
func glob(src source, pattern string) ([]string, error) {
	parts := strings.Split(strings.Trim(path.Clean("/"+pattern), "/"), "/")
	first := slices.IndexFunc(parts, wild)
	if first < 0 {
		return []string{path.Join("/", path.Join(parts...))}, nil
	}
	dir, f, err := follow(src, path.Join("/", path.Join(parts[:first]...)))
	if err != nil {
		return nil, err
	}
	matches := map[string]*file{dir: f}
	for _, part := range parts[first:] {
		next := map[string]*file{}
		for dir, f := range matches {
			if err := match(src, dir, f, part, next); err != nil {
				return nil, err
			}
		}
		matches = next
	}
	return slices.Sorted(maps.Keys(matches)), nil
}

// match adds what is in a directory and matches one pattern component.
func match(src source, dir string, f *file, pattern string, found map[string]*file) error {
	if !f.isDir() {
		return nil
	}
	names, err := src.list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return fmt.Errorf("the pattern %s is broken: %w", pattern, err)
		}
		if !ok {
			continue
		}
		child, err := src.lstat(path.Join(dir, name))
		if err == nil {
			found[path.Join(dir, name)] = child
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func wild(part string) bool {
	for i := 0; i < len(part); i++ {
		switch part[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}
