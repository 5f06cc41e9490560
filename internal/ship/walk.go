package ship

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
)

// walk collects what an addition adds, and the state that it is in.
type walk struct {
	Addition
	root    *os.Root
	epoch   time.Time
	started time.Time

	names    *dockerfile.Names // of the image, nil when they do not matter
	above    []directory       // of To, and To where that stays as the image has it
	files    []found
	state    hash.Hash
	links    map[[2]uint64]string // names in the layer of files that have several, by device and inode
	unrested bool                 // something was changed just now
}

// found is a file as the walk saw it.
type found struct {
	header tar.Header
	path   string // below the root
}

func (w *walk) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	f := found{path: name, header: tar.Header{
		Name: strings.TrimPrefix(path.Join(w.To, name), "/"), Mode: w.permissions(info.Mode()), Uid: w.UID, Gid: w.GID, ModTime: w.clamped(info.ModTime()),
	}}
	if !w.folder {
		f.header.Name = strings.TrimPrefix(w.To, "/")
	}
	stat := info.Sys().(*syscall.Stat_t)
	switch info.Mode().Type() {
	case 0:
		f.header.Typeflag, f.header.Size = tar.TypeReg, info.Size()
		inode := [2]uint64{uint64(stat.Dev), stat.Ino}
		if first := w.links[inode]; first != "" {
			f.header.Typeflag, f.header.Size, f.header.Linkname = tar.TypeLink, 0, first
		} else if stat.Nlink > 1 {
			w.links[inode] = f.header.Name
		}
	case fs.ModeDir:
		f.header.Typeflag = tar.TypeDir
		f.header.Name += "/"
	case fs.ModeSymlink:
		f.header.Typeflag = tar.TypeSymlink
		if f.header.Linkname, err = w.root.Readlink(name); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is no file, folder or link", name)
	}
	w.note(&f.header, image.Changed(stat), stat)
	if f.header.Name != "/" {
		w.files = append(w.files, f)
	}
	return nil
}

// source names the state of the files, "" when it was not at rest.
func (w *walk) source() string {
	if w.unrested {
		return ""
	}
	return fmt.Sprintf("%x", w.state.Sum(nil))
}

// note adds a file to the state: its name in the layer, what the layer says of it, and what tells one state of it from
// another.
func (w *walk) note(h *tar.Header, changed time.Time, stat *syscall.Stat_t) {
	fmt.Fprintf(w.state, "%q %q %c ", h.Name, h.Linkname, h.Typeflag)
	binary.Write(w.state, binary.LittleEndian, []int64{
		h.Mode, int64(h.Uid), int64(h.Gid), h.Size, h.ModTime.Unix(), changed.UnixNano(), stat.Size, int64(stat.Ino), int64(stat.Dev),
	})
	if changed.After(w.started.Add(-image.Rest)) && h.Typeflag == tar.TypeReg {
		w.unrested = true
	}
}

func (w *walk) permissions(mode fs.FileMode) int64 {
	if w.Mode != 0 && mode.IsDir() {
		return int64(w.Mode | w.Mode>>2&0o111)
	}
	if w.Mode != 0 && mode.IsRegular() {
		return int64(w.Mode)
	}
	bits := int64(mode.Perm())
	for flag, bit := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

// clamped is a file's time in the layer, in whole seconds: with fractions each file would take two blocks more.
func (w *walk) clamped(t time.Time) time.Time {
	if !w.epoch.IsZero() && t.After(w.epoch) {
		t = w.epoch
	}
	return time.Unix(t.Unix(), 0)
}
