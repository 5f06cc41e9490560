//go:build linux

// Package buildkittest runs the real BuildKit for tests.
package buildkittest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/without"
)

// Daemon is a BuildKit that lives as long as a test.
type Daemon struct {
	Address string // unix://SOCKET
	Process *os.Process

	programs string
	log      log
}

// patience is how long a daemon may take to start.
const patience = 2 * time.Minute

// Start runs buildkitd, which needs root, runc and what hack/buildkit.sh builds. config is added to its configuration.
func Start(t testing.TB, config string, args ...string) *Daemon {
	t.Helper()
	programs, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(programs, "buildkitd")); err != nil || os.Getuid() != 0 {
		without.Skip(t, "root and buildkitd: sh hack/buildkit.sh")
	}
	without.Program(t, "runc", "apt install runc")
	root := t.TempDir()
	d := &Daemon{Address: "unix://" + filepath.Join(root, "socket"), programs: programs, log: log{listening: make(chan struct{})}}
	file := filepath.Join(root, "config.toml")
	text := fmt.Sprintf("root = %q\n[worker.oci]\nsnapshotter = \"overlayfs\"\nnetworkMode = \"host\"\n[worker.containerd]\nenabled = false\n%s",
		filepath.Join(root, "root"), config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := d.Command("buildkitd", append([]string{"--config", file, "--addr", d.Address}, args...)...)
	cmd.Stdout, cmd.Stderr = &d.log, &d.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.Process = cmd.Process
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		unmount(root)
		if t.Failed() {
			t.Logf("buildkitd: %s", d.Log())
		}
	})
	select {
	case <-d.log.listening:
		return d
	case <-ended:
	case <-time.After(patience):
	}
	t.Fatal("buildkitd does not start")
	return nil
}

// programs is the folder of BuildKit's programs: IMGBUMP_BUILDKIT, or where hack/buildkit.sh puts them.
func programs() (string, error) {
	if dir := os.Getenv("IMGBUMP_BUILDKIT"); dir != "" {
		return dir, nil
	}
	out, err := exec.Command("go", "env", "GOMOD").Output()
	return filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), ".tools", "buildkit"), err
}

// Command is one of BuildKit's programs: buildkitd, or buildctl.
func (d *Daemon) Command(name string, args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(d.programs, name), args...)
}

// Log is what the daemon has said so far.
func (d *Daemon) Log() string {
	d.log.mu.Lock()
	defer d.log.mu.Unlock()
	return d.log.text.String()
}

// log keeps what a daemon says, and sees when it says that it listens.
type log struct {
	mu        sync.Mutex
	text      bytes.Buffer
	once      sync.Once
	listening chan struct{}
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if bytes.Contains(l.text.Bytes(), []byte("running server on")) {
		l.once.Do(func() { close(l.listening) })
	}
	return len(p), nil
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
