//go:build linux

package sandbox_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// What a process is and sees, held against what BuildKit gives it.
func TestProcess(t *testing.T) {
	type process struct {
		change       func(*step.Process)
		script, want string
		userns       bool // cannot be had, or not be seen, without /proc and namespaces
	}
	version, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Fatal(err)
	}
	processes := map[string]process{
		"environment":   {func(p *step.Process) { p.Env = []string{"PATH=/bin", "A=b c"} }, "unset PWD SHLVL; env", "A=b c\nPATH=/bin\n", false},
		"root":          {nil, "id -u; id -g; umask; pwd", "0\n0\n0022\n/\n", false},
		"user":          {func(p *step.Process) { p.User = step.User{UID: 12, GID: 34, Groups: []uint32{56, 34, 78}} }, "id -u; id -g; id -G", "12\n34\n34 56 78\n", false},
		"user's output": {func(p *step.Process) { p.User.UID = 12 }, "echo one > /dev/stdout; echo two > /dev/stderr", "one\ntwo\n", false},
		"user's rights": {func(p *step.Process) { p.User.UID = 12 }, "echo > /etc/x", "/bin/sh: can't create /etc/x: Permission denied\n", false},
		"new directory": {func(p *step.Process) { p.Dir = "/a/b" }, "pwd; stat -c %a%u /a/b", "/a/b\n7550\n", false},
		"closed room":   {func(p *step.Process) { p.Dir, p.User.UID = "/closed", 12 }, "pwd", "/closed\n", false},
		"input":         {nil, "cat", "", false},
		"hosts":         {func(p *step.Process) { p.Hosts = []string{"1.2.3.4 example"} }, "tail -n 1 /etc/hosts", "1.2.3.4 example\n", false},
		"devices":       {nil, "ls /dev | tr '\\n' ' '; echo > /dev/null; head -c 2 /dev/zero | wc -c; echo > /dev/full", "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 2\nsh: write error: No space left on device\n", true},
		"limits":        {func(p *step.Process) { p.Limits = []string{"nofile=100:200", "core=0"} }, "ulimit -Sn; ulimit -Hn", "100\n200\n", false},
		"hostname":      {func(p *step.Process) { p.Hostname = "box" }, "hostname; grep -c box /etc/hosts", "box\n1\n", true},
		"capabilities":  {nil, "grep Cap /proc/self/status | cut -f 2 | tr '\\n' ' '", "0000000000000000 00000000a80425fb 00000000a80425fb 00000000a80425fb 0000000000000000 ", true},
		"no files":      {nil, "cd /proc/self/fd; echo *", "0 1 2 3\n", true}, // 3 is the shell's own
		"machine":       {nil, "cat /proc/version; grep -c cpu0 /proc/stat", string(version) + "1\n", false},
		"first process": {nil, "echo $$", "1\n", true},
		"own processes": {nil, "echo /proc/[0-9]*", "/proc/1\n", true},
		"no network":    {func(p *step.Process) { p.Network = step.None }, "ip -o link | cut -d : -f 2; ip -o addr show lo | grep -c 127.0.0.1", " lo\n1\n", true},
		"shared memory": {func(p *step.Process) { p.ShmSize = 1 << 20 }, "df -k /dev/shm | tail -n 1 | awk '{print $2}'", "1024\n", true},
	}
	closed := tarOf(t, tar.Header{Name: "closed/", Typeflag: tar.TypeDir, Mode: 0o700})
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		if err := s.Unpack(t.Context(), "closed", bytes.NewReader(closed)); err != nil {
			t.Fatal(err)
		}
		for name, tt := range processes {
			if tt.userns && strings.HasSuffix(t.Name(), sandbox.Chroot) {
				continue
			}
			p := shell(tt.script)
			p.Below, p.Layer = append(p.Below, "closed"), name
			if tt.change != nil {
				tt.change(&p)
			}
			got, err := output(t, s, p)
			var exit *step.ExitError
			if err != nil && !errors.As(err, &exit) || got != tt.want {
				t.Errorf("%s: %v, %q\nwant %q", name, err, got, tt.want)
			}
		}
	})
}

// What cannot be run is told apart from what ran and failed.
func TestCannotRun(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		before := stored(t, s)
		for want, change := range map[string]func(*step.Process){
			"run nothing: not found in PATH":                func(p *step.Process) { p.Args = []string{"nothing"} },
			"run /no/thing: no such file or directory":      func(p *step.Process) { p.Args = []string{"/no/thing"} },
			"run /etc: permission denied":                   func(p *step.Process) { p.Args = []string{"/etc"} },
			"there is no command to run":                    func(p *step.Process) { p.Args = nil },
			"the sandbox has no layer gone":                 func(p *step.Process) { p.Below = []string{"gone"} },
			"set the limit x=1: it is not NAME=SOFT[:HARD]": func(p *step.Process) { p.Limits = []string{"x=1"} },
			"/bin/sh/x: not a directory":                    func(p *step.Process) { p.Dir = "/bin/sh/x" },
			`mount /x: there is no mount type "other"`:      func(p *step.Process) { p.Mounts = []step.Mount{{Kind: "other", Target: "/x"}} },
			"it is the root directory":                      func(p *step.Process) { p.Mounts = []step.Mount{{Kind: step.Tmpfs, Target: "/bin/.."}} },
		} {
			p := shell("true")
			change(&p)
			var exit *step.ExitError
			if _, err := output(t, s, p); err == nil || errors.As(err, &exit) || !strings.Contains(err.Error(), want) {
				t.Errorf("want %s\ngot %v", want, err)
			}
		}
		if _, err := s.Headers(t.Context(), "made"); err == nil {
			t.Error("there is a layer of a step that failed")
		}
		if after := stored(t, s); after != before {
			t.Errorf("the store held %d things, and holds %d", before, after)
		}
	})
}

// A stack may have as many layers as an image.
func TestManyLayers(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		p := shell("ls / | grep -c file")
		for i := range 300 {
			id := fmt.Sprint("layer", i)
			if err := s.Unpack(t.Context(), id, bytes.NewReader(tarOf(t, tar.Header{Name: fmt.Sprint("file", i), Typeflag: tar.TypeReg}))); err != nil {
				t.Fatal(err)
			}
			p.Below = append(p.Below, id)
		}
		if got, err := output(t, s, p); got != "300\n" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// Steps of several stages run at the same time.
func TestParallel(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		const steps = 8
		ended := make(chan error)
		for i := range steps {
			p := shell("i=0; while [ $i -lt 20 ]; do echo $N > /dir$i-$N; i=$((i+1)); done; (sleep 1000 &); ls / | grep -c dir")
			p.Layer, p.Env = fmt.Sprint(i), append(p.Env, fmt.Sprint("N=", i))
			go func() {
				var b bytes.Buffer
				p.Output = &b
				err := s.Run(t.Context(), p)
				if err == nil && b.String() != "20\n" {
					err = errors.New(b.String())
				}
				ended <- err
			}()
		}
		for range steps {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// A reader that fails is told as what it is, and leaves no layer; a layer that is there never changes.
func TestUnpack(t *testing.T) {
	s := open(t, "")
	broken := errors.New("the registry hung up")
	read, write := io.Pipe()
	write.CloseWithError(broken)
	if err := s.Unpack(t.Context(), "x", read); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Headers(t.Context(), "x"); err == nil {
		t.Error("there is a layer")
	}
	one, two := tarOf(t, tar.Header{Name: "one", Typeflag: tar.TypeReg}), tarOf(t, tar.Header{Name: "two", Typeflag: tar.TypeReg})
	if err := s.Unpack(t.Context(), "y", bytes.NewReader(one), bytes.NewReader(two)); err != nil {
		t.Fatal(err)
	}
	if err := s.Unpack(t.Context(), "y", bytes.NewReader(one)); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s, "y"); got != "one two" {
		t.Errorf("the layer has %s", got)
	}
	if err := s.Unpack(t.Context(), "z", strings.NewReader("no tar")); err == nil {
		t.Error("what is no tar is taken")
	}
}
