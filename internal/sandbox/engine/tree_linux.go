package engine

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is an open root directory that somebody else has made. Nothing in it is trusted: every path is resolved inside of it.
type tree struct{ fd int }

func openTree(dir string) (tree, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return tree{}, failed("open", dir, err)
	}
	return tree{fd}, nil
}

func (t tree) close() { unix.Close(t.fd) }

// place is where a path leads to.
type place struct {
	real string // without a leading slash and without symbolic links, "" for the root
	mode uint32 // as stat has it, 0 if nothing is there
}

func (p place) is(kind uint32) bool { return p.mode&unix.S_IFMT == kind }

const maxLinks = 40 // as Linux has it

// locate follows a path through the tree's symbolic links, and on by the names alone where the tree ends.
func (t tree) locate(path string) (place, error) {
	at, rest, links := place{mode: unix.S_IFDIR}, strings.Split(path, "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at.real = parent(at.real)
			continue
		}
		next, err := t.look(join(at.real, name))
		if err != nil {
			return place{}, failed("find", path, err)
		}
		if !next.is(unix.S_IFLNK) {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return place{}, failed("find", path, unix.ELOOP)
		}
		target, err := t.readlink(next.real)
		if err != nil {
			return place{}, failed("find", path, err)
		}
		if strings.HasPrefix(target, "/") {
			at.real = ""
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return t.look(at.real) // ".." may have led back to what is there
}

// target is where something is to be mounted or put.
func (t tree) target(path string) (place, error) {
	at, err := t.locate(path)
	if err == nil && at.real == "" {
		err = &obstacle{Call: "mount", On: path, Text: "it is the root directory"}
	}
	return at, err
}

// look is what a path without symbolic links names.
func (t tree) look(real string) (place, error) {
	fd, err := t.open(real, unix.O_PATH)
	if errors.Is(err, unix.ENOENT) {
		return place{real: real}, nil
	}
	if err != nil {
		return place{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return place{}, err
	}
	return place{real: real, mode: st.Mode}, nil
}

func (t tree) readlink(real string) (string, error) {
	fd, err := t.open(real, unix.O_PATH)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// open opens what a path without symbolic links names.
func (t tree) open(real string, flags uint64) (int, error) {
	if real == "" {
		real = "."
	}
	how := unix.OpenHow{
		Flags:   flags | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&unix.O_CREAT != 0 {
		how.Mode = 0o644
	}
	for {
		fd, err := unix.Openat2(t.fd, real, &how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
}

// make makes what is missing of a path without symbolic links: directories, and at its end a file if asked. It returns what
// it made, the outermost first.
func (t tree) make(real string, file bool) (made []string, err error) {
	names := strings.Split(real, "/")
	for i := range names {
		path := strings.Join(names[:i+1], "/")
		at, err := t.look(path)
		if err != nil {
			return made, failed("find", "/"+path, err)
		}
		if at.mode != 0 {
			continue
		}
		if err := t.create(path, file && i == len(names)-1); err != nil {
			return made, failed("make", "/"+path, err)
		}
		made = append(made, path)
	}
	return made, nil
}

func (t tree) create(real string, file bool) error {
	if file {
		fd, err := t.open(real, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
	return t.within(real, func(dir int, name string) error { return unix.Mkdirat(dir, name, 0o755) })
}

// within calls do with the directory of a path without symbolic links, and the name in it.
func (t tree) within(real string, do func(dir int, name string) error) error {
	dir, err := t.open(parent(real), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return do(dir, real[strings.LastIndexByte(real, '/')+1:])
}

func parent(real string) string { return real[:max(0, strings.LastIndexByte(real, '/'))] }

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// under reports whether a path is one of some others, or below it.
func under(real string, dirs []string) bool {
	for _, d := range dirs {
		if real == d || d == "" || strings.HasPrefix(real, d+"/") {
			return true
		}
	}
	return false
}

// like gives a directory the owner, mode and time of another.
func like(dir string, st *unix.Stat_t) error {
	if err := os.Chown(dir, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Chmod(dir, st.Mode&0o7777); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{st.Mtim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}
