//go:build linux

package sandbox_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/without"
)

// A root filesystem that leads elsewhere, by links in the places where things are mounted, leads to itself.
func TestHostileRoot(t *testing.T) {
	roots := map[string][]tar.Header{
		"etc":         {{Name: "etc", Typeflag: tar.TypeSymlink, Linkname: "/OUTSIDE"}},
		"dev":         {{Name: "dev", Typeflag: tar.TypeSymlink, Linkname: "/OUTSIDE"}},
		"proc":        {{Name: "proc", Typeflag: tar.TypeSymlink, Linkname: "/OUTSIDE"}},
		"sys":         {{Name: "sys", Typeflag: tar.TypeReg}},
		"upwards":     {{Name: "etc", Typeflag: tar.TypeSymlink, Linkname: "../../../../../../../../../../OUTSIDE"}},
		"target":      {{Name: "mnt", Typeflag: tar.TypeSymlink, Linkname: "/OUTSIDE"}},
		"loop":        {{Name: "mnt", Typeflag: tar.TypeSymlink, Linkname: "mnt/x"}},
		"file":        {{Name: "mnt", Typeflag: tar.TypeReg}},
		"proc's self": {{Name: "mnt", Typeflag: tar.TypeSymlink, Linkname: "/proc/self/root/../../OUTSIDE"}},
		"resolv.conf": {{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "etc/resolv.conf", Typeflag: tar.TypeSymlink, Linkname: "/OUTSIDE/resolv.conf"}},
		"hosts":       {{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "etc/hosts", Typeflag: tar.TypeSymlink, Linkname: "../../../../OUTSIDE/hosts"}},
		"directory":   {{Name: "etc/hosts/", Typeflag: tar.TypeDir, Mode: 0o755}},
		"device":      {{Name: "dev/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "dev/null", Typeflag: tar.TypeReg}},
	}
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		outside := t.TempDir()
		if err := os.WriteFile(filepath.Join(outside, "hosts"), []byte("untouched"), 0o600); err != nil {
			t.Fatal(err)
		}
		for name, layer := range roots {
			layer = slices.Clone(layer)
			for i := range layer {
				layer[i].Linkname = strings.ReplaceAll(layer[i].Linkname, "OUTSIDE", strings.TrimPrefix(outside, "/"))
			}
			if err := s.Unpack(t.Context(), name, bytes.NewReader(tarOf(t, layer...))); err != nil {
				t.Fatal(err)
			}
			p := shell("echo > /mnt/secret; echo > /mnt/cache/x; echo > /etc/hosts; echo > /etc/new; echo > /dev/new; true")
			p.Below, p.Layer = append(p.Below, name), "of "+name
			p.Mounts = []step.Mount{{Kind: step.Secret, Target: "/mnt/secret", Secret: []byte("x")}, {Kind: step.Cache, Cache: "c", Target: "/mnt/cache", Mode: 0o755}}
			_, err := output(t, s, p)
			t.Logf("%s: %v", name, err)
			entries, _ := os.ReadDir(outside)
			content, _ := os.ReadFile(filepath.Join(outside, "hosts"))
			if len(entries) != 1 || string(content) != "untouched" {
				t.Fatalf("%s: outside there is %v now, and %q", name, entries, content)
			}
		}
	})
}

// What a step does from the inside to get out, as root with all that root has there.
func TestNoWayOut(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		outside := filepath.Join(t.TempDir(), "outside")
		if err := os.WriteFile(outside, []byte("the outside"), 0o600); err != nil {
			t.Fatal(err)
		}
		p := shell(`
			cd /; mkdir -p a; chroot a /bin/true; chroot . cat $OUT; cat ../../../../../../../../..$OUT
			for p in /proc/[0-9]*; do cat $p/root$OUT $p/cwd$OUT; tr '\0' '\n' <$p/environ; done
			for f in /proc/self/fd/*; do cat $f/../../../../../../../..$OUT; done
			mount -t proc proc /tmp; mount -t tmpfs x /tmp; umount /proc; umount -l /etc/hosts; mount -o remount,rw /sys
			unshare -Urm cat $OUT; nsenter -t 1 -m cat $OUT; escape $OUT
			for f in $(find /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/vm /sys/kernel /sys/block -type f -perm -200); do
				true >> $f && echo may write $f; done`)
		p.Env = append(p.Env, "OUT="+outside)
		t.Setenv("RUNNER_SECRET", "hunter2")
		got, _ := output(t, s, p)
		if strings.Contains(got, "the outside") || strings.Contains(got, "hunter2") || strings.Contains(got, "may write") {
			t.Errorf("the step reaches outside:\n%s", got)
		}
	})
}

// processes are those with a text in their environment.
func processes(t *testing.T, text string) []string {
	t.Helper()
	var all []string
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(text)) {
			all = append(all, filepath.Dir(f))
		}
	}
	return all
}

// What a step leaves in the background ends with it, however it hides.
func TestNothingRunsOn(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		mark := fmt.Sprint("MARK=", t.Name(), os.Getpid())
		for name, script := range map[string]string{
			"background": "sleep 1000 & sleep 1000 &",
			"session":    "setsid sh -c 'sleep 1000 & sleep 1000' & sleep 0.05",
			"orphan":     "(setsid setsid sleep 1000 &) ; trap '' TERM INT HUP; (sh -c 'trap \"\" TERM; sleep 1000' &)",
			"forks":      `echo 'exec sh /again &' > /again; sh /again & sh /again & true`,
			"leaders":    `echo 'exec setsid sh /again &' > /again; sh /again & true`,
			"bomb":       "b() { b | b & }; b; i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done", // where no sleep can be started
		} {
			p := shell(script)
			p.Layer = name
			p.Env = append(p.Env, mark)
			if name == "bomb" {
				p.User.UID, p.Limits = 100000+uint32(os.Getpid()), []string{"nproc=400"} // which counts all of a user that is not root
			}
			if _, err := output(t, s, p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if left := processes(t, mark); len(left) > 0 {
				t.Errorf("%s: %v run on", name, left)
			}
		}
		if strings.HasSuffix(t.Name(), sandbox.Chroot) { // where it can do this
			p := shell("setsid sleep 1000 & kill -9 $PPID; sleep 1000")
			p.Env = append(p.Env, mark)
			if _, err := output(t, s, p); err == nil {
				t.Error("nothing is told of a step that killed its parent")
			}
			if left := processes(t, mark); len(left) > 0 {
				t.Errorf("%v run on", left)
			}
		}
	})
}

func TestCancel(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		mark := fmt.Sprint("MARK=", t.Name(), os.Getpid())
		stopped := errors.New("the user has had enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		p := shell("trap '' TERM INT; setsid sleep 1000 & kill -STOP $PPID; echo started; while :; do :; done")
		p.Env = append(p.Env, mark)
		read, write := io.Pipe()
		p.Output = write
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, p) }()
		if _, err := io.ReadFull(read, make([]byte, len("started\n"))); err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, read)
		cancel(stopped)
		if err := <-ended; !errors.Is(err, stopped) {
			t.Errorf("got %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left := processes(t, mark); len(left) > 0 {
			t.Errorf("%v run on", left)
		}
	})
}

// A build that is killed takes its steps, its privileged side and all its files along.
func TestKilled(t *testing.T) {
	for _, isolation := range []string{sandbox.UserNamespace, sandbox.Chroot} {
		t.Run(isolation, func(t *testing.T) {
			open(t, isolation) // or skip
			mark, folder := fmt.Sprint("MARK=", t.Name(), os.Getpid()), t.TempDir()
			alive, theirs, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer alive.Close()
			c := exec.Command("/proc/self/exe", "endless", isolation, folder, mark)
			c.Env = append(os.Environ(), "TMPDIR="+folder)
			c.ExtraFiles = []*os.File{theirs} // which the privileged side inherits, and no step
			started, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			theirs.Close()
			if _, err := io.ReadFull(started, make([]byte, len("started\n"))); err != nil {
				t.Fatal(err)
			}
			c.Process.Kill()
			c.Wait()
			if _, err := io.Copy(io.Discard, alive); err != nil { // until all who have it are gone
				t.Fatal(err)
			}
			if left := processes(t, mark); len(left) > 0 {
				t.Errorf("%v run on", left)
			}
			if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) > 0 {
				t.Errorf("%v are left", left)
			}
			mounts, _ := os.ReadFile("/proc/self/mountinfo")
			if strings.Contains(string(mounts), folder) {
				t.Error("a mount is left")
			}
		})
	}
}

// When the privileged side itself is killed, its steps end, the build is told, and the next build removes what is left.
func TestKeeperKilled(t *testing.T) {
	for _, isolation := range []string{sandbox.UserNamespace, sandbox.Chroot} {
		t.Run(isolation, func(t *testing.T) {
			open(t, isolation) // or skip
			base, _ := busybox()
			folder := t.TempDir()
			mark := fmt.Sprint("MARK=", t.Name(), os.Getpid())
			s := sandbox.New(sandbox.Options{Isolation: isolation, Folder: folder})
			t.Cleanup(func() { s.Close() })
			if err := s.Unpack(t.Context(), "base", bytes.NewReader(base)); err != nil {
				t.Fatal(err)
			}
			p := shell("trap '' TERM; (setsid sleep 1000 &); echo started; while :; do sleep 1; done")
			p.Env, p.User.UID = append(p.Env, mark), 12 // the change of user must not free it
			read, write := io.Pipe()
			p.Output = write
			ended := make(chan error, 1)
			go func() { ended <- s.Run(t.Context(), p) }()
			if _, err := io.ReadFull(read, make([]byte, len("started\n"))); err != nil {
				t.Fatal(err)
			}
			unix.Kill(keeperOf(t, folder), unix.SIGKILL)
			var exit *step.ExitError
			if err := <-ended; err == nil || errors.As(err, &exit) {
				t.Errorf("the build is told %v", err)
			}
			for len(processes(t, mark)) > 0 { // or the test's time is up
				runtime.Gosched()
			}
			next := sandbox.New(sandbox.Options{Isolation: isolation, Folder: folder})
			if err := next.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
			left := func() []string {
				all, _ := filepath.Glob(filepath.Join(folder, "*"))
				return all
			}
			for len(left()) > 1 {
				runtime.Gosched()
			}
			if err := next.Close(); err != nil {
				t.Error(err)
			}
			if all := left(); len(all) > 0 {
				t.Errorf("%v is left", all)
			}
		})
	}
}

// When both sides are killed at once, the next build removes what is left of them.
func TestBothKilled(t *testing.T) {
	open(t, sandbox.UserNamespace) // or skip
	mark, folder := fmt.Sprint("MARK=", t.Name(), os.Getpid()), t.TempDir()
	t.Setenv("TMPDIR", folder)
	left := func() []string {
		all, _ := filepath.Glob(filepath.Join(folder, "harborpush-*"))
		return all
	}
	c := exec.Command("/proc/self/exe", "endless", sandbox.UserNamespace, folder, mark)
	started, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(started, make([]byte, len("started\n"))); err != nil {
		t.Fatal(err)
	}
	keeper := keeperOf(t, folder)
	unix.Kill(keeper, unix.SIGSTOP) // so that it does not see the build's end
	c.Process.Kill()
	unix.Kill(keeper, unix.SIGKILL)
	c.Wait()
	for len(processes(t, mark)) > 0 || unix.Kill(keeper, 0) == nil && !zombie(keeper) { // or the test's time is up
		runtime.Gosched()
	}
	if len(left()) != 2 {
		t.Fatalf("%v are left, want a store and a socket", left())
	}
	next := sandbox.New(sandbox.Options{Folder: folder})
	if err := next.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	for len(left()) > 2 {
		runtime.Gosched()
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	if all := left(); len(all) > 0 {
		t.Errorf("%v is left", all)
	}
}

func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

// keeperOf is the process that holds the lock on the only store in a folder.
func keeperOf(t *testing.T, folder string) int {
	t.Helper()
	locks, err := filepath.Glob(filepath.Join(folder, "harborpush-layers-*", "lock"))
	if err != nil || len(locks) != 1 {
		t.Fatalf("%v, %v", locks, err)
	}
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if to, err := os.Readlink(f); err == nil && to == locks[0] {
			pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
			return pid
		}
	}
	t.Fatal("nobody holds the lock")
	return 0
}

// endless is the life of a build with a step that never ends.
func endless(isolation, folder, mark string) error {
	private := filepath.Join(folder, "private")
	if err := os.MkdirAll(filepath.Join(private, "agent"), 0o700); err != nil {
		return err
	}
	s := sandbox.New(sandbox.Options{Isolation: isolation, Folder: folder, Remove: []string{private}})
	base, err := busybox()
	if err != nil {
		return err
	}
	if err := s.Unpack(context.Background(), "base", bytes.NewReader(base)); err != nil {
		return err
	}
	p := shell("trap '' TERM; (setsid sleep 1000 &); echo started; while :; do sleep 1; done")
	p.Env = append(p.Env, mark)
	p.Output = os.Stdout
	return s.Run(context.Background(), p)
}

// A full disk is named, and is not the step's fault.
func TestFullDisk(t *testing.T) {
	for _, isolation := range []string{sandbox.UserNamespace, sandbox.Chroot} {
		t.Run(isolation, func(t *testing.T) {
			open(t, isolation) // or skip
			base, _ := busybox()
			folder := t.TempDir()
			if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=24m"); err != nil {
				without.Skip(t, "to mount a tmpfs: "+err.Error())
			}
			t.Cleanup(func() { unix.Unmount(folder, unix.MNT_DETACH) })
			s := sandbox.New(sandbox.Options{Isolation: isolation, Folder: folder})
			t.Cleanup(func() { s.Close() })
			if err := s.Unpack(t.Context(), "base", bytes.NewReader(base)); err != nil {
				t.Fatal(err)
			}
			var exit *step.ExitError
			_, err := output(t, s, shell("dd if=/dev/zero of=/big bs=1M count=30"))
			if !errors.As(err, &exit) || !strings.Contains(err.Error(), folder) {
				t.Errorf("a step that fills the disk: %v", err)
			}
			if err := s.Unpack(t.Context(), "big", endlessTar(40<<20)); err == nil || !strings.Contains(err.Error(), folder) || !strings.Contains(err.Error(), "no space is left") {
				t.Errorf("a layer that fills the disk: %v", err)
			}
			if isolation == sandbox.Chroot { // which copies what a step wrote
				opened.Store(s, folder)
				before := stored(t, s)
				_, err := output(t, s, shell("set -- $(stat -f -c '%a %S' /); dd if=/dev/zero of=/big bs=$2 count=$(($1 * 6 / 10))"))
				if err == nil || errors.As(err, &exit) || !strings.Contains(err.Error(), "no space is left") {
					t.Errorf("a step that leaves no room for its layer: %v", err)
				}
				if after := stored(t, s); after != before {
					t.Errorf("the store holds %d things, not %d", after, before)
				}
			}
			if _, err := output(t, s, shell("echo fine")); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// endlessTar is a tar of one file of random bytes.
func endlessTar(size int64) io.Reader {
	read, write := io.Pipe()
	go func() {
		w := tar.NewWriter(write)
		err := w.WriteHeader(&tar.Header{Name: "big", Typeflag: tar.TypeReg, Mode: 0o644, Size: size})
		for left := size; err == nil && left > 0; left -= 1 << 20 {
			_, err = w.Write(bytes.Repeat([]byte("x"), 1<<20))
		}
		write.CloseWithError(errors.Join(err, w.Close()))
	}()
	return read
}

// A step that prints without end is cut, and goes on.
func TestOutputIsBounded(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		p := shell("dd if=/dev/zero bs=1M count=101 2>/dev/null || exit 1; echo more")
		var n counter
		p.Output = &n
		if err := s.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if n.bytes < 100<<20 || n.bytes > 100<<20+200 || !strings.Contains(n.end, "longer than 100 MiB") {
			t.Errorf("%d bytes of output, at whose end is %q", n.bytes, n.end)
		}
	})
}

type counter struct {
	bytes int
	end   string
}

func (c *counter) Write(b []byte) (int, error) {
	c.bytes += len(b)
	c.end = strings.Trim(string(b[max(0, len(b)-100):]), "\x00")
	return len(b), nil
}
