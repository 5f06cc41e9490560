package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox/layerdir"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// chroot runs steps where nothing can be mounted: in copies of stacks of layers. What a step has changed is found by
// looking at all files before and after.
type chroot struct {
	store *store

	mu   sync.Mutex
	idle []*rootfs // that no step uses, the oldest first
}

// rootfs is a root filesystem.
type rootfs struct {
	name  string
	stack []string           // the layers in it, the lowest first
	look  *layerdir.Snapshot // of it as it is, nil if it has changed since
}

// maxIdle is how many root filesystems wait for a step that goes on from them.
const maxIdle = 3

func newChroot(s *store) *chroot { return &chroot{store: s} }

func (e *chroot) run(ctx context.Context, p step.Process, output io.Writer) error {
	if p.Network == step.None {
		return &fault.Error{What: "run a step without network", Err: errors.New("the isolation chroot cannot take the network away"),
			Hint: "it needs the isolation userns; --isolation userns tells what forbids that here"}
	}
	below, err := e.store.stack(p.Below)
	if err != nil {
		return err
	}
	root, err := e.take(ctx, below)
	if err != nil {
		return err
	}
	made, err := e.change(ctx, root, p, output)
	if err != nil {
		err = e.store.exhausted(e.store.full(err))
		e.store.drop(root.name, made)
		return err
	}
	root.stack = append(slices.Clone(below), made)
	e.giveBack(root)
	e.store.keep(p.Layer, layer{made, below})
	return nil
}

// change runs a step in a root filesystem, and makes a layer of what it changed.
func (e *chroot) change(ctx context.Context, root *rootfs, p step.Process, output io.Writer) (string, error) {
	dir := e.store.path(root.name)
	before, err := root.look, error(nil)
	if before == nil {
		if before, err = layerdir.Look(ctx, dir); err != nil {
			return "", err
		}
	}
	if err := e.inside(ctx, dir, p, output); err != nil {
		return "", err
	}
	name, err := e.store.folder()
	if err != nil {
		return "", err
	}
	root.look, err = layerdir.Diff(ctx, dir, before, e.store.path(name))
	return name, err
}

// inside runs a step's process in a root filesystem, with all that is to be there at the time, which is gone afterwards.
func (e *chroot) inside(ctx context.Context, dir string, p step.Process, output io.Writer) error {
	t, err := openTree(dir)
	if err != nil {
		return err
	}
	defer t.close()
	g := &stage{ctx: ctx, store: e.store, root: t}
	err = g.set(p)
	if err == nil {
		s := &spec{Process: p, Store: e.store.dir, Root: dir}
		s.Process.Mounts, s.Process.Output = nil, nil
		err = errors.Join(launch(ctx, s, supervised(g.output), output), endOrphans(patience))
	}
	return errors.Join(err, g.strike())
}

// supervised starts a process that is asked to end if this one ends, for it has others to end first.
func supervised(output *pipe) start {
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	return start{as: aboveChroot, attr: attr, pipe: output}
}

// try makes what every step needs here, and a process that does nothing in it.
func (e *chroot) try(ctx context.Context) error {
	name, err := e.store.folder()
	if err != nil {
		return err
	}
	defer e.store.drop(name)
	dir := e.store.path(name)
	t, err := openTree(dir)
	if err != nil {
		return err
	}
	defer t.close()
	if err := failed("chown", "a file", os.Chown(dir, nobody, nobody)); err != nil {
		return err
	}
	g := &stage{ctx: ctx, store: e.store, root: t}
	err = g.set(step.Process{})
	if err == nil {
		err = launch(ctx, &spec{Store: e.store.dir, Root: dir, Try: true}, supervised(g.output), io.Discard)
	}
	return errors.Join(err, g.strike())
}

const nobody = 65534

// take is a root filesystem of layers: one that has the most of them already, or a new one, with the others copied.
func (e *chroot) take(ctx context.Context, layers []string) (*rootfs, error) {
	root := e.best(layers)
	if root == nil {
		name, err := e.store.folder()
		if err != nil {
			return nil, err
		}
		root = &rootfs{name: name}
	}
	if missing := layers[len(root.stack):]; len(missing) > 0 {
		root.look = nil
		if err := layerdir.Compose(ctx, e.store.path(root.name), e.store.paths(missing)...); err != nil {
			e.store.drop(root.name)
			return nil, e.store.full(err)
		}
	}
	return root, nil
}

func (e *chroot) best(layers []string) *rootfs {
	e.mu.Lock()
	defer e.mu.Unlock()
	best := -1
	for i, r := range e.idle {
		if len(r.stack) <= len(layers) && slices.Equal(r.stack, layers[:len(r.stack)]) && (best < 0 || len(r.stack) > len(e.idle[best].stack)) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	root := e.idle[best]
	e.idle = slices.Delete(e.idle, best, best+1)
	return root
}

func (e *chroot) giveBack(root *rootfs) {
	e.mu.Lock()
	e.idle = append(e.idle, root)
	var oldest *rootfs
	if len(e.idle) > maxIdle {
		oldest = e.idle[0]
		e.idle = slices.Delete(e.idle, 0, 1)
	}
	e.mu.Unlock()
	if oldest != nil {
		e.store.drop(oldest.name)
	}
}

// enterChroot runs below supervise: it moves into the root filesystem and becomes the step.
func enterChroot(s *spec) error {
	if err := failed("chroot", s.Root, unix.Chroot(s.Root)); err != nil {
		return err
	}
	if err := failed("enter", "/", unix.Chdir("/")); err != nil {
		return err
	}
	if s.Try {
		f, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
		if err != nil {
			return failed("use", "/dev/null", err)
		}
		f.Close()
		if err := confine(); err != nil {
			return err
		}
		return demote(step.User{UID: nobody, GID: nobody}, chrootCapabilities)
	}
	if err := makeDir(s.Process.Dir, s.Process.User); err != nil {
		return failed("make the working directory", s.Process.Dir, err)
	}
	if err := confine(); err != nil {
		return err
	}
	return execute(&s.Process, chrootCapabilities)
}

// chrootCapabilities lack SYS_CHROOT, with which one leaves a chroot, and MKNOD, with which one makes the machine's disk
// a file where the pod may use it. User namespaces have no MKNOD either.
const chrootCapabilities = dockerCapabilities &^ (1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_MKNOD)
