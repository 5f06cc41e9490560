package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/without"
)

// TestFullLayers has too little room for what a step writes, and for the layers that it stands on. Whoever asks is told where,
// and what to do, with both engines.
func TestFullLayers(t *testing.T) {
	needsRUN(t)
	b := newBrokenBuild(t, "FROM scratch\nCOPY busybox /bin/\nCOPY data /\nRUN [\"/bin/busybox\", \"dd\", \"if=/dev/zero\", \"of=/big\", \"bs=1M\", \"count=64\"]\n")
	program, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.context, "busybox"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range []string{sandbox.UserNamespace, sandbox.Chroot} {
		for size, words := range map[string]string{
			"size=32m": "Dockerfile:4: " + b.temp + "/harborpush-layers-",
			"size=3m":  "Dockerfile:4: keep layers in " + b.temp + "/harborpush-layers-",
		} {
			if err := unix.Mount("tmpfs", b.temp, "tmpfs", 0, size); err != nil {
				without.Skip(t, "to mount a tmpfs: "+err.Error())
			}
			cmd, said := b.command("--isolation", isolation)
			cmd.Env = append(cmd.Env, "RUNNER_TEMP="+b.temp)
			err := cmd.Run()
			b.ended(t, err, said, 1, words)
			b.ended(t, err, said, 1, "free space there, or name a folder on a larger volume with TMPDIR\n")
			if err := unix.Unmount(b.temp, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	}
}
