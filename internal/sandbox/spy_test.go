//go:build linux

package sandbox_test

import (
	"archive/tar"
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/without"
)

// A step of the runner's own user id neither reads nor changes the runner's processes, nor does one that shares them with
// it. It takes no keys either.
func TestSpying(t *testing.T) {
	const user = 4321
	victim := exec.Command("sleep", "1000")
	victim.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}, Pdeathsig: syscall.SIGKILL}
	s := open(t, sandbox.Chroot)
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		victim.Process.Kill()
		victim.Wait()
	})
	for how, want := range map[string]string{"native": "", "x32": "", "32": "harmless: 0\n"} {
		p := shell("spy " + strconv.Itoa(victim.Process.Pid) + " " + how)
		p.User.UID, p.User.GID = user, user
		if got, err := output(t, s, p); err != nil || got != want {
			t.Errorf("%s: %v, not refused:\n%s", how, err, got)
		}
	}
}

// Root in a changed root may become another user, and make no devices.
func TestRootInChroot(t *testing.T) {
	p := shell("echo app:x:7:7::/:/bin/sh > /etc/passwd; mknod /null c 1 3; mkfifo /pipe && su app -c 'id -u; cat /dev/null'")
	got, err := output(t, open(t, sandbox.Chroot), p)
	if err != nil || got != "mknod: /null: Operation not permitted\n7\n" {
		t.Errorf("%v: %s", err, got)
	}
}

// A step uses no device that an image or a cache brings along, and leaves it in the image.
func TestDevices(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		devices := tarOf(t, tar.Header{Name: "zero", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 5},
			tar.Header{Name: "bin/again", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 5})
		if err := s.Unpack(t.Context(), "devices", bytes.NewReader(devices)); err != nil {
			t.Fatal(err)
		}
		if err := s.LoadCache(t.Context(), "cache", bytes.NewReader(devices)); err != nil {
			t.Fatal(err)
		}
		p := shell("for f in /zero /bin/again /cache/zero; do head -c 1 $f 2> /dev/null && echo read $f; done; echo > /new")
		p.Below = append(p.Below, "devices")
		p.Mounts = []step.Mount{{Kind: step.Cache, Cache: "cache", Target: "/cache"}}
		if got, err := output(t, s, p); err != nil || got != "" {
			t.Errorf("%q, %v", got, err)
		}
		if got := names(t, s, "made"); got != "new" {
			t.Errorf("the layer has %s", got)
		}
	})
}

// A step has none of the keys of who started the build.
func TestKeys(t *testing.T) {
	if _, err := unix.KeyctlInt(unix.KEYCTL_GET_KEYRING_ID, unix.KEY_SPEC_SESSION_KEYRING, 0, 0, 0); err != nil {
		without.Skip(t, "a kernel with keyrings: "+err.Error())
	}
	s := open(t, sandbox.UserNamespace)
	var before string
	for range 2 {
		got, err := output(t, s, shell("spy 1 session"))
		if err != nil || !strings.HasPrefix(got, "session ") || got == before {
			t.Errorf("%v: %s after %s", err, got, before)
		}
		before = got
	}
}

// The build holds all secrets: others of its user cannot look into it while steps run.
func TestBuildIsClosed(t *testing.T) {
	open(t, "")
	if on, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || on != 0 {
		t.Errorf("%d, %v", on, err)
	}
}
