package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
)

// following is a checkout about to follow a commit: the new index and the new contents lie in git's folder. Nothing that
// the user or git sees has changed before apply.
type following struct {
	repo  *Repo
	index *index
	was   os.FileInfo // the index as it was read
	file  *os.File    // the new index, until apply
	files []followed
}

// followed is one working file, and its entry in the index.
type followed struct {
	edit
	entry         int
	target        string // the working file, "" when it is not checked out
	before, after []byte // as the working file has them: perhaps with CRLF
	info          os.FileInfo
	temp          string   // holds after until apply
	folders       []string // that are to be made for a new file, the innermost first
}

const (
	hintSparse = "git sparse-checkout reapply --no-sparse-index"
	hintStash  = "commit or stash the changes, then run this again"
)

// prepare writes all that apply needs to temporary files. It fails when the checkout cannot follow: a file has changes of
// the user's, for example.
func (r *Repo) prepare(ctx context.Context, o *objects, edits []edit) (*following, error) {
	f, err := r.plan(ctx, o, edits)
	if err != nil {
		return nil, err
	}
	r.sweep()
	for i := range f.files {
		if err := f.files[i].writeTemp(r.gitDir); err != nil {
			f.abandon()
			return nil, &fault.Error{What: "write", Where: f.files[i].path, Err: err}
		}
	}
	if err := f.writeIndex(); err != nil {
		f.abandon()
		return nil, &fault.Error{What: "write the index of", Where: r.root, Err: err}
	}
	return f, nil
}

// The names of our temporary files, and the age after which one is what a killed run left: they live for moments.
const (
	tempPrefix = ".imgbump-"
	tempAge    = 10 * time.Minute
)

// sweep removes what killed runs left in git's folder. The age is that of the inode: an index on its way has the time of
// the one before it.
func (r *Repo) sweep() {
	entries, _ := os.ReadDir(r.gitDir) // who cannot read it cannot write to it either, which is said then
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !strings.HasPrefix(entry.Name(), tempPrefix) || !info.Mode().IsRegular() {
			continue
		}
		const changed = 0
		if r.options.Now().Sub(time.Unix(int64(statFields(info)[changed]), 0)) > tempAge {
			os.Remove(filepath.Join(r.gitDir, entry.Name()))
		}
	}
}

// plan reads the index and the working files, and decides what each becomes.
func (r *Repo) plan(ctx context.Context, o *objects, edits []edit) (*following, error) {
	for _, state := range []string{"MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply"} {
		if exists(r.gitDir, state) {
			return nil, &fault.Error{Where: r.root, Err: errors.New("a merge or rebase is under way"), Hint: "finish or abort it"}
		}
	}
	file := filepath.Join(r.gitDir, "index")
	f := &following{repo: r}
	var err error
	if f.was, err = os.Stat(file); err == nil {
		f.index, err = readIndex(file, edits)
	}
	if err != nil {
		refused := &fault.Error{What: "read the index of", Where: r.root, Err: err}
		if errors.Is(err, errSplit) {
			refused.Hint = "git update-index --no-split-index"
		}
		return nil, refused
	}
	for _, e := range edits {
		plan := f.planFile
		if e.old.IsZero() {
			plan = f.planNew
		}
		file, err := plan(ctx, o, e)
		if err != nil {
			return nil, wrap("read", e.path, err)
		}
		f.files = append(f.files, file)
	}
	return f, f.enter()
}

// planFile decides what one working file becomes; the error says what of the user's is in the way.
func (f *following) planFile(ctx context.Context, o *objects, e edit) (followed, error) {
	file := followed{edit: e, entry: f.index.at[e.path]}
	inTheWay := func(why, hint string) error { return &fault.Error{Where: e.path, Err: errors.New(why), Hint: hint} }
	switch {
	case file.entry == 0 && f.index.folders:
		return file, inTheWay("it lies in a folder that git's sparse index has as one", hintSparse)
	case file.entry == 0:
		return file, inTheWay("it is not in git's index", "git reset brings it back into the index")
	case f.index.flags(file.entry)&flagStage != 0:
		return file, inTheWay("it has merge conflicts", "resolve them, and commit")
	case f.index.hash(file.entry) != e.old:
		return file, inTheWay("it has staged changes", hintStash)
	}
	target := filepath.Join(f.repo.root, filepath.FromSlash(e.path))
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) && f.index.sparse(file.entry) {
		return file, nil
	}
	if real, _ := filepath.EvalSymlinks(target); err != nil || !info.Mode().IsRegular() || real != target {
		return file, inTheWay("it was deleted, or is not a file of its own any more", "git restore brings it back")
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
		return file, inTheWay("it has uncommitted changes", hintStash)
	}
	file.target, file.info, file.before, file.after = target, info, working, after
	return file, nil
}

// withCRLF ends every line with CR LF; git leaves a file alone that has some already.
func withCRLF(data []byte) []byte {
	if bytes.Contains(data, []byte("\r\n")) {
		return data
	}
	return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
}

// writeTemp writes the new content into git's folder, where it is nobody's untracked file if we are killed; beside the
// working file when that is on another file system. It has the same mode and, where that is permitted, owner.
func (f *followed) writeTemp(gitDir string) error {
	if f.target == "" {
		return nil
	}
	if f.made() {
		return f.writeNew(gitDir)
	}
	const user, group = 7, 8
	stat := statFields(f.info)
	temp, err := os.CreateTemp(tempDir(gitDir, filepath.Dir(f.target), f.info), tempPrefix+"*")
	if err != nil {
		return err
	}
	f.temp = temp.Name()
	_, err = temp.Write(f.after)
	err = errors.Join(err, temp.Chmod(f.info.Mode().Perm()), temp.Close())
	os.Chown(f.temp, int(stat[user]), int(stat[group]))
	return err
}

// tempDir is git's folder, or dir where that is on the file system of info and git's is not.
func tempDir(gitDir, dir string, info os.FileInfo) string {
	const device = 4
	if git, err := os.Stat(gitDir); err == nil && statFields(git)[device] == statFields(info)[device] {
		return gitDir
	}
	return dir
}

// writeIndex writes the new index, but for the stamps of the files: the disk has room for it then.
func (f *following) writeIndex() error {
	file, err := os.CreateTemp(f.repo.gitDir, tempPrefix+"*")
	if err != nil {
		return err
	}
	f.file = file
	for _, followed := range f.files {
		f.index.set(followed.entry, followed.new, nil)
	}
	if _, err := file.Write(f.index.bytes()); err != nil {
		return err
	}
	return file.Chmod(f.was.Mode().Perm())
}

// apply puts the new contents in place, and the index that agrees with them. When it fails everything is as it was.
func (f *following) apply() error {
	index := filepath.Join(f.repo.gitDir, "index")
	unlock, err := lockIndex(index)
	if err != nil {
		return err
	}
	defer unlock()
	if now, err := os.Stat(index); err != nil || changed(f.was, now) {
		return &fault.Error{What: "update the index of", Where: f.repo.root, Err: errors.New("another git process changed it meanwhile"), Hint: "run this again"}
	}
	for i := range f.files {
		if err = f.files[i].replace(); err != nil {
			break
		}
		f.index.set(f.files[i].entry, f.files[i].new, f.files[i].info)
	}
	if err == nil {
		err = f.replaceIndex(index)
	}
	if err != nil {
		for i := range f.files {
			err = errors.Join(err, f.files[i].restore())
		}
		return &fault.Error{What: "update the checkout", Where: f.repo.root, Err: err}
	}
	return nil
}

// lockIndex keeps git away from the index until unlock.
func lockIndex(index string) (unlock func(), err error) {
	lock, err := os.OpenFile(index+".lock", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil, &fault.Error{What: "lock", Where: index, Err: errors.New("another git process is working in this checkout"),
			Hint: "wait for it; when none is running, remove " + index + ".lock"}
	} else if err != nil {
		return nil, &fault.Error{What: "lock", Where: index, Err: err}
	}
	return func() {
		lock.Close()
		os.Remove(lock.Name())
	}, nil
}

// changed reports whether a file is not what it was, as far as its stamps tell.
func changed(was, now os.FileInfo) bool {
	return !os.SameFile(was, now) || was.Size() != now.Size() || !was.ModTime().Equal(now.ModTime())
}

// replace puts the new content in place, unless somebody wrote to the file since it was read.
func (f *followed) replace() error {
	if f.target == "" {
		f.info = nil
		return nil
	}
	if f.made() {
		if err := f.makeRoom(); err != nil {
			return err
		}
	} else if now, err := os.Lstat(f.target); err != nil || changed(f.info, now) {
		return fmt.Errorf("%s has changed meanwhile", f.path)
	}
	if err := os.Rename(f.temp, f.target); err != nil {
		return err
	}
	f.temp = ""
	var err error
	f.info, err = os.Lstat(f.target)
	return err
}

// restore brings the old content back, if it was replaced.
func (f *followed) restore() error {
	if f.target == "" || f.temp != "" {
		return nil
	}
	if f.made() {
		return os.Remove(f.target)
	}
	return os.WriteFile(f.target, f.before, 0)
}

// replaceIndex puts the new index in place of the old one, with its time: git looks into files that are as young as the
// index, since their stamps are too coarse to tell a change. With a younger index it would stop doing so for the files
// that it has not looked into yet (Documentation/technical/racy-git).
func (f *following) replaceIndex(index string) error {
	if _, err := f.file.WriteAt(f.index.bytes(), 0); err != nil {
		return err
	}
	if err := os.Chtimes(f.file.Name(), time.Time{}, f.was.ModTime()); err != nil {
		return err
	}
	if err := os.Rename(f.file.Name(), index); err != nil {
		return fmt.Errorf("replace the index: %w", err)
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// abandon removes what prepare left; after apply there is nothing.
func (f *following) abandon() {
	for _, file := range f.files {
		if file.temp != "" {
			os.Remove(file.temp)
		}
		for _, dir := range file.folders {
			os.Remove(dir) // it is not empty when all went well
		}
	}
	if f.file != nil {
		f.file.Close()
		os.Remove(f.file.Name())
	}
}
