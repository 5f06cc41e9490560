package layerdir

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds of a layer, so that a hostile one cannot take all memory or time: entries, bytes of a path (Linux' PATH_MAX),
// directories in a path, links that lead to one name, and bytes in all.
const (
	maxPath  = 4096
	maxDepth = 256
	maxLinks = 255
	maxBytes = 1 << 40
)

var maxEntries = 1 << 20 // a test has fewer

// bounded is an error when a name is longer than a layer may have it.
func bounded(name string) error {
	if len(name) > maxPath || strings.Count(name, "/") > maxDepth {
		return fmt.Errorf("a name is longer than %d bytes or %d directories: %.60q", maxPath, maxDepth, name)
	}
	return nil
}

const directoryFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// openTop opens a directory by its path, which is the caller's and trusted.
func openTop(dir string) (int, error) {
	fd, err := unix.Open(dir, directoryFlags, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return fd, nil
}

// makeTop is openTop of a directory that is made if it is not there. As the top of a root filesystem everybody may enter it.
func makeTop(dir string) (int, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return -1, err
	}
	fd, err := openTop(dir)
	if err != nil {
		return -1, err
	}
	if err := unix.Fchmod(fd, 0o755); err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "chmod", Path: dir, Err: err}
	}
	return fd, nil
}

// openDir opens a directory in a directory.
func openDir(dir int, name string) (int, error) {
	fd, err := unix.Openat(dir, name, directoryFlags, 0)
	if err != nil {
		return -1, fmt.Errorf("opening the directory %s: %w", name, err)
	}
	return fd, nil
}

// openInside opens a name below a directory, with the flags of openat2's resolve.
func openInside(top int, name string, flags, resolve uint64) (int, error) {
	if name == "" {
		name = "."
	}
	for {
		fd, err := unix.Openat2(top, name, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve | unix.RESOLVE_NO_MAGICLINKS})
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// children are the names in a directory that was just opened, sorted.
func children(dir int) ([]string, error) {
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil {
			return nil, fmt.Errorf("listing a directory: %w", err)
		}
		if n <= 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// removeAll removes a name from a directory, with all that is below it.
func removeAll(dir int, name string) error {
	err := unix.Unlinkat(dir, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	if err := removeChildren(dir, name); err != nil {
		return err
	}
	if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err != nil {
		return fmt.Errorf("removing the directory %s: %w", name, err)
	}
	return nil
}

// removeChildren removes all that is below a directory in a directory.
func removeChildren(dir int, name string) error {
	fd, err := openDir(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	names, err := children(fd)
	if err != nil {
		return err
	}
	for _, child := range names {
		if err := removeAll(fd, child); err != nil {
			return err
		}
	}
	return nil
}
