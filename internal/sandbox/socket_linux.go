package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketPrefix is what the folders of sockets are called. One has another name until it is locked.
const socketPrefix = "harborpush-socket-"

// socketFolder is a new folder that only we and root may enter, with a path short enough for a socket's address. It is
// locked for as long as this process lives. Those whose processes were killed are removed.
func socketFolder() (dir string, lock *os.File, err error) {
	parent := os.TempDir()
	if len(parent) > 60 {
		parent = "/tmp"
	}
	removeStale(parent)
	first, err := os.MkdirTemp(parent, "harborpush-*")
	if err != nil {
		return "", nil, err
	}
	if lock, err = locked(filepath.Join(first, "lock")); err == nil {
		dir = filepath.Join(parent, socketPrefix+strings.TrimPrefix(filepath.Base(first), "harborpush-"))
		err = os.Rename(first, dir)
	}
	if err != nil {
		os.RemoveAll(first)
		return "", nil, err
	}
	return dir, lock, nil
}

func removeStale(parent string) {
	all, _ := filepath.Glob(filepath.Join(parent, socketPrefix+"*"))
	for _, dir := range all {
		stat, err := os.Lstat(dir)
		if err != nil || !stat.IsDir() || int(stat.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
			continue // not ours
		}
		if lock, err := locked(filepath.Join(dir, "lock")); err == nil {
			os.RemoveAll(dir)
			lock.Close()
		}
	}
}

func locked(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
