// Package folder reads the manifests below a folder and writes changed ones back, all of them or none.
package folder

import (
	"context"
	"errors"
	"fmt"
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
type Folder struct {
	dir  string
	root *os.Root
}

// Open opens the folder at dir; Close it when done.
func Open(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Usage, What: "open folder", Where: dir, Hint: "--root names an existing folder", Err: cause(err)}
	}
	return &Folder{dir: dir, root: root}, nil
}

// Close releases the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Files are the files below the given paths (all when none), in order of their path. A path that does not exist or is
// a symbolic link is an error of kind Usage.
func (f *Folder) Files(ctx context.Context, under []string) iter.Seq2[manifest.File, error] {
	if len(under) == 0 {
		under = []string{"."}
	}
	return func(yield func(manifest.File, error) bool) {
		for _, p := range under {
			if err := f.check(p); err != nil {
				yield(manifest.File{}, err)
				return
			}
			err := fs.WalkDir(os.DirFS(f.dir), path.Clean(p), func(p string, entry fs.DirEntry, err error) error {
				return f.visit(ctx, p, entry, err, yield)
			})
			if errors.Is(err, fs.SkipAll) {
				return
			}
			if err != nil {
				yield(manifest.File{}, err)
				return
			}
		}
	}
}

// check refuses a path that the person named and that cannot be walked.
func (f *Folder) check(p string) error {
	info, err := f.root.Lstat(p)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		err = errors.New("it is a symbolic link; name the folder that it points to")
	}
	if err != nil {
		return &fault.Error{Kind: fault.Usage, What: "path", Where: p, Hint: "--path names a file or folder below --root", Err: cause(err)}
	}
	return nil
}

// cause is err without the system call and the path, which the message around it names.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

func (f *Folder) visit(ctx context.Context, p string, entry fs.DirEntry, err error, yield func(manifest.File, error) bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	file := manifest.File{Path: p}
	switch {
	case err != nil:
		file.Skip = fmt.Sprintf("cannot be read: %v", err)
	case entry.IsDir() && entry.Name() == ".git":
		return fs.SkipDir
	case entry.IsDir():
		return nil
	case entry.Type()&fs.ModeSymlink != 0:
		file.Skip = f.linkReason(p)
	case !entry.Type().IsRegular():
		file.Skip = "not a regular file"
	default:
		file.Read = func(buf []byte) ([]byte, error) { return f.read(p, buf) }
	}
	if !yield(file, nil) {
		return fs.SkipAll
	}
	return nil
}

// linkReason says where a symbolic link leads, which decides whether its target is found by itself.
func (f *Folder) linkReason(p string) string {
	if _, err := f.root.Stat(p); err != nil {
		return "a symbolic link that leads outside the root or nowhere"
	}
	return "a symbolic link; its target is edited where it is"
}

// read reads p whole. It goes by the path rather than through the root, since that is one call to the system instead of
// one for each folder on the way; a folder that becomes a link meanwhile could lead a read outside, but never a write.
func (f *Folder) read(p string, buf []byte) ([]byte, error) {
	fd, err := open(filepath.Join(f.dir, p))
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
