package engine

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// enterNamespaces runs in the namespaces that launch made: it builds the root filesystem, moves into it, and becomes the
// step.
func enterNamespaces(s *spec) error {
	if err := failed("mount", "/ as private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		return err
	}
	if err := failed("sethostname", "", unix.Sethostname([]byte(hostname(s)))); err != nil {
		return err
	}
	if s.Process.Network == step.None {
		if err := raiseLoopback(); err != nil {
			return err
		}
	}
	if err := os.Chdir(s.Store); err != nil { // so that the names of many layers fit one page, overlayfs' bound
		return failed("enter", s.Store, err)
	}
	root, err := build(s)
	if err != nil {
		return err
	}
	if err := moveInto(root); err != nil {
		return err
	}
	if s.Try {
		return nil
	}
	if err := makeDir(s.Process.Dir, s.Process.User); err != nil {
		return failed("make the working directory", s.Process.Dir, err)
	}
	return execute(&s.Process, dockerCapabilities)
}

func hostname(s *spec) string {
	if s.Process.Hostname != "" {
		return s.Process.Hostname
	}
	return "localhost"
}

// moveInto makes a mounted directory the root, and leaves nothing of the old one.
func moveInto(root tree) error {
	old, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return failed("open", "/", err)
	}
	if err := unix.Fchdir(root.fd); err != nil {
		return failed("enter", "the root filesystem", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil { // the old root comes to lie on top of the new one
		return failed("pivot_root", "", err)
	}
	if err := unix.Fchdir(old); err != nil {
		return failed("enter", "the old root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return failed("unmount", "the old root", err)
	}
	return failed("enter", "/", unix.Chdir("/"))
}

// raiseLoopback switches on 127.0.0.1 in a network namespace, which has nothing else.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return failed("socket", "", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return failed("switch on", "lo", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return failed("switch on", "lo", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request))
}

// build mounts a step's root filesystem in the scene, a tmpfs that only this mount namespace has.
func build(s *spec) (tree, error) {
	if err := failed("mount", "tmpfs", unix.Mount("tmpfs", s.Scene, "tmpfs", 0, "mode=700")); err != nil {
		return tree{}, err
	}
	sources, err := openSources(s)
	if err != nil {
		return tree{}, err
	}
	root, err := mountRoot(s, sources)
	if err != nil {
		return root, err
	}
	b := &builder{root: root, spec: s}
	if err := b.system(); err != nil {
		return root, err
	}
	for i := range s.Mounts {
		if err := b.mount(&s.Mounts[i], sources[i]); err != nil {
			return root, err
		}
	}
	return root, b.mask()
}

// mountRoot mounts the stack of layers. What a mount needs that is not there lies in a layer of its own, below that of the
// changes: it is never a part of them, and there is nothing to clean up.
func mountRoot(s *spec, sources []source) (tree, error) {
	dir := filepath.Join(s.Scene, "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return tree{}, failed("make", dir, err)
	}
	lower := append([]string{s.Stubs}, s.Lower...)
	root, err := mountOverlay(dir, lower, "", "") // without what can be mounted once only
	if err != nil {
		return root, err
	}
	stubs, err := findStubs(root, s, sources)
	root.close()
	if err != nil {
		return root, err
	}
	if err := unix.Unmount(dir, 0); err != nil {
		return root, failed("unmount", dir, err)
	}
	if err := stubs.write(s.Stubs); err != nil {
		return root, failed("prepare", "mount points", err)
	}
	return mountOverlay(dir, lower, s.Upper, s.Work)
}

// mountOverlay mounts a stack of layer directories, the uppermost first, under names that are short for its options. The
// changes are not brought to the disk when it is unmounted, for which a step would wait: they live no longer than we do.
func mountOverlay(dir string, lower []string, upper, work string) (tree, error) {
	options := "userxattr,lowerdir=" + strings.Join(lower, ":")
	if upper != "" {
		options += ",volatile,upperdir=" + upper + ",workdir=" + work
	}
	if len(options) >= os.Getpagesize() {
		return tree{}, &obstacle{Call: overlayCall, Text: "too many layers"} // the kernel would take those that fit
	}
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		return tree{}, failed(overlayCall, "", err)
	}
	return openTree(dir)
}

// overlayCall is what fails when a folder cannot hold layers for overlayfs.
const overlayCall = "mount overlay"
