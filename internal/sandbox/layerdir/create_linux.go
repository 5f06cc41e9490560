package layerdir

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// createFile makes a regular file where nothing is, and has fill write it.
func createFile(dir int, name string, a attributes, fill func(fd int) error) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = fill(fd)
	if err == nil {
		err = a.putOn(fd)
	}
	return errors.Join(err, unix.Close(fd))
}

// putOn gives the attributes to an open file. The order matters: a change of owner clears set-user-ID bits and
// capabilities, and every change the time.
func (a attributes) putOn(fd int) error {
	if err := unix.Fchown(fd, a.uid, a.gid); err != nil {
		return fmt.Errorf("giving it to %d:%d: %w", a.uid, a.gid, err)
	}
	if err := unix.Fchmod(fd, a.mode&0o7777); err != nil {
		return fmt.Errorf("giving it the mode %#o: %w", a.mode&0o7777, err)
	}
	if a.capability != "" {
		if err := unix.Fsetxattr(fd, capability, []byte(a.capability), 0); err != nil {
			return fmt.Errorf("giving it capabilities: %w", err)
		}
	}
	return setTime(fd, "", a.modified)
}

// setTime sets when a name in a directory, or with "" the open file itself, was modified.
func setTime(dir int, name string, t unix.Timespec) error {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	if err := unix.UtimesNanoAt(dir, name, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, t}, flags); err != nil {
		return fmt.Errorf("setting its time: %w", err)
	}
	return nil
}

// createSpecial makes a symbolic link, a device or a pipe where nothing is. A device that may not be made, as in a user
// namespace, is left out: it could not be used there either.
func createSpecial(dir int, name string, a attributes, target string) error {
	if a.mode&unix.S_IFMT == unix.S_IFLNK {
		if err := unix.Symlinkat(target, dir, name); err != nil {
			return err
		}
	} else if err := unix.Mknodat(dir, name, a.mode, int(a.rdev)); err != nil {
		if errors.Is(err, unix.EPERM) {
			return nil
		}
		return err
	}
	if err := unix.Fchownat(dir, name, a.uid, a.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("giving it to %d:%d: %w", a.uid, a.gid, err)
	}
	if a.mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Fchmodat(dir, name, a.mode&0o7777, 0); err != nil {
			return fmt.Errorf("giving it the mode %#o: %w", a.mode&0o7777, err)
		}
	}
	return setTime(dir, name, a.modified)
}

// createDir makes a directory where nothing is, and opens it; its time is for when it is full.
func createDir(dir int, name string, a attributes) (int, error) {
	if err := unix.Mkdirat(dir, name, 0o700); err != nil {
		return -1, err
	}
	fd, err := openDir(dir, name)
	if err != nil {
		return -1, err
	}
	if err := a.putOn(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// markGone hides what is below a name, where nothing is. On overlayfs itself, as a container's own files are, nobody may make
// its mark, nor mount layers that lie there; there another one will do.
func markGone(dir int, name string) error {
	err := unix.Mknodat(dir, name, unix.S_IFCHR, 0)
	if errors.Is(err, unix.EPERM) {
		err = unix.Mknodat(dir, name, unix.S_IFCHR, int(unix.Mkdev(0, 1)))
	}
	if err != nil {
		return fmt.Errorf("hiding %s: %w", name, err)
	}
	return nil
}

// hide marks an open directory as one that hides what is below it.
func hide(dir int) error {
	if err := unix.Fsetxattr(dir, opaqueMark, []byte("y"), 0); err != nil {
		return fmt.Errorf("marking a directory as opaque: %w", err)
	}
	return nil
}
