package layerdir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"golang.org/x/sys/unix"
)

// hole is how many zero bytes in a row are left out when a file is written, so that a file of holes takes no space.
const hole = 64 << 10

var zeros [hole]byte

// writeSparse writes a file's content of a known size. buf holds at least hole bytes.
func writeSparse(fd int, r io.Reader, size int64, buf []byte) error {
	for at := int64(0); at < size; {
		part := buf[:min(int64(hole), size-at)]
		if _, err := io.ReadFull(r, part); err != nil {
			return err
		}
		if len(part) == hole && bytes.Equal(part, zeros[:]) {
			if err := unix.Ftruncate(fd, at+hole); err != nil {
				return err
			}
		} else if err := writeAt(fd, part, at); err != nil {
			return err
		}
		at += int64(len(part))
	}
	return nil
}

func writeAt(fd int, p []byte, at int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		p, at = p[n:], at+int64(n)
	}
	return nil
}

// copyFile copies a regular file to where nothing is, sharing the blocks where the file system can.
func copyFile(ctx context.Context, from, to int, name string, a attributes) error {
	src, err := unix.Openat(from, name, readFlags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return err
	}
	if a.capability, err = attribute(src, capability); err != nil {
		return err
	}
	return createFile(to, name, a, func(dst int) error {
		if st.Size == 0 || unix.IoctlFileClone(dst, src) == nil {
			return nil
		}
		return copyExtents(ctx, src, dst, st.Size)
	})
}

// copyExtents copies what is not a hole.
func copyExtents(ctx context.Context, src, dst int, size int64) error {
	for at := int64(0); at < size; {
		start, err := unix.Seek(src, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // the rest is a hole
			break
		}
		end, err2 := unix.Seek(src, start, unix.SEEK_HOLE)
		if err != nil || err2 != nil { // a file system without holes
			start, end = at, size
		}
		if err := copyExtent(ctx, src, dst, start, min(end, size)); err != nil {
			return err
		}
		at = end
	}
	return unix.Ftruncate(dst, size)
}

// extent is how much is copied before the context is asked again.
const extent = 64 << 20

func copyExtent(ctx context.Context, src, dst int, at, end int64) error {
	for at < end {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		in, out := at, at
		n, err := unix.CopyFileRange(src, &in, dst, &out, int(min(end-at, extent)), 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("copying: %w", err)
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		at += int64(n)
	}
	return nil
}

// copyOne copies what is at a name, and no directory, to where nothing is.
func copyOne(ctx context.Context, from, to int, name string, st *unix.Stat_t) error {
	a := seen(st)
	switch kind(st) {
	case unix.S_IFREG:
		return copyFile(ctx, from, to, name, a)
	case unix.S_IFLNK:
		target, err := readLink(from, name)
		if err != nil {
			return err
		}
		return createSpecial(to, name, a, target)
	}
	return createSpecial(to, name, a, "")
}

// links are where the files are that have several names, by their inodes.
type links map[uint64]string

// copy is copyOne of something that may have been copied under another name before; then it becomes a link to that.
// full is its name below the top that all is copied to.
func (l links) copy(ctx context.Context, from, to, top int, name, full string, st *unix.Stat_t) error {
	if st.Nlink < 2 {
		return copyOne(ctx, from, to, name, st)
	}
	first, ok := l[st.Ino]
	if !ok {
		err := copyOne(ctx, from, to, name, st)
		if err == nil {
			l[st.Ino] = full
		}
		return err
	}
	above, base := path.Split(first)
	dir, err := openInside(top, above, directoryFlags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return unix.Linkat(dir, base, to, name, 0)
}
