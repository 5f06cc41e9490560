package layerdir

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Whiteouts as the OCI image specification's layer.md defines them.
const (
	whiteout     = ".wh."
	opaque       = ".wh..wh..opq"
	whiteoutMeta = ".wh..wh." // further names of aufs' own
)

// Unpack puts tars into a directory, each on top of those before it, and makes the directory if it is not there. Several
// become a root filesystem of their own, the lowest of a stack; one becomes a layer, whose whiteouts hide what is below.
// Directories that a tar does not describe are root's, with the mode 0755.
func Unpack(ctx context.Context, dir string, layers ...io.Reader) error {
	return unpack(ctx, &unpacker{}, dir, layers)
}

// UnpackFiles is Unpack for a directory that a process will see itself, and not by overlayfs or a copy: without devices, which
// nothing could keep it from using.
func UnpackFiles(ctx context.Context, dir string, tars ...io.Reader) error {
	return unpack(ctx, &unpacker{deviceless: true}, dir, tars)
}

func unpack(ctx context.Context, u *unpacker, dir string, layers []io.Reader) error {
	top, err := makeTop(dir)
	if err != nil {
		return err
	}
	defer unix.Close(top)
	u.places, u.buf = places{top: top, lowest: len(layers) > 1}, make([]byte, hole)
	defer u.forget()
	for i, l := range layers {
		if err := u.layer(ctx, i, l); err != nil {
			return fmt.Errorf("unpacking layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return u.setTimes()
}

type unpacker struct {
	places
	entries int
	bytes   int64          // of all files, with those of holes
	put     map[place]bool // what the present layer put, if there are others
	times   []dirTime
	buf     []byte

	deviceless bool // devices are left out
}

// place is a name in a directory.
type place struct {
	dir  uint64 // its inode
	name string
}

// dirTime is when a directory was modified, which is to be set once nothing is put into it any more.
type dirTime struct {
	name string
	at   unix.Timespec
}

func (u *unpacker) layer(ctx context.Context, number int, r io.Reader) error {
	u.put = nil
	if number > 0 {
		u.put = map[place]bool{}
	}
	rest := bufio.NewReaderSize(io.LimitReader(within{ctx, r}, maxBytes), hole)
	tr := tar.NewReader(rest)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, rest) // whoever gives the bytes checks them at their end
			return err
		}
		if err != nil {
			return err
		}
		if err := u.entry(hdr, within{ctx, tr}); err != nil {
			return err
		}
	}
}

// within reads while a context lives.
type within struct {
	ctx context.Context
	io.Reader
}

func (w within) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.Reader.Read(p)
}

func (u *unpacker) entry(hdr *tar.Header, r io.Reader) error {
	name := path.Clean("/" + hdr.Name)[1:]
	if name == "" || hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if err := bounded(name); err != nil {
		return err
	}
	if u.entries++; u.entries+u.made > maxEntries {
		return fmt.Errorf("there are more than %d files", maxEntries)
	}
	if u.bytes += hdr.Size; hdr.Size > maxBytes || u.bytes > maxBytes {
		return fmt.Errorf("there are more than %d bytes", int64(maxBytes))
	}
	above, base := path.Split(name)
	above = strings.TrimSuffix(above, "/")
	var err error
	if strings.HasPrefix(base, whiteout) {
		err = u.whiteout(above, base)
	} else {
		err = u.file(above, base, hdr, r)
	}
	if err != nil {
		return fmt.Errorf("/%.200s: %w", name, err)
	}
	return nil
}

// whiteout hides what a whiteout's name says, here and, unless nothing is below, there.
func (u *unpacker) whiteout(above, base string) error {
	hidden := strings.TrimPrefix(base, whiteout)
	switch {
	case base == opaque:
		return u.opaque(above)
	case strings.HasPrefix(base, whiteoutMeta):
		return nil
	case hidden == "" || hidden == "." || hidden == "..":
		return errors.New("the whiteout names nothing")
	}
	if u.lowest {
		dir, err := u.there(above)
		if err != nil {
			return ignoreMissing(err)
		}
		return u.clear(dir, hidden)
	}
	dir, err := u.dir(above)
	if err != nil {
		return err
	}
	if err := u.clear(dir, hidden); err != nil {
		return err
	}
	return markGone(dir.fd, hidden)
}

// opaque hides what layers before this one put into a directory.
func (u *unpacker) opaque(name string) error {
	if !u.lowest {
		dir, err := u.dir(name)
		if err != nil {
			return err
		}
		return hide(dir.fd)
	}
	if u.put == nil {
		return nil
	}
	dir, err := u.there(name)
	if err != nil {
		return ignoreMissing(err)
	}
	_, err = u.hideEarlier(dir.fd)
	return err
}

// hideEarlier removes what earlier layers put below a directory, and reports whether that was all.
func (u *unpacker) hideEarlier(dir int) (bool, error) {
	u.stale = true // for directories go
	again, err := openDir(dir, ".")
	if err != nil {
		return false, err
	}
	defer unix.Close(again)
	var st unix.Stat_t
	if err := unix.Fstat(again, &st); err != nil {
		return false, err
	}
	names, err := children(again)
	if err != nil {
		return false, err
	}
	empty := true
	for _, name := range names {
		gone, err := u.hideOne(again, name, u.put[place{st.Ino, name}])
		if err != nil {
			return false, err
		}
		empty = empty && gone
	}
	return empty, nil
}

func (u *unpacker) hideOne(dir int, name string, ours bool) (gone bool, err error) {
	st, err := lstat(dir, name)
	if err != nil || st == nil {
		return false, err
	}
	if !isDir(st) {
		if ours {
			return false, nil
		}
		return true, removeAll(dir, name)
	}
	sub, err := openDir(dir, name)
	if err != nil {
		return false, err
	}
	defer unix.Close(sub)
	if empty, err := u.hideEarlier(sub); err != nil || !empty || ours {
		return false, err
	}
	return true, removeAll(dir, name)
}

// file puts an entry that is no whiteout.
func (u *unpacker) file(above, base string, hdr *tar.Header, r io.Reader) error {
	dir, err := u.dir(above)
	if err != nil {
		return err
	}
	if u.put != nil {
		u.put[place{dir.ino, strings.Clone(base)}] = true
	}
	if hdr.Typeflag == tar.TypeLink {
		return u.link(dir, base, hdr.Linkname)
	}
	a, err := described(hdr)
	if err != nil {
		return err
	}
	switch a.mode & unix.S_IFMT {
	case unix.S_IFDIR:
		u.times = append(u.times, dirTime{path.Join(above, base), a.modified})
		return u.directory(dir, base, a)
	case unix.S_IFREG:
		return u.replace(dir, base, func() error {
			return createFile(dir.fd, base, a, func(fd int) error { return writeSparse(fd, r, hdr.Size, u.buf) })
		})
	case unix.S_IFCHR, unix.S_IFBLK:
		if u.deviceless {
			return u.clear(dir, base)
		}
	}
	return u.replace(dir, base, func() error { return createSpecial(dir.fd, base, a, hdr.Linkname) })
}

// replace creates something, in the place of what is there if need be.
func (u *unpacker) replace(dir directory, base string, create func() error) error {
	err := create()
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := u.clear(dir, base); err != nil {
		return err
	}
	return create()
}

// clear removes what is at a name.
func (u *unpacker) clear(dir directory, base string) error {
	st, err := lstat(dir.fd, base)
	if err != nil || st == nil {
		return err
	}
	err = removeAll(dir.fd, base)
	if kind(st) == unix.S_IFDIR || kind(st) == unix.S_IFLNK {
		u.stale = true // names may lead elsewhere now
	}
	return err
}

// directory puts a directory, with what is in it already if it is one.
func (u *unpacker) directory(dir directory, base string, a attributes) error {
	st, err := lstat(dir.fd, base)
	if err != nil {
		return err
	}
	if st != nil && isDir(st) {
		fd, err := openDir(dir.fd, base)
		if err != nil {
			return err
		}
		return errors.Join(a.putOn(fd), unix.Close(fd))
	}
	if err := u.clear(dir, base); err != nil {
		return err
	}
	fd, err := createDir(dir.fd, base, a)
	if err != nil {
		return err
	}
	if st != nil && !u.lowest { // it hid what is below
		err = hide(fd)
	}
	return errors.Join(err, unix.Close(fd))
}

// link makes a hard link to a file that is there already, whose attributes it keeps.
func (u *unpacker) link(dir directory, base, target string) error {
	above, other := path.Split(path.Clean("/" + target)[1:])
	none := fmt.Errorf("it is a hard link to %.200s, which is no file", target)
	from, err := u.resolve(strings.TrimSuffix(above, "/"))
	if missing(err) {
		return none
	}
	if err != nil {
		return err
	}
	defer unix.Close(from.fd)
	st, err := lstat(from.fd, other)
	if err != nil {
		return err
	}
	if st == nil || isDir(st) || isWhiteout(st) {
		return none
	}
	if from.ino == dir.ino && other == base {
		return nil
	}
	return u.replace(dir, base, func() error { return unix.Linkat(from.fd, other, dir.fd, base, 0) })
}

// setTimes gives the directories their times; of some the place is something else by now.
func (u *unpacker) setTimes() error {
	for _, t := range u.times {
		fd, err := openInside(u.top, t.name, directoryFlags, unix.RESOLVE_IN_ROOT)
		if err != nil {
			continue
		}
		err = setTime(fd, "", t.at)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("/%s: %w", t.name, err)
		}
	}
	return nil
}
