// Package folder reads the manifests below a folder and writes changed ones back, all of them or none.
package folder

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// Folder is the tree below one folder. Symbolic links are never followed, so nothing outside is read or written.
// WithIgnored makes Files list what .gitignore files leave out, too.
type Folder struct {
	WithIgnored bool

	dir  string
	root *os.Root
	// top is the folder of the git repository that dir lies in, or dir itself, and prefix leads from there to dir.
	top, prefix string
}

// Open opens the folder at dir; Close it when done.
func Open(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Usage, What: "open folder", Where: dir, Hint: "--root names an existing folder", Err: fault.Cause(err)}
	}
	f := &Folder{dir: dir, root: root}
	f.top, f.prefix = topOf(dir)
	return f, nil
}

// Close releases the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Files are the files below the given paths (all when none), in order of their path. A path that does not exist or is
// a symbolic link is an error of kind Usage. What .gitignore files leave out is left out, but for the given paths
// themselves.
func (f *Folder) Files(ctx context.Context, under []string) iter.Seq2[manifest.File, error] {
	if len(under) == 0 {
		under = []string{"."}
	}
	return func(yield func(manifest.File, error) bool) {
		for _, p := range under {
			info, err := f.check(p)
			more := true
			switch {
			case err != nil:
			case info.IsDir():
				more, err = f.walk(ctx, path.Clean(p), f.rulesAbove(path.Clean(p)), yield)
			default:
				more = yield(f.file(path.Clean(p), info.Mode()), nil)
			}
			if err != nil {
				yield(manifest.File{}, err)
			}
			if !more || err != nil {
				return
			}
		}
	}
}

// check refuses a path that the person named and that cannot be walked.
func (f *Folder) check(p string) (fs.FileInfo, error) {
	info, err := f.root.Lstat(p)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		err = errors.New("it is a symbolic link, and those are not followed; name what it points to")
	}
	if err != nil {
		return nil, &fault.Error{Kind: fault.Usage, What: "path", Where: p, Hint: "name a file or folder below --root", Err: fault.Cause(err)}
	}
	return info, nil
}

// walk visits what lies below the folder at dir, in order of the names; more is false when the visitor wants no more.
func (f *Folder) walk(ctx context.Context, dir string, above *rules, visit func(manifest.File, error) bool) (more bool, err error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	entries, err := os.ReadDir(filepath.Join(f.dir, dir))
	if err != nil {
		return visit(manifest.File{Path: dir + "/", Skip: "cannot be read: " + fault.Cause(err).Error()}, nil), nil
	}
	rules := f.rulesIn(dir, entries, above)
	for _, entry := range entries {
		p := path.Join(dir, entry.Name())
		switch {
		case entry.Name() == ".git" || rules.ignore(f.prefix, p, entry.IsDir()):
		case entry.IsDir():
			if more, err := f.walk(ctx, p, rules, visit); !more || err != nil {
				return more, err
			}
		case !visit(f.file(p, entry.Type()), nil):
			return false, nil
		}
	}
	return true, nil
}

func (f *Folder) file(p string, mode fs.FileMode) manifest.File {
	file := manifest.File{Path: p, Type: mode.Type()}
	switch {
	case mode&fs.ModeSymlink != 0:
		file.Skip = f.linkReason(p)
		file.Read = func([]byte) ([]byte, error) {
			target, err := f.root.Readlink(p)
			return []byte(target), err
		}
	case mode&fs.ModeNamedPipe != 0:
		file.Skip = "a named pipe"
	case mode&fs.ModeSocket != 0:
		file.Skip = "a socket"
	case mode.Type() != 0:
		file.Skip = "not a regular file"
	default:
		file.Read = func(buf []byte) ([]byte, error) { return read(filepath.Join(f.dir, p), p, buf) }
	}
	return file
}

// linkReason says where a symbolic link leads, which decides whether its target is found by itself.
func (f *Folder) linkReason(p string) string {
	if _, err := f.root.Stat(p); err != nil {
		return "a symbolic link that leads outside the root or nowhere"
	}
	return "a symbolic link; its target is edited where it is"
}

// read reads the file at full whole; p is its name in errors. It goes by the path rather than through the root, since that
// is one call to the system instead of one for each folder on the way; a folder that becomes a link meanwhile could lead a
// read outside, but never a write.
func read(full, p string, buf []byte) ([]byte, error) {
	fd, err := open(full)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: p, Err: err}
	}
	defer syscall.Close(fd)
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, max(8<<10, len(buf)))
		}
		n, err := syscall.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: p, Err: err}
		case n == 0:
			return buf, nil
		case len(buf)+n > manifest.MaxSize:
			return nil, manifest.ErrTooLarge
		default:
			buf = buf[:len(buf)+n]
		}
	}
}

func open(path string) (int, error) {
	for {
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		if !errors.Is(err, syscall.EINTR) {
			return fd, err
		}
	}
}
