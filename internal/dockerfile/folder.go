package dockerfile

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// folder is a context on disk. Nothing outside of it is looked at, wherever its links point.
type folder struct {
	root   *os.Root
	linked map[inode]*file // files with several names
}

// Folder is what is in root, which must stay open.
func Folder(root *os.Root) Context { return &folder{root: root, linked: map[inode]*file{}} }

type inode struct{ device, number uint64 }

// relative is a path as os.Root wants it.
func relative(name string) string { return path.Join(".", name) }

// ReadFile does not follow a link out of the folder.
func (d *folder) ReadFile(name string) ([]byte, error) {
	return ReadText(func(flag int) (*os.File, error) { return d.root.OpenFile(relative(name), flag, 0) })
}

// ReadText is the text of a file that is opened with certain flags: of a regular file of at most 16 MiB, for a pipe might
// never end.
func ReadText(open func(flag int) (*os.File, error)) ([]byte, error) {
	f, err := open(os.O_RDONLY | syscall.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !stat.Mode().IsRegular() || stat.Size() > maxText {
		return nil, fmt.Errorf("it is no regular file of at most %d MiB", maxText>>20)
	}
	return io.ReadAll(io.LimitReader(f, maxText))
}

// lstat describes a name. A path through a file or an unresolved link names nothing.
func (d *folder) lstat(name string) (*file, error) {
	info, err := d.root.Lstat(relative(name))
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	id, linked := identity(info)
	if f := d.linked[id]; linked && f != nil {
		return f, nil
	}
	f, err := d.file(name, info)
	if linked && err == nil {
		d.linked[id] = f
	}
	return f, err
}

// list is what is in a directory, sorted.
func (d *folder) list(dir string) ([]string, error) {
	open, err := d.root.Open(relative(dir))
	if err != nil {
		return nil, err
	}
	defer open.Close()
	names, err := open.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// file describes a name as on disk, but owned by root, as BuildKit sends it.
func (d *folder) file(name string, info fs.FileInfo) (*file, error) {
	f := &file{Header: tar.Header{ModTime: info.ModTime(), Mode: tarMode(info.Mode())}}
	switch info.Mode().Type() {
	case fs.ModeDir:
		f.Typeflag = tar.TypeDir
	case fs.ModeSymlink:
		target, err := d.root.Readlink(relative(name))
		if err != nil {
			return nil, err
		}
		f.Typeflag, f.Linkname = tar.TypeSymlink, target
	case fs.ModeNamedPipe:
		f.Typeflag = tar.TypeFifo
	case fs.ModeSocket: // a socket arrives as an empty file, as with BuildKit
		f.Typeflag = tar.TypeReg
	case 0:
		f.Typeflag, f.Size = tar.TypeReg, info.Size()
		f.content = contextFile{d.root, relative(name), inodeOf(info), stateOf(info)}
	default:
		return nil, &fault.Error{Hint: "leave it out with .dockerignore", Err: fmt.Errorf("%s is a device", name)}
	}
	return f, nil
}

// identity tells names of one file from others; ok is false when it has only one name.
func identity(info fs.FileInfo) (id inode, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	return inodeOf(info), ok && !info.IsDir() && st.Nlink > 1
}

// inodeOf is what tells a file from others, whatever its name.
func inodeOf(info fs.FileInfo) inode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}
	}
	return inode{uint64(st.Dev), st.Ino}
}

// contextFile is the content of a file in a folder.
type contextFile struct {
	root  *os.Root
	name  string
	inode inode
	state state
}

var now = time.Now // a test has a later one

// state tells what a file held at one time from what it held at others.
type state struct {
	size, modified, changed int64 // bytes, and times in ns
	settled                 bool  // the last change is long enough ago for the next one to have another time
}

func stateOf(info fs.FileInfo) state {
	s := state{size: info.Size(), modified: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		changed := image.Changed(sys)
		s.changed, s.settled = changed.UnixNano(), now().Sub(changed) >= image.Rest
	}
	return s
}

func (f contextFile) identity() (string, bool) {
	return fmt.Sprint("file ", f.inode.device, f.inode.number, f.state.size, f.state.modified, f.state.changed), f.state.settled
}

// open insists on the file that was seen: what came in its place meanwhile may be a link to what .dockerignore hides, or a
// pipe that nobody writes to.
func (f contextFile) open() (io.ReadCloser, error) {
	file, err := f.root.OpenFile(f.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && inodeOf(info) != f.inode {
		err = fmt.Errorf("%s is another file now: %w", f.name, image.ErrChanged)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
