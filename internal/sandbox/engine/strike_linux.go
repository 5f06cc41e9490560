package engine

import (
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// strike takes everything away again, whatever the step has made of it.
func (g *stage) strike() error {
	var all []error
	for _, p := range slices.Backward(g.props) {
		all = append(all, g.restore(p))
		p.file.Close()
	}
	for _, f := range slices.Backward(g.after) {
		f()
	}
	return errors.Join(all...)
}

// restore takes one thing away, and puts back what was in its place. It is an error if the thing has come to be somewhere
// else, where it would become a part of the layer.
func (g *stage) restore(p prop) error {
	found := g.store.name()
	err := g.move(p.real, found)
	gone := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
	if err != nil && !gone {
		return failed("restore", "/"+p.real, err)
	}
	err = nil
	if p.put {
		err = g.takeHome(found, p)
	}
	g.store.drop(found)
	if p.aside != "" {
		back := g.root.within(p.real, func(dir int, base string) error {
			return unix.Renameat(unix.AT_FDCWD, g.store.path(p.aside), dir, base)
		})
		g.store.drop(p.aside) // which is still there only if the step removed the directory around it
		if !gone {
			err = errors.Join(err, failed("restore", "/"+p.real, back))
		}
	}
	for _, dir := range slices.Backward(p.made) {
		g.root.within(dir, func(above int, base string) error { return unix.Unlinkat(above, base, unix.AT_REMOVEDIR) }) // unless it is in use now
	}
	return err
}

// takeHome looks what has become of a thing, which is where found says if the step left it in its place. A cache goes back
// to its home, which is empty if the step did away with it.
func (g *stage) takeHome(found string, p prop) error {
	var st, now unix.Stat_t
	if err := unix.Fstat(int(p.file.Fd()), &now); err != nil {
		return failed("find", "/"+p.real, err)
	}
	inPlace := unix.Lstat(g.store.path(found), &st) == nil && st.Ino == p.was.Ino
	var err error
	switch directory := now.Mode&unix.S_IFMT == unix.S_IFDIR; {
	case inPlace && (directory || now.Nlink <= p.was.Nlink):
	case !inPlace && now.Nlink == 0: // removed
	default:
		err = g.strayed(p, inPlace)
	}
	if p.home == "" {
		return err
	}
	home := g.store.path(p.home)
	if inPlace {
		return errors.Join(err, failed("keep", "a cache", os.Rename(g.store.path(found), home)))
	}
	remade := os.Mkdir(home, 0o700)
	if remade == nil {
		remade = os.Chown(home, int(p.was.Uid), int(p.was.Gid))
	}
	if remade == nil {
		remade = unix.Chmod(home, p.was.Mode&0o7777)
	}
	return errors.Join(err, failed("keep", "a cache", remade))
}

// strayed tells what the step did with a thing that it should not have taken along. Where mounts can be made, the kernel
// refuses that.
func (g *stage) strayed(p prop, linked bool) error {
	did := "the step gave it another name"
	if p.was.Mode&unix.S_IFMT == unix.S_IFREG {
		os.Truncate(inProc(int(p.file.Fd())), 0) // a secret is nowhere then
	}
	if !linked {
		did = "the step moved it"
		root, err1 := os.Readlink(inProc(g.root.fd))
		now, err2 := os.Readlink(inProc(int(p.file.Fd())))
		if inside, ok := strings.CutPrefix(now, root+"/"); ok && err1 == nil && err2 == nil {
			did += " to /" + inside
		}
	}
	return &obstacle{Call: "take away", On: "/" + p.real, Text: did + ", but it is there only while the step runs: leave it, and the directories above it, in its place"}
}
