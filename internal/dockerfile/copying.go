package dockerfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/moby/patternmatcher"
)

// copying is one source of one instruction on its way.
type copying struct {
	*plan
	src     source
	links   map[*file]*file // keeps hard links together
	include *patternmatcher.PatternMatcher
	pattern []string // of include, by its parts
	found   bool     // something that include matches

	waiting []waiting // directories on the way down, which come along if something in them does
}

// entry is a name that is copied, or that something below it may be copied of.
type entry struct {
	from, target string
	rel          string // from the top of what is copied, empty for that

	wanted, excluded     bool
	includeInfo, exclude patternmatcher.MatchInfo // what patternmatcher wants to know about those above
}

type waiting struct {
	target string
	file   *file
	made   bool
}

// tree copies f, which e.from names. The top directory keeps the owner and mode that its target has; directories below
// it get the source's.
func (c *copying) tree(e entry, f *file) error {
	if e.wanted {
		if err := c.makeWaiting(); err != nil {
			return err
		}
		c.found = c.found || e.rel != ""
	}
	switch {
	case !f.isDir() && e.wanted:
		if existing := c.plan.tree.at(e.target); existing != nil && existing.file.isDir() {
			return fmt.Errorf("the directory %s cannot be replaced by a file", e.target)
		}
		c.put(e.target, c.changed(f))
		return nil
	case !f.isDir():
		return nil
	case e.wanted:
		if err := c.directory(e, f); err != nil {
			return err
		}
	default:
		c.waiting = append(c.waiting, waiting{target: e.target, file: f})
		defer func(n int) { c.waiting = c.waiting[:n] }(len(c.waiting) - 1)
	}
	return c.children(e)
}

// matches finds out whether an entry is to be copied, and reports whether it need be looked at: for itself or, should it be
// a directory, for what is in it.
func (c *copying) matches(e *entry) (bool, error) {
	var err error
	e.wanted = true
	if c.include != nil {
		if e.wanted, e.includeInfo, err = c.include.MatchesUsingParentResults(e.rel, e.includeInfo); err != nil {
			return false, err
		}
	}
	if c.exclude != nil {
		if e.excluded, e.exclude, err = c.exclude.MatchesUsingParentResults(e.rel, e.exclude); err != nil {
			return false, err
		}
	}
	included := e.wanted
	e.wanted = included && !e.excluded
	return e.wanted || (included || c.mayHold(e.rel)) && !(e.excluded && !c.exclude.Exclusions()), nil
}

// directory copies a directory, without what is in it.
func (c *copying) directory(e entry, f *file) error {
	existing := c.plan.tree.at(e.target)
	switch {
	case existing != nil && !existing.file.isDir():
		return fmt.Errorf("%s is not a directory, and cannot be replaced by one", e.target)
	case existing != nil && e.rel == "":
		kept := *existing.file
		kept.ModTime = f.ModTime
		c.put(e.target, &kept)
	default:
		c.put(e.target, c.changed(f))
	}
	return nil
}

// makeWaiting makes the directories above what is about to be copied. Those that are there get the source's mode.
func (c *copying) makeWaiting() error {
	for i, w := range c.waiting {
		c.waiting[i].made = true
		existing := c.plan.tree.at(w.target)
		switch {
		case w.made:
		case existing == nil:
			c.put(w.target, c.changed(w.file))
		case !existing.file.isDir():
			return fmt.Errorf("%s is not a directory, and cannot be replaced by one", w.target)
		case existing.file.Mode != w.file.Mode:
			kept := *existing.file
			kept.Mode = w.file.Mode
			c.put(w.target, &kept)
		}
	}
	return nil
}

// children copies what is in a directory. Names that go away meanwhile are passed over.
func (c *copying) children(e entry) error {
	names, err := c.src.list(e.from)
	if err != nil {
		return err
	}
	for _, name := range names {
		child := e
		child.from, child.target, child.rel = path.Join(e.from, name), path.Join(e.target, name), path.Join(e.rel, name)
		needed, err := c.matches(&child)
		if err != nil {
			return err
		}
		if !needed {
			continue
		}
		f, err := c.src.lstat(child.from)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = c.tree(child, f)
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
	g.Mode = c.mode.of(f)
	if f.isRegular() {
		c.links[f] = &g
	}
	return &g
}
