package buildkit_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/buildkit"
)

// daemon is a BuildKit that lives as long as the test.
type daemon struct {
	program string
	address string
	process *os.Process
	log     *os.File
}

// startDaemon runs buildkitd, where there is one and it may.
func startDaemon(t *testing.T, config string, args ...string) *daemon {
	t.Helper()
	program, err := filepath.Abs("../../.tools/buildkit/buildkitd")
	if dir := os.Getenv("IMGBUMP_BUILDKIT"); dir != "" {
		program, err = filepath.Join(dir, "buildkitd"), nil
	}
	must(t, err)
	if _, err := os.Stat(program); err != nil || os.Getuid() != 0 {
		absent(t, "root and buildkitd: sh hack/buildkit.sh")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		absent(t, "runc")
	}
	root := t.TempDir()
	d := &daemon{program: program, address: "unix://" + filepath.Join(root, "socket")}
	file := filepath.Join(root, "config.toml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, "root = %q\n[worker.oci]\nsnapshotter = \"overlayfs\"\nnetworkMode = \"host\"\n[worker.containerd]\nenabled = false\n%s",
		filepath.Join(root, "root"), config), 0o600))
	d.log, err = os.Create(filepath.Join(root, "log"))
	must(t, err)
	cmd := exec.Command(program, append([]string{"--config", file, "--addr", d.address}, args...)...)
	cmd.Stdout, cmd.Stderr = d.log, d.log
	must(t, cmd.Start())
	d.process = cmd.Process
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		d.log.Close()
		unmount(root)
		if t.Failed() {
			text, _ := os.ReadFile(d.log.Name())
			t.Logf("buildkitd: %s", text)
		}
	})
	d.await(t)
	return d
}

// absent skips a test for want of something that this machine lacks, and fails it where nothing may be lacking.
func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("needs " + what)
	}
	t.Skip("not run: needs " + what)
}

// unmount undoes what a daemon that was killed has mounted below a folder.
func unmount(folder string) {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[4], folder+"/") {
			_ = syscall.Unmount(fields[4], syscall.MNT_DETACH)
		}
	}
}

// await waits until the daemon listens.
func (d *daemon) await(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if conn, err := net.Dial("unix", d.address[len("unix://"):]); err == nil {
			conn.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	text, _ := os.ReadFile(d.log.Name())
	t.Fatalf("buildkitd does not start: %s", bytes.TrimSpace(text))
}

// client is one of the daemon.
func (d *daemon) client(t *testing.T) *buildkit.Client {
	t.Helper()
	c, err := buildkit.New(buildkit.Options{Address: d.address})
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
