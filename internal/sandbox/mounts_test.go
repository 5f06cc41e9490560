//go:build linux

package sandbox_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// everything mounts one of each kind.
func everything(t *testing.T) []step.Mount {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "the agent speaks\n")
			c.Close()
		}
	}()
	return []step.Mount{
		{Kind: step.Cache, Target: "/mnt/cache", Cache: "c", Mode: 0o750, UID: 5, GID: 6},
		{Kind: step.Bind, Target: "/mnt/bind", Layers: []string{"base"}, Source: "/bin"},
		{Kind: step.Bind, Target: "/mnt/file", Layers: []string{"base"}, Source: "bin/busybox", ReadOnly: true},
		{Kind: step.Tmpfs, Target: "/mnt/tmpfs", Size: 1 << 20},
		{Kind: step.Secret, Target: "/run/secrets/x", Secret: []byte("secret"), UID: 7, GID: 8, Mode: 0o440},
		{Kind: step.SSH, Target: "/run/agent.sock", Socket: socket, UID: 9, GID: 10, Mode: 0o600},
	}
}

func TestMounts(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		p := shell(`cd /mnt; stat -c '%n %a %u:%g %F' * /run/secrets/* /run/agent.sock; cat /run/secrets/x; echo
			touch bind/new cache/new tmpfs/new && ls bind/sh cache tmpfs
			connect /run/agent.sock`)
		p.Mounts = everything(t)
		got, err := output(t, s, p)
		want := "bind 755 0:0 directory\ncache 750 5:6 directory\nfile 755 0:0 regular file\ntmpfs 1777 0:0 directory\n" +
			"/run/secrets/x 440 7:8 regular file\n/run/agent.sock 600 9:10 socket\nsecret\nbind/sh\n\ncache:\nnew\n\ntmpfs:\nnew\nthe agent speaks\n"
		if err != nil || got != want {
			t.Errorf("%v\n%s\nwant\n%s", err, got, want)
		}
	})
}

// What is only to be looked at cannot be written to.
func TestReadOnlyMounts(t *testing.T) {
	s := open(t, sandbox.UserNamespace)
	p := shell("echo > /run/secrets/x; echo > /mnt/cache/x; echo > /mnt/bind/x; echo > /etc/hosts; true")
	p.Mounts = everything(t)
	for i := range p.Mounts {
		p.Mounts[i].ReadOnly = p.Mounts[i].Kind != step.Secret
	}
	got, err := output(t, s, p)
	if err != nil || strings.Count(got, "Read-only file system") != 4 {
		t.Errorf("%v: %s", err, got)
	}
}

// A step may go on from another's root filesystem with more layers on it.
func TestMoreLayers(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		if _, err := output(t, s, shell("echo > /one")); err != nil {
			t.Fatal(err)
		}
		if err := s.Unpack(t.Context(), "more", bytes.NewReader(tarOf(t, tar.Header{Name: "two", Typeflag: tar.TypeReg}))); err != nil {
			t.Fatal(err)
		}
		p := shell("ls /one /two; echo > /three")
		p.Below, p.Layer = []string{"base", "made", "more"}, "last"
		if got, err := output(t, s, p); err != nil || got != "/one\n/two\n" {
			t.Errorf("%q, %v", got, err)
		}
		if got := names(t, s, "last"); got != "three" {
			t.Errorf("the layer has %s", got)
		}
	})
}

// What is there for a step only is no part of its layer, nor are the places that it needs.
func TestNothingStays(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		p := shell("echo > /mnt/cache/x; echo > /etc/hosts; echo > /dev/shm/x; true")
		p.Mounts = everything(t)
		if _, err := output(t, s, p); err != nil {
			t.Fatal(err)
		}
		if got := names(t, s, "made"); got != "" {
			t.Errorf("the layer has %s", got)
		}
	})
}

// A user's own files in the place of mounts are there again afterwards, and what a step puts beside mounts stays.
func TestBesideMounts(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		layer := tarOf(t, tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "etc/resolv.conf", Typeflag: tar.TypeSymlink, Linkname: "../run/resolv.conf"},
			tar.Header{Name: "mnt/", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "mnt/cache/", Typeflag: tar.TypeDir, Mode: 0o700}, tar.Header{Name: "mnt/cache/own", Typeflag: tar.TypeReg},
			tar.Header{Name: "mnt/run", Typeflag: tar.TypeSymlink, Linkname: "/run"})
		if err := s.Unpack(t.Context(), "more", bytes.NewReader(layer)); err != nil {
			t.Fatal(err)
		}
		p := shell("ls -A /mnt/cache; echo > /mnt/beside; echo > /run/beside; cat /etc/resolv.conf /run/linked > /dev/null")
		p.Below = append(p.Below, "more")
		p.Mounts = append(everything(t), step.Mount{Kind: step.Secret, Target: "/mnt/run/linked"})
		if got, err := output(t, s, p); got != "" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		if got := names(t, s, "made"); got != "mnt/ mnt/beside run/ run/beside" {
			t.Errorf("the layer has %s", got)
		}
		next := step.Process{Below: []string{"base", "more", "made"}, Layer: "next", Dir: "/", Env: []string{"PATH=/bin"}, Args: []string{"ls", "/mnt", "/mnt/cache", "/run"}}
		if got, err := output(t, s, next); err != nil || got != "/mnt:\nbeside\ncache\nrun\n\n/mnt/cache:\nown\n\n/run:\nbeside\nresolv.conf\n" {
			t.Errorf("%v: %s", err, got)
		}
	})
}

func TestCaches(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		cached := func(id, script string, sharing step.Sharing) string {
			t.Helper()
			p := shell(script)
			p.Layer = id + script
			p.Mounts = []step.Mount{{Kind: step.Cache, Target: "/c", Cache: id, Mode: 0o755, Sharing: sharing, Layers: []string{"base"}, Source: "/etc"}}
			got, err := output(t, s, p)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		cached("a", "echo one > /c/file", step.Shared)
		if got := cached("a", "cat /c/file", step.Locked); got != "one\n" {
			t.Errorf("the cache holds %q", got)
		}
		if got := cached("b", "ls -A /c", step.Private); got != "" {
			t.Errorf("another cache holds %q", got)
		}
		saved, err := s.SaveCache(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.LoadCache(t.Context(), "copy", saved); err != nil {
			t.Fatal(err)
		}
		if got := cached("copy", "cat /c/file", step.Shared); got != "one\n" {
			t.Errorf("the loaded cache holds %q", got)
		}
		if none, err := s.SaveCache(t.Context(), "none"); none != nil || err != nil {
			t.Errorf("a cache that is not there: %v, %v", none, err)
		}
	})
}

// While one step uses a cache, another waits for a locked one, and has a private one of its own.
func TestCacheSharing(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		for sharing, want := range map[step.Sharing]string{step.Locked: "first\n", step.Private: ""} {
			socket := filepath.Join(t.TempDir(), "socket")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			mounts := []step.Mount{
				{Kind: step.SSH, Target: "/socket", Socket: socket, Mode: 0o600},
				{Kind: step.Cache, Target: "/c", Cache: string(sharing), Mode: 0o755, Sharing: sharing},
			}
			first, second := shell("echo > /c/first; connect /socket"), shell("ls /c")
			first.Layer, first.Mounts = "first"+string(sharing), mounts
			second.Layer, second.Mounts = "second"+string(sharing), mounts
			ended := make(chan error)
			go func() { ended <- s.Run(t.Context(), first) }()
			inside, err := l.Accept() // the first step has its cache
			if err != nil {
				t.Fatal(err)
			}
			var got string
			run := func() {
				var b bytes.Buffer
				second.Output = &b
				err := s.Run(t.Context(), second)
				got = b.String()
				ended <- err
			}
			go run()
			if sharing == step.Private {
				err = <-ended
			}
			inside.Close()
			err = errors.Join(err, <-ended)
			if sharing == step.Locked {
				err = errors.Join(err, <-ended)
			}
			if err != nil || got != want {
				t.Errorf("%s: the second step sees %q, %v", sharing, got, err)
			}
		}
	})
}

// A private cache is another's while a step with a locked mount has it.
func TestPrivateBesideLocked(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		socket := filepath.Join(t.TempDir(), "socket")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cache := step.Mount{Kind: step.Cache, Target: "/c", Cache: "c", Mode: 0o755, Sharing: step.Locked}
		holder := shell("echo > /c/held; connect /socket")
		holder.Layer, holder.Mounts = "holder", []step.Mount{{Kind: step.SSH, Target: "/socket", Socket: socket, Mode: 0o600}, cache}
		ended := make(chan error)
		go func() { ended <- s.Run(t.Context(), holder) }()
		inside, err := l.Accept() // it has the cache
		if err != nil {
			t.Fatal(err)
		}
		p := shell("ls /c")
		cache.Sharing = step.Private
		p.Layer, p.Mounts = "private", []step.Mount{cache}
		if got, err := output(t, s, p); err != nil || got != "" {
			t.Errorf("%q, %v", got, err)
		}
		inside.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Steps that use the same caches at the same time, in different orders, do not wait for each other for ever.
func TestCachesInAnyOrder(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		ended := make(chan error)
		const steps = 8
		sharing := []step.Sharing{step.Locked, step.Shared}
		for i := range steps {
			p := shell("true")
			p.Layer = fmt.Sprint(i)
			for j, id := range []string{"x", "y"} {
				p.Mounts = append(p.Mounts, step.Mount{Kind: step.Cache, Target: fmt.Sprint("/c", (i+j)%2), Cache: id, Mode: 0o755, Sharing: sharing[i/4]})
			}
			go func() { ended <- s.Run(t.Context(), p) }()
		}
		for range steps {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestMountThatIsNotThere(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		p := shell("true")
		p.Mounts = []step.Mount{{Kind: step.Bind, Target: "/m", Layers: []string{"base"}, Source: "/none"}}
		var exit *step.ExitError
		if _, err := output(t, s, p); err == nil || errors.As(err, &exit) || !strings.Contains(err.Error(), "/none: no such file or directory") {
			t.Errorf("got %v", err)
		}
	})
}

// What a step moves or links that is there for it only becomes no part of its layer: the step fails, as where the kernel
// refuses to do that to mounts.
func TestMountsThatMove(t *testing.T) {
	layer := tarOf(t, tar.Header{Name: "app/", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "app/own", Typeflag: tar.TypeReg})
	scripts := map[string]string{
		"directory":      "mv /app /app2",
		"above new":      "mv /new /new2",
		"itself":         "mv /app/secret /kept",
		"linked":         "ln /app/secret /kept",
		"linked, gone":   "ln /app/secret /kept; rm -f /app/secret; test ! -e /app/secret",
		"into the cache": "ln /app/secret /app/cache/kept",
		"cache":          "mv /app/cache /kept",
		"bind":           "mv /app/bind /kept",
		"hosts":          "mv /etc /etc2",
		"resolv.conf":    "ln /etc/resolv.conf /kept",
		"replaced":       "mv /app /app2 && mkdir /app && echo > /app/secret",
	}
	eachEngine(t, func(t *testing.T, s *sandbox.Sandbox) {
		if err := s.Unpack(t.Context(), "app", bytes.NewReader(layer)); err != nil {
			t.Fatal(err)
		}
		before := stored(t, s)
		for name, script := range scripts {
			p := shell(script)
			p.Below, p.Layer = append(p.Below, "app"), name
			p.Mounts = []step.Mount{
				{Kind: step.Secret, Target: "/app/secret", Secret: []byte("hunter2")}, {Kind: step.Secret, Target: "/new/secret", Secret: []byte("hunter2")},
				{Kind: step.Cache, Target: "/app/cache", Cache: name, Mode: 0o755}, {Kind: step.Bind, Target: "/app/bind", Layers: []string{"base"}, Source: "/etc"},
			}
			got, err := output(t, s, p)
			if err == nil || strings.HasSuffix(t.Name(), sandbox.Chroot) && !strings.Contains(err.Error(), "only while the step runs") {
				t.Errorf("%s: %v, %s", name, err, got)
			}
			before++ // the cache
		}
		folder, _ := opened.Load(s)
		if found, _ := exec.Command("grep", "-rl", "hunter2", folder.(string)).Output(); len(found) > 0 {
			t.Errorf("the secret is in\n%s", found)
		}
		if after := stored(t, s); after != before {
			t.Errorf("the store holds %d things, not %d", after, before)
		}
	})
}

// A step may replace or remove what is there for it only, and a cache that it removed is as a new one.
func TestMountsThatGo(t *testing.T) {
	s := open(t, sandbox.Chroot)
	p := shell("rm -rf /app /proc /sys /etc/resolv.conf; echo x > /etc/new; mv /etc/new /etc/hosts; cp /etc/hosts /etc/resolv.conf")
	p.Mounts = []step.Mount{{Kind: step.Secret, Target: "/app/secret"}, {Kind: step.Cache, Target: "/app/cache", Cache: "c", UID: 5, GID: 6, Mode: 0o2770}}
	if got, err := output(t, s, p); err != nil || got != "" {
		t.Fatalf("%v, %s", err, got)
	}
	if got := names(t, s, "made"); got != "" {
		t.Errorf("the layer has %s", got)
	}
	p = shell("stat -c '%a %u:%g' /app/cache")
	p.Mounts, p.Layer = []step.Mount{{Kind: step.Cache, Target: "/app/cache", Cache: "c"}}, "next"
	if got, err := output(t, s, p); err != nil || got != "770 5:6\n" {
		t.Errorf("%v, %s", err, got)
	}
}
