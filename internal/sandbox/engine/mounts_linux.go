package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// source is what one of a step's mounts shows: an open file or directory, or nothing yet (-1).
type source struct {
	fd   int
	file bool
}

// openSources opens what the step's mounts are to show, while all of it can be reached.
func openSources(s *spec) ([]source, error) {
	all := make([]source, len(s.Mounts))
	for i := range s.Mounts {
		m := &s.Mounts[i]
		var err error
		switch m.Kind {
		case step.Bind:
			all[i], err = openBind(filepath.Join(s.Scene, "bind"+strconv.Itoa(i)), m)
		case step.Secret:
			all[i], err = openSecret(filepath.Join(s.Scene, "secret"+strconv.Itoa(i)), m)
		case step.Cache:
			all[i], err = openPlain(m.From, false)
		case step.SSH:
			all[i], err = openPlain(m.From, true)
		case step.Tmpfs:
			all[i] = source{fd: -1}
		default:
			err = unknownKind(m.Mount)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func unknownKind(m step.Mount) error {
	return &obstacle{Call: "mount", On: m.Target, Text: fmt.Sprintf("there is no mount type %q", m.Kind)}
}

func openPlain(path string, file bool) (source, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	return source{fd, file}, failed("open", path, err)
}

// openBind mounts a stack of layers aside and opens a path in it.
func openBind(dir string, m *mount) (source, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return source{}, failed("make", dir, err)
	}
	stack, err := mountOverlay(dir, append(m.Lower[:len(m.Lower):len(m.Lower)], emptyLayer), m.Upper, m.Work)
	if err != nil {
		return source{}, err
	}
	defer stack.close()
	at, err := stack.locate(m.Source)
	if err == nil && at.mode == 0 {
		err = failed("mount", m.Source, unix.ENOENT)
	}
	if err != nil {
		return source{}, err
	}
	fd, err := stack.open(at.real, unix.O_PATH)
	return source{fd, !at.is(unix.S_IFDIR)}, failed("open", m.Source, err)
}

// openSecret writes a secret into the scene, which is memory and seen by nobody else.
func openSecret(path string, m *mount) (source, error) {
	if err := os.WriteFile(path, m.Secret, 0o600); err != nil {
		return source{}, failed("write", "a secret", err)
	}
	if err := os.Chown(path, int(m.UID), int(m.GID)); err != nil {
		return source{}, failed("chown", "a secret", err)
	}
	if err := unix.Chmod(path, uint32(m.Mode.Perm())); err != nil {
		return source{}, failed("chmod", "a secret", err)
	}
	return openPlain(path, true)
}

// builder mounts things in a root filesystem.
type builder struct {
	root tree
	spec *spec
}

// What new mounts and bound ones are like that hold neither devices nor programs, and the latter are not written to either.
const (
	harmless     = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	onlyToLookAt = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
)

// mount mounts one of the step's own mounts.
func (b *builder) mount(m *mount, from source) error {
	target, err := b.target(m.Target, from.file)
	if err != nil {
		return err
	}
	if m.Kind == step.Tmpfs {
		options := "mode=1777"
		if m.Size > 0 {
			options += ",size=" + strconv.FormatInt(m.Size, 10)
		}
		return b.put("tmpfs", target, "tmpfs", unix.MS_NOSUID, options)
	}
	defer unix.Close(from.fd)
	attributes := uint64(0)
	switch {
	case m.Kind == step.Secret:
		attributes = onlyToLookAt
	case m.ReadOnly:
		attributes = unix.MOUNT_ATTR_RDONLY
	}
	return b.bind(inProc(from.fd), target, attributes)
}

// target is where a path leads to by now, made if it is not there.
func (b *builder) target(path string, file bool) (string, error) {
	at, err := b.root.target(path)
	if err != nil {
		return "", err
	}
	if at.mode == 0 {
		if _, err := b.root.make(at.real, file); err != nil {
			return "", err
		}
	}
	return at.real, nil
}

// put mounts a file system on a path without symbolic links.
func (b *builder) put(what, real, kind string, flags uintptr, options string) error {
	fd, err := b.root.open(real, unix.O_PATH)
	if err != nil {
		return failed("open", "/"+real, err)
	}
	defer unix.Close(fd)
	return failed(strings.TrimSpace("mount "+kind), "/"+real, unix.Mount(what, inProc(fd), kind, flags, options))
}

// bind mounts what is at a path outside on a path without symbolic links, with what is mounted below it, and takes away
// from all of that what attributes say.
func (b *builder) bind(outside, real string, attributes uint64) error {
	if err := b.put(outside, real, "", unix.MS_BIND|unix.MS_REC, ""); err != nil || attributes == 0 {
		return err
	}
	fd, err := b.root.open(real, unix.O_PATH) // which is the mount now
	if err != nil {
		return failed("open", "/"+real, err)
	}
	defer unix.Close(fd)
	attr := unix.MountAttr{Attr_set: attributes}
	return failed("mount_setattr", "/"+real, unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr))
}

// system mounts what every step has.
func (b *builder) system() error {
	for _, dir := range []string{"proc", "sys", "dev"} {
		if at, err := b.root.look(dir); err != nil || !at.is(unix.S_IFDIR) {
			return &obstacle{Call: "mount", On: "/" + dir, Text: "it is not a directory in this image"}
		}
	}
	if err := b.proc(); err != nil {
		return err
	}
	if err := b.bind("/sys", "sys", onlyToLookAt); err != nil {
		return err
	}
	if err := b.devices(); err != nil {
		return err
	}
	for path, content := range map[string]string{"/etc/hosts": b.spec.Hosts, "/etc/resolv.conf": b.spec.Resolv} {
		outside := filepath.Join(b.spec.Scene, filepath.Base(path))
		if err := os.WriteFile(outside, []byte(content), 0o644); err != nil {
			return failed("write", outside, err)
		}
		real, err := b.target(path, true)
		if err != nil {
			return err
		}
		if err := b.bind(outside, real, onlyToLookAt); err != nil {
			return err
		}
	}
	return nil
}

// proc mounts a /proc of the step's own, or where a container hides parts of its /proc, which forbids that, the container's,
// in which the step must not change what it shows of the container's other processes.
func (b *builder) proc() error {
	err := b.put("proc", "proc", "proc", harmless, "")
	if errors.Is(err, unix.EPERM) {
		return b.bind("/proc", "proc", unix.MOUNT_ATTR_RDONLY)
	}
	return err
}

// devices mounts /dev with what a container has there. A user namespace cannot make devices, so they are the outer ones.
func (b *builder) devices() error {
	if err := b.put("tmpfs", "dev", "tmpfs", unix.MS_NOSUID, "mode=755,size=65536k"); err != nil {
		return err
	}
	for _, name := range deviceNames {
		real := "dev/" + name
		if _, err := b.root.make(real, true); err != nil {
			return err
		}
		if err := b.bind("/dev/"+name, real, 0); err != nil {
			return err
		}
	}
	for name, target := range deviceLinks {
		err := b.root.within("dev/"+name, func(dir int, name string) error { return unix.Symlinkat(target, dir, name) })
		if err != nil {
			return failed("make", "/dev/"+name, err)
		}
	}
	for _, name := range []string{"pts", "shm", "mqueue"} {
		if _, err := b.root.make("dev/"+name, false); err != nil {
			return err
		}
	}
	const options = "newinstance,ptmxmode=0666,mode=0620"
	if err := b.put("devpts", "dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, options+",gid=5"); err != nil {
		return err
	}
	if err := b.put("mqueue", "dev/mqueue", "mqueue", harmless, ""); err != nil {
		return err
	}
	size := b.spec.Process.ShmSize
	if size == 0 {
		size = 64 << 20
	}
	return b.put("shm", "dev/shm", "tmpfs", harmless, "mode=1777,size="+strconv.FormatInt(size, 10))
}

var (
	deviceNames = []string{"null", "zero", "full", "random", "urandom", "tty"}
	deviceLinks = map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	}
)

// What a container must not see of the machine, and what it may only read: the lists of Docker and BuildKit.
var (
	masked = []string{
		"proc/acpi", "proc/asound", "proc/interrupts", "proc/kcore", "proc/keys", "proc/latency_stats", "proc/sched_debug",
		"proc/scsi", "proc/timer_list", "proc/timer_stats", "sys/devices/virtual/powercap", "sys/firmware",
	}
	readOnly = []string{"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"}
)

// mask hides and protects what the machine shares with everybody. It matters: root in the step is the machine's root to
// files such as /proc/sys/kernel/core_pattern.
func (b *builder) mask() error {
	for _, real := range readOnly {
		at, err := b.root.look(real)
		if err != nil {
			return failed("find", "/"+real, err)
		}
		if at.mode == 0 {
			continue
		}
		fd, err := b.root.open(real, unix.O_PATH)
		if err != nil {
			return failed("open", "/"+real, err)
		}
		err = b.bind(inProc(fd), real, onlyToLookAt)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	for _, real := range masked {
		at, err := b.root.look(real)
		switch {
		case err != nil:
			return failed("find", "/"+real, err)
		case at.mode == 0:
		case at.is(unix.S_IFDIR):
			err = b.put("tmpfs", real, "tmpfs", unix.MS_RDONLY, "")
		default:
			err = b.bind("/dev/null", real, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
