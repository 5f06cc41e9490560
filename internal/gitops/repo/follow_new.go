package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ksera524/imgbump/internal/fault"
)

// made reports whether the file is a new one.
func (f *followed) made() bool { return f.old.IsZero() }

// planNew decides where a new file goes; the error says what of the user's is in the way.
func (f *following) planNew(ctx context.Context, o *objects, e edit) (followed, error) {
	file := followed{edit: e, target: filepath.Join(f.repo.root, filepath.FromSlash(e.path))}
	inTheWay := func(why, hint string) error { return &fault.Error{Where: e.path, Err: errors.New(why), Hint: hint} }
	switch _, err := os.Lstat(file.target); {
	case f.index.folders:
		return file, inTheWay("it is a new file, and git's index is sparse", hintSparse)
	case f.index.at[e.path] != 0:
		return file, inTheWay("it is in git's index already, and in no commit", hintStash)
	case err == nil:
		return file, inTheWay("it is there already, and not in git", "commit it, or move it away")
	case !errors.Is(err, fs.ErrNotExist):
		return file, err
	}
	dir := filepath.Dir(file.target)
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		file.folders = append(file.folders, dir)
	}
	if real, err := filepath.EvalSymlinks(dir); err != nil || real != dir {
		return file, inTheWay("the folder that it goes to is a symbolic link", "replace it by a folder")
	}
	var err error
	file.after, err = o.blob(ctx, e.new)
	return file, err
}

// enter adds entries for the new files to the index.
func (f *following) enter() error {
	for _, file := range f.files {
		if !file.made() {
			continue
		}
		if err := f.index.insert(file.path); err != nil {
			return &fault.Error{What: "add to the index", Where: file.path, Err: err}
		}
	}
	if err := f.index.scan(); err != nil {
		return err
	}
	for i := range f.files {
		f.files[i].entry = f.index.at[f.files[i].path]
	}
	return nil
}

// writeNew writes a new file's content, with whatever mode and owner new files get.
func (f *followed) writeNew(gitDir string) error {
	dir := filepath.Dir(f.target)
	if n := len(f.folders); n > 0 {
		dir = filepath.Dir(f.folders[n-1])
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(tempDir(gitDir, dir, info), tempPrefix+"*") // for its name
	if err != nil {
		return err
	}
	f.temp = temp.Name()
	if err := errors.Join(temp.Close(), os.Remove(f.temp)); err != nil {
		return err
	}
	return os.WriteFile(f.temp, f.after, 0o666)
}

// makeRoom makes the folders of a new file, unless something is in its place by now.
func (f *followed) makeRoom() error {
	if _, err := os.Lstat(f.target); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has appeared meanwhile", f.path)
	}
	return os.MkdirAll(filepath.Dir(f.target), 0o777)
}
