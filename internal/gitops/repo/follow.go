package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
)

// following is a checkout about to follow a commit: index locked, new contents written beside the working files.
// Nothing that the user sees has changed before apply.
type following struct {
	repo  *Repo
	index *index
	lock  *os.File
	files []followed
}

// followed is one working file, and its entry in the index.
type followed struct {
	edit
	entry   int
	target  string // the working file, "" when it is not checked out
	content []byte // as the working file has it: perhaps with CRLF
	info    os.FileInfo
	temp    string // holds content until apply
}

// prepare locks the index and writes the new contents to temporary files. It fails when the checkout cannot follow:
// a file has changes of the user's, for example.
func (r *Repo) prepare(ctx context.Context, o *objects, edits []edit) (*following, error) {
	file := filepath.Join(r.gitDir, "index")
	lock, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil, &fault.Error{What: "lock", Where: file, Err: errors.New("another git process is working in this checkout"),
			Hint: "wait for it; when none is running, remove " + file + ".lock"}
	} else if err != nil {
		return nil, &fault.Error{What: "lock", Where: file, Err: err}
	}
	f, err := r.plan(ctx, o, edits)
	if err != nil {
		return nil, errors.Join(err, lock.Close(), os.Remove(lock.Name()))
	}
	f.lock = lock
	for i := range f.files {
		if err := f.files[i].writeTemp(); err != nil {
			f.abandon()
			return nil, &fault.Error{What: "write", Where: f.files[i].path, Err: err}
		}
	}
	return f, nil
}

// plan reads the index and the working files, and decides what each becomes.
func (r *Repo) plan(ctx context.Context, o *objects, edits []edit) (*following, error) {
	for _, state := range []string{"MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply"} {
		if exists(r.gitDir, state) {
			return nil, &fault.Error{Where: r.root, Err: errors.New("a merge or rebase is under way"), Hint: "finish or abort it"}
		}
	}
	index, err := readIndex(filepath.Join(r.gitDir, "index"), edits)
	if err != nil {
		return nil, &fault.Error{What: "read the index of", Where: r.root, Err: err}
	}
	f := &following{repo: r, index: index}
	for _, e := range edits {
		file, reason := f.planFile(ctx, o, e)
		if reason != nil {
			return nil, &fault.Error{Where: e.path, Err: reason, Hint: "commit or stash the changes, then run this again"}
		}
		f.files = append(f.files, file)
	}
	return f, nil
}

// planFile decides what one working file becomes; the error says what of the user's is in the way.
func (f *following) planFile(ctx context.Context, o *objects, e edit) (followed, error) {
	file := followed{edit: e, entry: f.index.at[e.path]}
	switch {
	case file.entry == 0:
		return file, errors.New("it is not in git's index")
	case f.index.flags(file.entry)&flagStage != 0:
		return file, errors.New("it has merge conflicts")
	case f.index.hash(file.entry) != e.old:
		return file, errors.New("it has staged changes")
	}
	target := filepath.Join(f.repo.root, filepath.FromSlash(e.path))
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) && f.index.sparse(file.entry) {
		return file, nil
	}
	if real, _ := filepath.EvalSymlinks(target); err != nil || !info.Mode().IsRegular() || real != target {
		return file, errors.New("it was deleted, or is not a file of its own any more")
	}
	before, err := o.blob(ctx, e.old)
	if err != nil {
		return file, err
	}
	after, err := o.blob(ctx, e.new)
	if err != nil {
		return file, err
	}
	working, err := os.ReadFile(target)
	switch {
	case err != nil:
		return file, err
	case bytes.Equal(working, before):
	case bytes.Equal(working, withCRLF(before)): // as core.autocrlf and eol=crlf check it out
		after = withCRLF(after)
	default:
		return file, errors.New("it has uncommitted changes")
	}
	file.target, file.info, file.content = target, info, after
	return file, nil
}

// withCRLF ends every line with CR LF; git leaves a file alone that has some already.
func withCRLF(data []byte) []byte {
	if bytes.Contains(data, []byte("\r\n")) {
		return data
	}
	return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
}

// writeTemp writes the new content beside the working file, with the same mode and, where that is permitted, owner.
func (f *followed) writeTemp() error {
	if f.target == "" {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(f.target), ".imgbump-*")
	if err != nil {
		return err
	}
	f.temp = temp.Name()
	_, err = temp.Write(f.content)
	err = errors.Join(err, temp.Chmod(f.info.Mode().Perm()), temp.Close())
	stat := statFields(f.info)
	os.Chown(f.temp, int(stat[7]), int(stat[8]))
	return err
}

// apply puts the new contents in place, and the index that agrees with them.
func (f *following) apply() error {
	if err := f.applyFiles(); err != nil {
		return &fault.Error{What: "update the checkout", Where: f.repo.root, Hint: "the commit stands; `git checkout HEAD -- FILE` restores a file", Err: err}
	}
	return nil
}

func (f *following) applyFiles() error {
	for i := range f.files {
		file := &f.files[i]
		var info os.FileInfo
		if file.target != "" {
			if err := os.Rename(file.temp, file.target); err != nil {
				return err
			}
			file.temp = ""
			var err error
			if info, err = os.Lstat(file.target); err != nil {
				return err
			}
		}
		f.index.set(file.entry, file.new, info)
	}
	return f.replaceIndex()
}

// replaceIndex puts the new index in place of the old one, with its time: git looks into files that are as young as the
// index, since their stamps are too coarse to tell a change. With a younger index it would stop doing so for the files
// that it has not looked into yet (Documentation/technical/racy-git).
func (f *following) replaceIndex() error {
	file := filepath.Join(f.repo.gitDir, "index")
	old, err := os.Stat(file)
	if err != nil {
		return err
	}
	if _, err := f.lock.Write(f.index.bytes()); err != nil {
		return err
	}
	if err := f.lock.Close(); err != nil {
		return err
	}
	if err := os.Chtimes(f.lock.Name(), time.Time{}, old.ModTime()); err != nil {
		return err
	}
	if err := os.Rename(f.lock.Name(), file); err != nil {
		return fmt.Errorf("replace the index: %w", err)
	}
	f.lock = nil
	return nil
}

// abandon removes what prepare left; after apply there is nothing.
func (f *following) abandon() {
	for _, file := range f.files {
		if file.temp != "" {
			os.Remove(file.temp)
		}
	}
	if f.lock != nil {
		f.lock.Close()
		os.Remove(f.lock.Name())
	}
}
