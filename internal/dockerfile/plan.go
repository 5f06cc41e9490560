package dockerfile

import (
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
	copies   map[*file]*file // files of the image to which an archive links, as it labels them
	line     int             // of the instruction
	owner    *owner          // of what is copied and created, nil to keep
	mode     *chmod          // likewise
	exclude  *patternmatcher.PatternMatcher
	created  time.Time
	latest   time.Time // of what the layer holds, zero for any
}

func newPlan(t *tree) *plan {
	return &plan{tree: t, changes: map[string]*file{}, replaced: map[string]bool{}, copies: map[*file]*file{}}
}

func (b *builder) newPlan(t *tree) *plan {
	p := newPlan(t)
	p.created, p.latest = b.created, b.latest
	return p
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
		old.walk(name, func(gone string, _ *file) { delete(p.changes, gone) })
	}
	p.tree.put(name, f, ours)
	if name != "/" { // layers do not describe the top
		p.changes[name] = f
	}
}

// complete adds the directories above what changed, as they are: some runtimes unpack each layer for itself, and show a
// directory as the topmost layer has it. Those that instructions wrote bear a time that is the same in the next build.
func (p *plan) complete() {
	newest := p.date()
	for name := range p.changes {
		for dir := path.Dir(name); dir != "/" && p.changes[dir] == nil; dir = path.Dir(dir) {
			n := p.tree.at(dir)
			p.changes[dir] = n.file
			if n.layer >= ours && !newest.IsZero() {
				dated := *n.file
				dated.ModTime = newest
				p.changes[dir] = &dated
			}
		}
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
