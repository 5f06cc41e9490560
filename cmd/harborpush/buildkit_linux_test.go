package main

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

	"github.com/rogpeppe/go-internal/testscript"
)

// TestBuildKit runs testdata/buildkit: what a person sees when a BuildKit daemon builds. It runs where there is one.
func TestBuildKit(t *testing.T) {
	address := startBuildKit(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/buildkit",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("DOCKER_CONFIG", env.WorkDir+"/docker")
			env.Setenv("XDG_CACHE_HOME", env.WorkDir+"/cache")
			env.Setenv("BUILDKIT_HOST", address)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "harbor": startHarbor, "json": jsonField, "secretless": secretless, "inspect": inspect, "pull": pull, "busybox": makeBusybox,
		},
	})
}

// startBuildKit is the address of a daemon that lives as long as the test.
func startBuildKit(t *testing.T) string {
	t.Helper()
	program, err := filepath.Abs("../../.tools/buildkit/buildkitd")
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("IMGBUMP_BUILDKIT"); dir != "" {
		program = filepath.Join(dir, "buildkitd")
	}
	_, missing := os.Stat(program)
	if _, err := exec.LookPath("runc"); err != nil || missing != nil || os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, runc and buildkitd: sh hack/buildkit.sh")
		}
		t.Skip("not run: needs root, runc and buildkitd: sh hack/buildkit.sh")
	}
	root := t.TempDir()
	socket := filepath.Join(root, "socket")
	var log bytes.Buffer
	cmd := exec.Command(program, "--root", filepath.Join(root, "root"), "--addr", "unix://"+socket, "--oci-worker-net", "host", "--containerd-worker=false")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return "unix://" + socket
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	t.Fatal(fmt.Sprint("buildkitd does not start: ", strings.TrimSpace(log.String())))
	return ""
}
