package folder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/ksera524/imgbump/internal/fault"
	"golang.org/x/sync/errgroup"
)

// Write replaces the content of each file, keyed by its path. Every new content is on the disk before the first file
// is renamed into place, so that an interruption leaves each file whole: the old or the new one. Mode is kept, and the
// owner where the system permits it. When ctx ends before the renames, nothing is changed.
func (f *Folder) Write(ctx context.Context, files map[string][]byte) error {
	b := batch{}
	for p, data := range files {
		dir, name := path.Dir(p), path.Base(p)
		temporary := "." + name + ".imgbump-" + rand.Text() // no manifest, should it be left behind
		b[dir] = append(b[dir], replacement{name, temporary, data})
	}
	err := f.each(b, func(in *os.Root, r replacement) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return r.stage(in)
	})
	if err == nil {
		err = f.flush(b)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = f.each(b, func(in *os.Root, r replacement) error { return in.Rename(r.temporary, r.name) })
	}
	if err == nil {
		return nil
	}
	_ = f.each(b, func(in *os.Root, r replacement) error {
		_ = in.Remove(r.temporary) // some were never made, or are renamed already
		return nil
	})
	return &fault.Error{Kind: fault.Failed, What: "write below", Where: f.dir, Err: err}
}

// batch is what is written at once, by folder.
type batch map[string][]replacement

// replacement is the new content of a file, in a temporary one beside it until that is renamed into its place.
type replacement struct {
	name, temporary string
	data            []byte
}

// atOnce is how many folders are written to at once. What a file system has to note takes more waiting than computing.
const atOnce = 8

// each opens every folder of the batch once and does something for each file in it. The error is the first, with the file's
// path.
func (f *Folder) each(b batch, do func(in *os.Root, r replacement) error) error {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for dir, replacements := range b {
		group.Go(func() error {
			in, err := f.root.OpenRoot(dir)
			if err != nil {
				return fmt.Errorf("%s: %w", dir, fault.Cause(err))
			}
			defer in.Close()
			for _, r := range replacements {
				if err := do(in, r); err != nil {
					return fmt.Errorf("%s: %w", path.Join(dir, r.name), fault.Cause(err))
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// stage writes the new content beside the file, which may be a new one.
func (r replacement) stage(in *os.Root) error {
	info, err := in.Lstat(r.name)
	isNew := errors.Is(err, fs.ErrNotExist)
	mode := fs.FileMode(0o666)
	switch {
	case isNew:
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("it is no longer a regular file")
	default:
		mode = info.Mode().Perm()
	}
	file, err := in.OpenFile(r.temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(r.data); err != nil {
		return err
	}
	if !isNew {
		if err := takeAfter(file, info); err != nil {
			return err
		}
	}
	return file.Close()
}

// takeAfter gives file the mode of the one that it will replace, and its owner, which only a privileged user may change.
// Usually it has both from the start, and what is not changed need not be noted on the disk.
func takeAfter(file *os.File, replaced os.FileInfo) error {
	made, err := file.Stat()
	if err != nil {
		return err
	}
	is, ok := made.Sys().(*syscall.Stat_t)
	want, known := replaced.Sys().(*syscall.Stat_t)
	if ok && known && (is.Uid != want.Uid || is.Gid != want.Gid) {
		_ = file.Chown(int(want.Uid), int(want.Gid))
	}
	if made.Mode() == replaced.Mode() {
		return nil
	}
	return file.Chmod(replaced.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky))
}
