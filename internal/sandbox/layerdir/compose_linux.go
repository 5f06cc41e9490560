package layerdir

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Compose copies layers, the lowest first, into a directory, which then holds what a mounted stack of them would show, but for
// devices: nothing could keep whoever runs there from using them. What the directory holds already is what is below them; it
// is made if it is not there.
func Compose(ctx context.Context, root string, layers ...string) error {
	top, err := makeTop(root)
	if err != nil {
		return err
	}
	defer unix.Close(top)
	for _, l := range layers {
		from, err := openTop(l)
		if err != nil {
			return err
		}
		c := composing{ctx: ctx, top: top, links: links{}}
		err = errors.Join(c.dir(from, top, ""), unix.Close(from))
		if err != nil {
			return fmt.Errorf("copying a layer: %w", err)
		}
	}
	return nil
}

type composing struct {
	ctx   context.Context
	top   int
	links links
}

// dir copies what is in an open directory of a layer into another.
func (c *composing) dir(from, to int, name string) error {
	if err := c.ctx.Err(); err != nil {
		return context.Cause(c.ctx)
	}
	if err := bounded(name); err != nil {
		return err
	}
	names, err := children(from)
	if err != nil {
		return err
	}
	for _, child := range names {
		st, err := there(from, child, name+child)
		if err != nil {
			return err
		}
		if isDir(st) {
			err = c.sub(from, to, child, name+child+"/", st)
		} else if err = c.file(from, to, child, name+child, st); err != nil {
			err = fmt.Errorf("/%s%s: %w", name, child, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file copies what is no directory, in the place of what is there, or removes that.
func (c *composing) file(from, to int, child, full string, st *unix.Stat_t) error {
	if k := kind(st); k == unix.S_IFCHR || k == unix.S_IFBLK { // whiteouts are
		return removeAll(to, child)
	}
	err := c.links.copy(c.ctx, from, to, c.top, child, full, st)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := removeAll(to, child); err != nil {
		return err
	}
	return c.links.copy(c.ctx, from, to, c.top, child, full, st)
}

// sub copies a directory, onto one that is there unless it hides that.
func (c *composing) sub(from, to int, child, full string, st *unix.Stat_t) error {
	src, hides, err := openOpaque(from, child)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	old, err := lstat(to, child)
	if err != nil {
		return err
	}
	if old != nil && (hides || !isDir(old)) {
		if err := removeAll(to, child); err != nil {
			return err
		}
		old = nil
	}
	var dst int
	if old == nil {
		dst, err = createDir(to, child, seen(st))
	} else if dst, err = openDir(to, child); err == nil {
		err = seen(st).putOn(dst)
	}
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	if err := c.dir(src, dst, full); err != nil {
		return err
	}
	return setTime(dst, "", st.Mtim)
}
