package layerdir

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// stack is one directory as several layers have it, the topmost first: open, and merged as overlayfs does.
type stack []int

// openStack opens the tops of layers, which are given the lowest first.
func openStack(layers []string) (stack, error) {
	var s stack
	for _, l := range slices.Backward(layers) {
		fd, err := openTop(l)
		if err != nil {
			s.close()
			return nil, err
		}
		s = append(s, fd)
	}
	return s, nil
}

func (s stack) close() {
	for _, fd := range s {
		unix.Close(fd)
	}
}

// found is what a name in a directory stands for; stat is nil when it is not there.
type found struct {
	dir   int
	name  string
	stat  *unix.Stat_t
	below stack // of a directory: what it consists of
}

// find looks a name up. The stack that it returns is to be closed.
func (s stack) find(name string) (found, error) {
	var f found
	for _, fd := range s {
		st, err := lstat(fd, name)
		if err != nil {
			f.below.close()
			return found{}, err
		}
		if st == nil {
			continue
		}
		if untold(name, st) {
			break
		}
		if f.stat == nil {
			f = found{dir: fd, name: name, stat: st}
		}
		if !isDir(st) {
			break
		}
		sub, hides, err := openOpaque(fd, name)
		if err != nil {
			f.below.close()
			return found{}, err
		}
		if f.below = append(f.below, sub); hides {
			break
		}
	}
	return f, nil
}

// openOpaque opens a directory in a directory, and reports whether it hides what is below.
func openOpaque(dir int, name string) (int, bool, error) {
	fd, err := openDir(dir, name)
	if err != nil {
		return -1, false, err
	}
	hides, err := isOpaque(fd)
	if err != nil {
		unix.Close(fd)
	}
	return fd, hides, err
}

// names are those of the merged directory, sorted. Of some find may say that they are not there.
func (s stack) names() ([]string, error) {
	var all []string
	for _, fd := range s {
		again, err := openDir(fd, ".")
		if err != nil {
			return nil, err
		}
		names, err := children(again)
		unix.Close(again)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// same reports whether two layers have the same at a name: of directories the times do not count. Contents are compared as
// well. BuildKit does not if the times have fractions of a second, and so loses what a program changed that put the time
// back.
func (l *listing) same(a, b found) (bool, error) {
	if b.stat == nil {
		return false, nil
	}
	s, t := a.stat, b.stat
	if s.Mode != t.Mode || s.Uid != t.Uid || s.Gid != t.Gid || s.Rdev != t.Rdev {
		return false, nil
	}
	if !isDir(s) && (s.Size != t.Size || s.Mtim != t.Mtim) {
		return false, nil
	}
	capA, errA := capabilityOf(a.dir, a.name, s)
	capB, errB := capabilityOf(b.dir, b.name, t)
	if err := errors.Join(errA, errB); err != nil || capA != capB {
		return false, err
	}
	switch kind(s) {
	case unix.S_IFLNK:
		linkA, errA := readLink(a.dir, a.name)
		linkB, errB := readLink(b.dir, b.name)
		return linkA == linkB, errors.Join(errA, errB)
	case unix.S_IFREG:
		return sameContent(l.ctx, a, b)
	}
	return true, nil
}

// capabilityOf is the capability of a regular file, "" when it has none. Nothing else can use one.
func capabilityOf(dir int, name string, st *unix.Stat_t) (string, error) {
	if kind(st) != unix.S_IFREG {
		return "", nil
	}
	fd, err := unix.Openat(dir, name, readFlags, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	return attribute(fd, capability)
}

// readFlags are for regular files; what else may be there makes nobody wait.
const readFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC

// openFile opens a regular file in a directory.
func openFile(dir int, name string) (*os.File, error) {
	fd, err := unix.Openat(dir, name, readFlags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// sameContent reports whether two files of the same size hold the same bytes.
func sameContent(ctx context.Context, a, b found) (bool, error) {
	f, err := openFile(a.dir, a.name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := openFile(b.dir, b.name)
	if err != nil {
		return false, err
	}
	defer g.Close()
	left := within{ctx, f}
	var p, q [32 << 10]byte
	for {
		n, err := io.ReadFull(left, p[:])
		m, _ := io.ReadFull(g, q[:])
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}
