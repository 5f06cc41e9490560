package layerdir

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Diff makes a layer of what has changed below a directory since a snapshot was taken, and returns a snapshot of the present
// state. The layer's directory must not exist, or be empty. It may hold more than a layer tells: files that changed and
// are now as they were, which Entries leaves out.
//
// Unlike with overlayfs, a change to a file with several names shows under all of them.
func Diff(ctx context.Context, root string, before *Snapshot, into string) (*Snapshot, error) {
	after, err := Look(ctx, root)
	if err != nil {
		return nil, err
	}
	from, err := openTop(root)
	if err != nil {
		return nil, err
	}
	defer unix.Close(from)
	to, err := makeTop(into)
	if err != nil {
		return nil, err
	}
	defer unix.Close(to)
	d := differ{ctx: ctx, into: to, links: links{}}
	if err := d.dir(&copied{from: from, to: to, open: true}, before.top, after.top); err != nil {
		return nil, fmt.Errorf("copying what has changed: %w", err)
	}
	return after, nil
}

type differ struct {
	ctx   context.Context
	into  int
	links links
}

// copied is a directory on the way to what has changed. It comes to be in the layer when the first thing in it does.
type copied struct {
	above    *copied
	name     string // its last part
	full     string // "" or with a slash at its end
	hides    bool   // what is below in the stack
	open     bool
	from, to int
	modified unix.Timespec
}

func (c *copied) ensure() error {
	if c.open {
		return nil
	}
	if err := c.above.ensure(); err != nil {
		return err
	}
	from, err := openDir(c.above.from, c.name)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	err = unix.Fstat(from, &st)
	if err == nil {
		c.to, err = createDir(c.above.to, c.name, seen(&st))
	}
	if err != nil {
		unix.Close(from)
		return err
	}
	c.from, c.modified, c.open = from, st.Mtim, true
	if c.hides {
		return hide(c.to)
	}
	return nil
}

// close ends a directory in which nothing more comes.
func (c *copied) close() error {
	if !c.open {
		return nil
	}
	return errors.Join(setTime(c.to, "", c.modified), unix.Close(c.to), unix.Close(c.from))
}

// dir copies the differences of a directory. Without a before all is new.
func (d *differ) dir(at *copied, before, after *folder) error {
	if err := d.ctx.Err(); err != nil {
		return context.Cause(d.ctx)
	}
	var old, now []entry
	if before != nil {
		old = before.entries
	}
	now = after.entries
	for len(old) > 0 || len(now) > 0 {
		var err error
		switch order := compare(old, now); {
		case order < 0:
			err = d.gone(at, old[0].name)
			old = old[1:]
		case order > 0:
			err = d.changed(at, nil, &now[0])
			now = now[1:]
		default:
			err = d.changed(at, &old[0], &now[0])
			old, now = old[1:], now[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compare tells which of two lists has the next name.
func compare(old, now []entry) int {
	switch {
	case len(old) == 0:
		return 1
	case len(now) == 0:
		return -1
	}
	return cmp.Compare(old[0].name, now[0].name)
}

// gone marks a name as deleted.
func (d *differ) gone(at *copied, name string) error {
	if err := at.ensure(); err != nil {
		return err
	}
	return markGone(at.to, name)
}

// changed copies what differs of a name that is there.
func (d *differ) changed(at *copied, old, now *entry) error {
	switch {
	case now.dir == nil && old != nil && old.stamp == now.stamp:
		return nil
	case now.dir == nil:
		return d.file(at, old, now)
	}
	sub := &copied{above: at, name: now.name, full: at.full + now.name + "/"}
	var before *folder
	var err error
	switch {
	case old != nil && old.dir != nil && old.stamp.ino == now.stamp.ino:
		before = old.dir
		if old.stamp.mode != now.stamp.mode || old.stamp.uid != now.stamp.uid || old.stamp.gid != now.stamp.gid {
			err = sub.ensure()
		}
	default:
		sub.hides = old != nil
		err = sub.ensure()
	}
	if err == nil {
		err = d.dir(sub, before, now.dir)
	}
	return errors.Join(err, sub.close())
}

// file copies what is no directory. Something that overlayfs would take for a mark is as good as not there.
func (d *differ) file(at *copied, old, now *entry) error {
	if err := at.ensure(); err != nil {
		return err
	}
	st, err := there(at.from, now.name, at.full+now.name)
	if err != nil {
		return err
	}
	if isWhiteout(st) {
		if old != nil {
			return d.gone(at, now.name)
		}
		return nil
	}
	if err := d.links.copy(d.ctx, at.from, at.to, d.into, now.name, at.full+now.name, st); err != nil {
		return fmt.Errorf("/%s%s: %w", at.full, now.name, err)
	}
	return nil
}
