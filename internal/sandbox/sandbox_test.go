//go:build linux

package sandbox_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/sandbox/engine"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/sandbox/wire"
	"github.com/ksera524/imgbump/internal/without"
)

// The test binary is its own privileged side, as harborpush is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == wire.Verb {
		syscall.Exit(engine.Main(os.Args[2:])) // which is quick with the race detector too
	}
	if len(os.Args) > 1 && os.Args[1] == "endless" {
		fmt.Fprintln(os.Stderr, endless(os.Args[2], os.Args[3], os.Args[4]))
		os.Exit(1)
	}
	if len(os.Args) > 1 && os.Args[1] == "build" {
		build()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tarOf is a tar of empty files.
func tarOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// names are those of a layer's entries.
func names(t *testing.T, s *sandbox.Sandbox, id string) string {
	t.Helper()
	headers, err := s.Headers(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, h := range headers {
		all = append(all, h.Name)
	}
	return strings.Join(all, " ")
}

// programs builds those in testdata, without a C library, for what busybox cannot do.
func programs() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "programs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir, "./testdata/connect", "./testdata/escape", "./testdata/spy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, out)
	}
	all := map[string][]byte{}
	for _, name := range []string{"connect", "escape", "spy"} {
		if all[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// busybox is the layer of a small root filesystem.
var busybox = sync.OnceValues(func() ([]byte, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	files, err := programs()
	if err != nil {
		return nil, err
	}
	if files["busybox"], err = os.ReadFile(path); err != nil {
		return nil, err
	}
	names, err := exec.Command(path, "--list").Output()
	if err != nil {
		return nil, err
	}
	entries := []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
	}
	for _, name := range strings.Fields(string(names)) {
		if name != "busybox" {
			entries = append(entries, tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777})
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
	}
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: "bin/" + name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
})

// open is a sandbox with the layer "base", which needs root and busybox.
func open(t *testing.T, isolation string) *sandbox.Sandbox {
	t.Helper()
	base, err := busybox()
	if os.Geteuid() != 0 || err != nil {
		without.Skip(t, "root and busybox")
	}
	folder := t.TempDir()
	s := sandbox.New(sandbox.Options{Isolation: isolation, Folder: folder, Chosen: func(line string) { t.Log(line) }})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Unpack(t.Context(), "base", bytes.NewReader(base)); err != nil {
		t.Fatal(err)
	}
	opened.Store(s, folder)
	return s
}

var opened sync.Map // sandbox to the folder that its store is in

// stored is how many things a sandbox of open has in its store.
func stored(t *testing.T, s *sandbox.Sandbox) int {
	t.Helper()
	folder, _ := opened.Load(s)
	all, err := filepath.Glob(filepath.Join(folder.(string), "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// shell is a step that runs a script on the layer "base".
func shell(script string) step.Process {
	return step.Process{
		Below: []string{"base"}, Layer: "made", Dir: "/", Args: []string{"/bin/sh", "-c", script},
		Env: []string{"PATH=/bin"}, Hostname: "buildkitsandbox",
	}
}

// output runs a step and returns what it prints.
func output(t *testing.T, s *sandbox.Sandbox, p step.Process) (string, error) {
	t.Helper()
	var b bytes.Buffer
	p.Output = &b
	err := s.Run(t.Context(), p)
	return b.String(), err
}

func eachEngine(t *testing.T, test func(t *testing.T, s *sandbox.Sandbox)) {
	for _, isolation := range []string{sandbox.UserNamespace, sandbox.Chroot} {
		t.Run(isolation, func(t *testing.T) { test(t, open(t, isolation)) })
	}
}

func TestRun(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		got, err := output(t, s, shell("echo hello; echo world >&2; echo content > /new; mkdir /d; rm /bin/ls"))
		if err != nil || got != "hello\nworld\n" {
			t.Fatalf("%q, %v", got, err)
		}
		if got := names(t, s, "made"); got != "bin/ bin/.wh.ls d/ new" {
			t.Errorf("the layer has %s", got)
		}
		f, err := s.File(t.Context(), "made", "new")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(f); err != nil || string(b) != "content\n" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// A command that is a whole script by mistake, as in RUN ["a; b"], is told of all the same.
func TestLongCommand(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		p := shell("")
		p.Args = []string{strings.Repeat("apt-get install; ", 1000)}
		var exit *step.ExitError
		_, err := output(t, s, p)
		if err == nil || errors.As(err, &exit) || !strings.HasPrefix(err.Error(), "run /bin/apt-get install; apt") || !strings.HasSuffix(err.Error(), "…: file name too long") {
			t.Errorf("got %v", err)
		}
	})
}

func TestExit(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		for script, want := range map[string]step.ExitError{"exit 3": {Code: 3}, "sh -c 'kill -9 $$'; exit $?": {Code: 137}} {
			var exit *step.ExitError
			if _, err := output(t, s, shell(script)); !errors.As(err, &exit) || *exit != want {
				t.Errorf("%s: %v", script, err)
			}
		}
	})
}
