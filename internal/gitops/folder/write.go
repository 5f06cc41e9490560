package folder

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"syscall"

	"github.com/ksera524/imgbump/internal/fault"
	"golang.org/x/sync/errgroup"
)

// Write replaces the content of each file, keyed by its path. Every new content is on the disk before the first file
// is renamed into place, so that an interruption leaves each file whole: the old or the new one. Mode is kept, and the
// owner where the system permits it. When ctx ends before the renames, nothing is changed.
func (f *Folder) Write(ctx context.Context, files map[string][]byte) (err error) {
	paths := make([]string, 0, len(files))
	for p := range files {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	staged := make(map[string]string, len(files))
	defer func() {
		for _, temporary := range staged {
			_ = f.root.Remove(temporary) // renamed ones are gone already
		}
		if err != nil {
			err = &fault.Error{Kind: fault.Failed, What: "write below", Where: f.dir, Err: err}
		}
	}()
	var staging errgroup.Group
	staging.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range paths {
		temporary := path.Join(path.Dir(p), "."+path.Base(p)+".imgbump-"+rand.Text()) // no manifest, should it be left behind
		staged[p] = temporary
		staging.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return f.stage(p, temporary, files[p])
		})
	}
	if err := staging.Wait(); err != nil {
		return err
	}
	if err := f.flush(staged); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, p := range paths {
		if err := f.root.Rename(staged[p], p); err != nil {
			return err
		}
	}
	return nil
}

// stage writes the new content of p beside it.
func (f *Folder) stage(p, temporary string, data []byte) error {
	info, err := f.root.Lstat(p)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no longer a regular file", p)
	}
	file, err := f.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(data); err != nil {
		return err
	}
	keepOwner(file, info)
	if err := file.Chmod(info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)); err != nil {
		return err
	}
	return file.Close()
}

// keepOwner gives file the owner of the file that it will replace; only a privileged user may change it.
func keepOwner(file *os.File, replaced os.FileInfo) {
	if stat, ok := replaced.Sys().(*syscall.Stat_t); ok {
		_ = file.Chown(int(stat.Uid), int(stat.Gid))
	}
}
