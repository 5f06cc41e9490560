package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// userns runs steps in namespaces of their own, on stacks of layers that overlayfs mounts.
type userns struct {
	store *store
}

func (e *userns) run(ctx context.Context, p step.Process, output io.Writer) error {
	below, err := e.store.stack(p.Below)
	if err != nil {
		return err
	}
	r := &arrangement{store: e.store, ctx: ctx}
	defer r.clear()
	s, err := r.arrange(p, below)
	if err != nil {
		return err
	}
	attr, err := namespaces(p.Network)
	if err != nil {
		return err
	}
	if err := launch(ctx, s, start{as: insideNamespaces, attr: attr}, output); err != nil {
		r.temporary(s.Upper)
		return e.store.exhausted(err)
	}
	e.store.keep(p.Layer, layer{s.Upper, below})
	return nil
}

// try runs a step of an empty layer up to its process.
func (e *userns) try(ctx context.Context) error {
	r := &arrangement{store: e.store, ctx: ctx}
	defer r.clear()
	s, err := r.arrange(step.Process{Dir: "/"}, []string{emptyLayer})
	if err != nil {
		return err
	}
	r.temporary(s.Upper)
	s.Try = true
	attr, err := namespaces(step.None)
	if err != nil {
		return err
	}
	return launch(ctx, s, start{as: insideNamespaces, attr: attr}, io.Discard)
}

// namespaces are what a child is made with. Every id is the same inside as outside, so that files have their true owners.
func namespaces(network step.Network) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Setsid:     true, Pdeathsig: syscall.SIGKILL, GidMappingsEnableSetgroups: true,
	}
	if network == step.None {
		attr.Cloneflags |= unix.CLONE_NEWNET
	}
	var err error
	if attr.UidMappings, err = identity("/proc/self/uid_map"); err != nil {
		return nil, err
	}
	attr.GidMappings, err = identity("/proc/self/gid_map")
	return attr, err
}

// identity maps each id that there is here to itself.
func identity(file string) ([]syscall.SysProcIDMap, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []syscall.SysProcIDMap
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var here, outside, size int
		if _, err := fmt.Sscan(lines.Text(), &here, &outside, &size); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		all = append(all, syscall.SysProcIDMap{ContainerID: here, HostID: here, Size: size})
	}
	return all, nil
}

// arrangement is what is made in the store for one step, and gone after it.
type arrangement struct {
	ctx   context.Context
	store *store
	names []string // to be removed
	after []func() // to be called, the last first
}

func (r *arrangement) temporary(names ...string) { r.names = append(r.names, names...) }

func (r *arrangement) clear() {
	for _, f := range slices.Backward(r.after) {
		f()
	}
	r.store.drop(r.names...)
}

// folders makes new folders, which are temporary.
func (r *arrangement) folders(names ...*string) error {
	for _, name := range names {
		var err error
		if *name, err = r.store.folder(); err != nil {
			return err
		}
		r.temporary(*name)
	}
	return nil
}

// arrange makes the folders of a step on a stack of layers, the lowest first. That of the changes stays.
func (r *arrangement) arrange(p step.Process, below []string) (*spec, error) {
	s := &spec{Process: p, Store: r.store.dir, Hosts: hosts(p), Resolv: resolv(), Lower: uppermostFirst(below)}
	if len(below) == 0 {
		s.Lower = []string{emptyLayer}
	}
	if err := r.folders(&s.Work, &s.Stubs, &s.Scene); err != nil {
		return nil, err
	}
	var err error
	if s.Upper, err = r.store.folder(); err != nil {
		return nil, err
	}
	caches, back, err := r.store.borrow(r.ctx, p.Mounts)
	if err != nil {
		r.temporary(s.Upper)
		return nil, err
	}
	r.after = append(r.after, back)
	for i, m := range p.Mounts {
		placed, err := r.place(m, caches[i])
		if err != nil {
			r.temporary(s.Upper)
			return nil, err
		}
		s.Mounts = append(s.Mounts, placed)
	}
	slices.SortStableFunc(s.Mounts, byTarget)
	s.Process.Mounts, s.Process.Output = nil, nil
	return s, nil
}

// place makes what one mount needs in the store.
func (r *arrangement) place(m step.Mount, cache string) (mount, error) {
	placed := mount{Mount: m}
	switch m.Kind {
	case step.Bind:
		names, err := r.store.stack(m.Layers)
		if err != nil {
			return placed, err
		}
		placed.Lower = uppermostFirst(names)
		if m.ReadOnly {
			return placed, nil
		}
		return placed, r.folders(&placed.Upper, &placed.Work)
	case step.Cache:
		placed.From = cache
	case step.SSH:
		name, stop, err := r.store.forward(&m)
		if err != nil {
			return placed, err
		}
		placed.From = name
		r.after = append(r.after, stop)
	}
	return placed, nil
}

func byTarget(a, b mount) int { return strings.Compare(a.Target, b.Target) }

func uppermostFirst(names []string) []string {
	names = slices.Clone(names)
	slices.Reverse(names)
	return names
}

// hosts is a step's /etc/hosts.
func hosts(p step.Process) string {
	text := "127.0.0.1\tlocalhost"
	if p.Hostname != "" && p.Hostname != "localhost" {
		text += " " + p.Hostname
	}
	text += "\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	for _, line := range p.Hosts {
		text += line + "\n"
	}
	return text
}

// resolv is a step's /etc/resolv.conf: it is in the same network as we are.
func resolv() string {
	text, _ := os.ReadFile("/etc/resolv.conf")
	return string(text)
}
