package dockerfile

import (
	"maps"
	"path"
	"strings"
	"time"

	"github.com/moby/patternmatcher"
)

// plan is what one instruction does to a tree, and so what its layer holds. It knows every path before a byte
// of content is read.
type plan struct {
	tree     *tree
	changes  map[string]*file
	replaced map[string]bool // directories of the image in whose place something else came
	made     []*file         // directories that the copy needs and nobody copies
	owner    *owner          // of what is copied and created, nil to keep
	mode     *chmod          // likewise
	exclude  *patternmatcher.PatternMatcher
	created  time.Time
	latest   time.Time // of what the layer holds, zero for any
}

func (b *builder) newPlan(t *tree) *plan {
	return &plan{tree: t, changes: map[string]*file{}, replaced: map[string]bool{}, created: b.created, latest: b.latest}
}

// ours is the layer number of what instructions write; those of the base image are smaller.
const ours = 1 << 30

// put changes what a name stands for. What stays as it is makes no entry.
func (p *plan) put(name string, f *file) {
	old := p.tree.at(name)
	if _, ours := p.changes[name]; old != nil && !ours && old.file.same(f) {
		return
	}
	if old != nil && old.file.isDir() && !f.isDir() {
		p.replaced[name] = true
		maps.DeleteFunc(p.changes, func(changed string, _ *file) bool { return strings.HasPrefix(changed, name+"/") })
	}
	p.tree.put(name, f, ours)
	if name != "/" { // layers do not describe the top
		p.changes[name] = f
	}
}

// mkdirAll creates missing directories. Without an owner they are root's; below one that hands its group down they are
// of that group, and do so too, as Linux has it.
func (p *plan) mkdirAll(name string, mode int64, o *owner) error {
	return p.tree.mkdirAll(name, ours, func(above *file) *file {
		dir := directory(mode)
		dir.ModTime = p.created
		if above.Mode&setgid != 0 {
			dir.Mode, dir.Gid = mode|setgid, above.Gid
		}
		if o != nil {
			dir.Uid, dir.Gid = o.uid, o.gid
		}
		return dir
	}, func(made string, dir *file) {
		p.changes[made] = dir
		p.made = append(p.made, dir)
	})
}

// setgid is the mode bit of a directory that hands its group down.
const setgid = 0o2000

// copy puts the file or the contents of the directory at name in src to dest. dest is absolute; a slash at its
// end says that it is a directory.
func (p *plan) copy(src source, name, dest string) error {
	from, f, err := follow(src, name)
	if err != nil {
		return err
	}
	target, err := p.target(f, name, dest)
	if err != nil {
		return err
	}
	c := copying{plan: p, src: src, links: map[*file]*file{}}
	return c.tree(entry{from: from, target: target, wanted: true}, f)
}

// target is where f, a source of a name, goes for a destination. It makes the directories above, and for a directory
// that one too.
func (p *plan) target(f *file, name, dest string) (string, error) {
	if err := p.prepare(dest); err != nil {
		return "", err
	}
	target, err := resolve(p.tree, dest)
	if err != nil {
		return "", err
	}
	existing := p.tree.at(target)
	switch {
	case !f.isDir() && existing != nil && existing.file.isDir():
		target = path.Join(target, path.Base(name))
	case f.isDir() && existing == nil:
		return target, p.mkdirAll(target, p.mode.parents(), p.owner)
	}
	return target, p.mkdirAll(path.Dir(target), p.mode.parents(), p.owner)
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
	return p.mkdirAll(dir, p.mode.parents(), p.owner)
}
