package layerdir

import (
	"archive/tar"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Entries are what a layer changes about the stack below it, the lowest first, as the headers of its tar: sorted, every
// directory above what it holds, hard links after the name that they link to. They are those of BuildKit: what is there
// but is the same below, as after a copy-up, is not told, nor are sockets, times of directories and the top itself; of an
// opaque directory each name that it hides is. What is called .wh.NAME, which means a deletion in a tar, is left out too.
func Entries(ctx context.Context, dir string, below ...string) ([]*tar.Header, error) {
	top, err := openTop(dir)
	if err != nil {
		return nil, err
	}
	defer unix.Close(top)
	under, err := openStack(below)
	if err != nil {
		return nil, err
	}
	defer under.close()
	l := listing{ctx: ctx, linked: map[uint64]string{}}
	if err := l.dir(top, under, &level{told: true}); err != nil {
		return nil, fmt.Errorf("listing a layer: %w", err)
	}
	return l.entries, nil
}

type listing struct {
	ctx     context.Context
	entries []*tar.Header
	linked  map[uint64]string // the first names of files with several
}

// level is a directory on the way to what is listed. Its own header is told before the first one below it.
type level struct {
	above  *level
	name   string // "" or with a slash at its end
	header *tar.Header
	told   bool
	opaque bool // it hides what is below, or one above does
}

func (l *listing) tell(at *level) {
	if at.told {
		return
	}
	l.tell(at.above)
	at.told = true
	l.entries = append(l.entries, at.header)
}

// dir lists what is in an open directory of the layer, whose counterparts below are a stack.
func (l *listing) dir(fd int, below stack, at *level) error {
	if err := l.ctx.Err(); err != nil {
		return context.Cause(l.ctx)
	}
	names, err := children(fd)
	if err != nil {
		return err
	}
	if at.opaque {
		hidden, err := below.names()
		if err != nil {
			return err
		}
		names = append(names, hidden...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	for _, name := range names {
		if err := l.name(fd, below, at, name); err != nil {
			return err
		}
	}
	return nil
}

// name lists one name of a directory.
func (l *listing) name(fd int, below stack, at *level, name string) error {
	full := at.name + name
	if err := bounded(full); err != nil {
		return err
	}
	st, err := lstat(fd, name)
	if err != nil {
		return err
	}
	old, err := below.find(name)
	if err != nil {
		return err
	}
	defer old.below.close()
	switch {
	case st == nil || untold(name, st):
		if old.stat != nil {
			l.tell(at)
			l.entries = append(l.entries, &tar.Header{Typeflag: tar.TypeReg, Name: at.name + whiteout + name, ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
		}
		return nil
	case isDir(st):
		return l.sub(fd, at, name, st, old)
	}
	same, err := l.same(found{dir: fd, name: name, stat: st}, old)
	if err != nil || same {
		return err
	}
	hdr, err := header(fd, name, full, st)
	if err != nil {
		return err
	}
	if st.Nlink > 1 {
		if first, ok := l.linked[st.Ino]; ok {
			hdr.Typeflag, hdr.Linkname, hdr.Size = tar.TypeLink, first, 0
		} else {
			l.linked[st.Ino] = full
		}
	}
	l.tell(at)
	l.entries = append(l.entries, hdr)
	return nil
}

// sub lists a directory in a directory.
func (l *listing) sub(fd int, at *level, name string, st *unix.Stat_t, old found) error {
	sub, err := openDir(fd, name)
	if err != nil {
		return err
	}
	defer unix.Close(sub)
	if redirect, err := attribute(sub, redirectMark); err != nil {
		return err
	} else if redirect != "" {
		return fmt.Errorf("/%s%s stands for another directory below, which a layer cannot say", at.name, name)
	}
	hides, err := isOpaque(sub)
	if err != nil {
		return err
	}
	hdr, err := header(fd, name, at.name+name+"/", st)
	if err != nil {
		return err
	}
	next := &level{above: at, name: hdr.Name, header: hdr, opaque: at.opaque || hides}
	same, err := l.same(found{dir: fd, name: name, stat: st}, old)
	if err != nil {
		return err
	}
	if !same {
		l.tell(next)
	}
	return l.dir(sub, old.below, next)
}

// header is the tar header of what is at a name in a directory, under its full name.
func header(dir int, name, full string, st *unix.Stat_t) (*tar.Header, error) {
	hdr := &tar.Header{
		Name: full, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Sec, 0), Format: tar.FormatPAX,
	}
	var err error
	switch kind(st) {
	case unix.S_IFREG:
		hdr.Typeflag, hdr.Size = tar.TypeReg, st.Size
	case unix.S_IFDIR:
		hdr.Typeflag = tar.TypeDir
	case unix.S_IFLNK:
		hdr.Typeflag = tar.TypeSymlink
		if hdr.Linkname, err = readLink(dir, name); err != nil {
			return nil, err
		}
		return hdr, nil
	case unix.S_IFIFO:
		hdr.Typeflag = tar.TypeFifo
	case unix.S_IFBLK, unix.S_IFCHR:
		hdr.Typeflag = tar.TypeBlock
		if kind(st) == unix.S_IFCHR {
			hdr.Typeflag = tar.TypeChar
		}
		hdr.Devmajor, hdr.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	value, err := capabilityOf(dir, name, st)
	if value != "" {
		hdr.PAXRecords = map[string]string{paxCapability: value}
	}
	return hdr, err
}
