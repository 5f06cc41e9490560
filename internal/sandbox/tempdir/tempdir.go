// Package tempdir makes folders that do not outlive their processes for long, even of those that are killed: each is
// locked as long as its process lives, and the next process removes what nobody locks.
package tempdir

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dir is one of them.
type Dir struct {
	Path string
	lock *os.File
}

// unlocked begins the name that a folder has until it is locked: by that one it is never taken for one that was left.
const unlocked = "harborpush-"

// New makes a folder in parent, whose name begins with prefix, for this user and root.
func New(parent, prefix string) (*Dir, error) {
	first, err := os.MkdirTemp(parent, unlocked+"*")
	if err != nil {
		return nil, err
	}
	d := &Dir{Path: filepath.Join(parent, prefix+strings.TrimPrefix(filepath.Base(first), unlocked))}
	d.lock, err = lock(first)
	if err == nil {
		err = os.Rename(first, d.Path)
	}
	if err != nil {
		os.RemoveAll(first)
		d.lock.Close()
		return nil, err
	}
	return d, nil
}

// Remove removes the folder with all that is in it.
func (d *Dir) Remove() error {
	defer d.lock.Close()
	return os.RemoveAll(d.Path)
}

// Clean removes this user's folders of a prefix in parent whose processes are gone.
func Clean(parent, prefix string) {
	all, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, dir := range all {
		stat, err := os.Lstat(dir)
		if err != nil || !stat.IsDir() || int(stat.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
			continue // not ours
		}
		if l, err := lock(dir); err == nil {
			os.RemoveAll(dir)
			l.Close()
		}
	}
}

// lock locks a folder until the file is closed. It is an error if somebody else has.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
