package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/layerdir"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// stage puts things into a root filesystem that are there only while a step runs. What was in their place is put aside, and
// comes back.
type stage struct {
	ctx    context.Context
	store  *store
	root   tree
	props  []prop
	output *pipe    // of the step: what /dev/stdout is
	after  []func() // to be called at the end, the last first
}

// prop is one of those things.
type prop struct {
	real  string   // where it is in the root filesystem
	file  *os.File // it, wherever it is: as long as it is open, its inode number is no other file's
	was   unix.Stat_t
	put   bool     // it did get there
	aside string   // where in the store that is which it replaces, "" for nothing
	made  []string // the directories made for it
	home  string   // where in the store it is to go back to, "" if it is thrown away
}

// set puts everything in place that a step has.
func (g *stage) set(p step.Process) error {
	if err := errors.Join(g.folder("/proc", machine), g.empty("/sys", 0o555), g.folder("/dev", g.devices)); err != nil {
		return err
	}
	for path, content := range map[string]string{"/etc/hosts": hosts(p), "/etc/resolv.conf": resolv()} {
		if err := g.file(path, []byte(content), 0, 0, 0o644); err != nil {
			return err
		}
	}
	mounts := slices.Clone(p.Mounts)
	slices.SortStableFunc(mounts, func(a, b step.Mount) int { return strings.Compare(a.Target, b.Target) })
	return g.mounts(mounts)
}

func (g *stage) mounts(mounts []step.Mount) error {
	for i := range mounts {
		if mounts[i].Sharing == step.Shared {
			mounts[i].Sharing = step.Locked // a directory can be in one root filesystem only
		}
	}
	caches, back, err := g.store.borrow(g.ctx, mounts)
	if err != nil {
		return err
	}
	g.after = append(g.after, back)
	shown := map[string]bool{}
	for i := range mounts {
		if name, is := caches[i]; is && shown[name] {
			return &obstacle{Call: "mount", On: mounts[i].Target, Text: "the isolation chroot cannot show one cache in two places"}
		} else if is {
			shown[name] = true
		}
		if err := g.mount(&mounts[i], caches[i]); err != nil {
			return err
		}
	}
	return nil
}

// mount puts in place what one of a step's mounts shows.
func (g *stage) mount(m *step.Mount, cache string) error {
	switch m.Kind {
	case step.Tmpfs:
		return g.empty(m.Target, 0o777|fs.ModeSticky)
	case step.Secret:
		return g.file(m.Target, m.Secret, int(m.UID), int(m.GID), m.Mode)
	case step.Cache:
		return g.put(cache, m.Target, true)
	case step.SSH:
		name, stop, err := g.store.forward(m)
		if err != nil {
			return err
		}
		g.after = append(g.after, stop)
		return g.put(name, m.Target, false)
	case step.Bind:
		name, err := g.store.copied(g.ctx, m)
		if err != nil {
			return err
		}
		return g.put(name, m.Target, false)
	}
	return unknownKind(*m)
}

// folder puts a new directory in place, with what fill makes in it.
func (g *stage) folder(target string, fill func(dir string) error) error {
	name, err := g.store.folder()
	if err != nil {
		return err
	}
	if err := fill(g.store.path(name)); err != nil {
		g.store.drop(name)
		return g.store.full(err)
	}
	return g.put(name, target, false)
}

func (g *stage) empty(target string, mode fs.FileMode) error {
	return g.folder(target, func(dir string) error { return failed("make", target, os.Chmod(dir, mode)) })
}

func (g *stage) file(target string, content []byte, uid, gid int, mode fs.FileMode) error {
	name := g.store.name()
	path := g.store.path(name)
	err := g.store.full(os.WriteFile(path, content, 0o600))
	if err == nil {
		err = os.Chown(path, uid, gid)
	}
	if err == nil {
		err = os.Chmod(path, mode.Perm())
	}
	if err != nil {
		g.store.drop(name)
		return failed("make", target, err)
	}
	return g.put(name, target, false)
}

// devices makes what a container has in /dev, but for terminals and open files, which need mounts.
func (g *stage) devices(dir string) error {
	for _, device := range deviceNames {
		var st unix.Stat_t
		if err := unix.Stat("/dev/"+device, &st); err != nil {
			return failed("find", "/dev/"+device, err)
		}
		path := filepath.Join(dir, device)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(st.Rdev)); err != nil {
			return failed("mknod", "/dev/"+device, err)
		}
		if err := unix.Chmod(path, 0o666); err != nil {
			return failed("chmod", "/dev/"+device, err)
		}
	}
	var err error
	if g.output, err = namedPipe(filepath.Join(dir, "stdout")); err != nil {
		return err
	}
	g.after = append(g.after, g.output.close)
	if err := os.Link(filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")); err != nil {
		return failed("make", "/dev/stderr", err)
	}
	for _, sub := range []string{"shm", "mqueue"} {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, sub), 0o777), os.Chmod(filepath.Join(dir, sub), 0o777|fs.ModeSticky)); err != nil {
			return failed("make", "/dev/"+sub, err)
		}
	}
	return nil
}

// namedPipe makes a pipe with a name, since without /proc an open one cannot be opened again.
func namedPipe(path string) (*pipe, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, failed("make", path, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, failed("chmod", path, err)
	}
	read, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, failed("open", path, err)
	}
	write, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		read.Close()
		return nil, failed("open", path, err)
	}
	return &pipe{read, write}, nil
}

// put moves something from the store to a path in the root filesystem. It moves back afterwards if it returns.
func (g *stage) put(name, target string, returns bool) error {
	err := g.tryPut(name, target, returns)
	if err != nil && !returns {
		g.store.drop(name)
	}
	return err
}

func (g *stage) tryPut(name, target string, returns bool) error {
	at, err := g.root.target(target)
	if err != nil {
		return err
	}
	p := prop{real: at.real}
	if p.file, err = os.OpenFile(g.store.path(name), unix.O_PATH|unix.O_NOFOLLOW, 0); err != nil {
		return failed("open", g.store.path(name), err)
	}
	if err := unix.Fstat(int(p.file.Fd()), &p.was); err != nil {
		p.file.Close()
		return failed("find", g.store.path(name), err)
	}
	if at.mode != 0 {
		p.aside = g.store.name()
		err = g.move(p.real, p.aside)
	} else {
		p.made, err = g.root.make(parent(p.real), false)
	}
	if returns {
		p.home = name
	}
	if err = failed("make room at", target, err); err == nil {
		err = failed("put something at", target, g.root.within(p.real, func(dir int, base string) error {
			return unix.Renameat(unix.AT_FDCWD, g.store.path(name), dir, base)
		}))
	}
	p.put = err == nil
	g.props = append(g.props, p)
	return err
}

// move moves what is at a path in the root filesystem to the store.
func (g *stage) move(real, name string) error {
	return g.root.within(real, func(dir int, base string) error {
		return unix.Renameat(dir, base, unix.AT_FDCWD, g.store.path(name))
	})
}

// copied is a copy of what a bind mount shows.
func (s *store) copied(ctx context.Context, m *step.Mount) (string, error) {
	whole, err := s.folder()
	if err != nil {
		return "", err
	}
	defer s.drop(whole)
	names, err := s.stack(m.Layers)
	if err != nil {
		return "", err
	}
	if err := layerdir.Compose(ctx, s.path(whole), s.paths(names)...); err != nil {
		return "", s.full(err)
	}
	t, err := openTree(s.path(whole))
	if err != nil {
		return "", err
	}
	defer t.close()
	at, err := t.locate(m.Source)
	if err == nil && at.mode == 0 {
		err = failed("find", m.Source, unix.ENOENT)
	}
	if err != nil {
		return "", err
	}
	part := s.name()
	return part, failed("copy", m.Source, os.Rename(filepath.Join(s.path(whole), at.real), s.path(part)))
}
