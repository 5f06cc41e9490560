package layerdir

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// places finds directories below a top by names, as a process chrooted there would. Those found last stay open.
type places struct {
	top    int
	lowest bool // nothing is below in the stack, so no marks are needed
	open   map[string]directory
	stale  bool // names in open may lead elsewhere by now
	made   int  // directories
}

// directory is an open directory.
type directory struct {
	fd  int
	ino uint64
}

// maxOpen is how many directories stay open.
const maxOpen = 64

// dir is the directory of a clean relative name. What is missing on the way is made. It stays open until the next call.
func (p *places) dir(name string) (directory, error) {
	return p.known(name, func() (directory, error) {
		d, err := p.resolve(name)
		if missing(err) {
			return p.mkdirAll(name)
		}
		return d, err
	})
}

// there is dir without making anything.
func (p *places) there(name string) (directory, error) {
	return p.known(name, func() (directory, error) { return p.resolve(name) })
}

// known is a directory that is open already, or is found.
func (p *places) known(name string, find func() (directory, error)) (directory, error) {
	if p.stale || len(p.open) >= maxOpen {
		p.forget()
	}
	if d, ok := p.open[name]; ok {
		return d, nil
	}
	d, err := find()
	if err != nil {
		return directory{}, err
	}
	if p.open == nil {
		p.open = map[string]directory{}
	}
	p.open[name] = d
	return d, nil
}

// missing reports whether resolving failed for the want of a directory.
func missing(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

func ignoreMissing(err error) error {
	if missing(err) {
		return nil
	}
	return err
}

// forget closes all directories.
func (p *places) forget() {
	for _, d := range p.open {
		unix.Close(d.fd)
	}
	clear(p.open)
	p.stale = false
}

// resolve opens a directory that is there.
func (p *places) resolve(name string) (directory, error) {
	fd, err := openInside(p.top, name, unix.O_RDONLY|unix.O_DIRECTORY, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return directory{}, err
	}
	return opened(fd)
}

func opened(fd int) (directory, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return directory{}, err
	}
	return directory{fd, st.Ino}, nil
}

// mkdirAll opens a directory, and makes what is missing on the way, also where a link leads to nothing. It goes step by
// step and leaves a directory only for those that it came through.
func (p *places) mkdirAll(name string) (directory, error) {
	way := []int{p.top}
	leave := func(to int) {
		for _, fd := range way[to:] {
			unix.Close(fd)
		}
		way = way[:to]
	}
	defer func() { leave(1) }()
	links := 0
	for rest := strings.Split(name, "/"); len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			leave(max(1, len(way)-1))
			continue
		case len(way) > maxDepth:
			return directory{}, fmt.Errorf("it leads through more than %d directories", maxDepth)
		}
		fd, target, err := p.enter(way[len(way)-1], part)
		if err != nil {
			return directory{}, err
		}
		if target == "" {
			way = append(way, fd)
			continue
		}
		if links++; links > maxLinks {
			return directory{}, errors.New("it leads through too many symbolic links")
		}
		if strings.HasPrefix(target, "/") {
			leave(1)
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	fd, err := openDir(way[len(way)-1], ".")
	if err != nil {
		return directory{}, err
	}
	return opened(fd)
}

// enter opens a directory in a directory, and makes it if it is missing; of a link it returns where that leads.
func (p *places) enter(dir int, name string) (fd int, target string, err error) {
	st, err := lstat(dir, name)
	switch {
	case err != nil:
		return -1, "", err
	case st == nil || isWhiteout(st):
		fd, err := p.mkdir(dir, name, st != nil)
		return fd, "", err
	case isDir(st):
		fd, err := openDir(dir, name)
		return fd, "", err
	case kind(st) == unix.S_IFLNK:
		target, err := readLink(dir, name)
		return -1, target, err
	}
	return -1, "", fmt.Errorf("%s is not a directory", name)
}

// mkdir makes a directory that nobody described, in the place of a whiteout if one is there.
func (p *places) mkdir(dir int, name string, hidden bool) (int, error) {
	p.made++
	if hidden {
		if err := removeAll(dir, name); err != nil {
			return -1, err
		}
	}
	fd, err := createDir(dir, name, attributes{mode: unix.S_IFDIR | 0o755})
	if err == nil && hidden {
		if err = hide(fd); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, err
}

// readLink is where a symbolic link leads.
func readLink(dir int, name string) (string, error) {
	buf := make([]byte, maxPath)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", fmt.Errorf("reading the link %s: %w", name, err)
	}
	return string(buf[:n]), nil
}
