package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// builds compares builds of Dockerfiles with those of BuildKit and of buildah, each pushed to the same registry.
func (b *bench) builds(size int) error {
	end, err := b.buildkit()
	if err != nil {
		return err
	}
	defer end()
	if _, err := exec.LookPath("buildah"); err != nil {
		return fmt.Errorf("%w: apt install buildah", err)
	}
	base := filepath.Join(b.dir, "base")
	if err := write(base, map[string]string{"Dockerfile": "FROM scratch\nCOPY sh /bin/sh\n", "sh": "no shell\n"}); err != nil {
		return err
	}
	if _, err := b.once(fmt.Sprintf("harborpush -q build %s -t %s/base/base:1 --push", base, b.host)); err != nil {
		return err
	}
	for _, part := range []func() error{func() error { return b.large(size) }, b.narrow, b.huge} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// large builds a large folder, and then again after another file has changed.
func (b *bench) large(size int) error {
	folder := filepath.Join(b.dir, "large")
	if err := fill(filepath.Join(folder, "data"), size, 1); err != nil {
		return err
	}
	first := "FROM " + b.host + "/base/base:1\nCOPY data /data\n"
	if err := write(folder, map[string]string{"Dockerfile": first, "Dockerfile.two": first + "COPY small /small\n", "small": "0"}); err != nil {
		return err
	}
	if err := b.compare(fmt.Sprintf("COPY of %d MiB, push", size), folder, "Dockerfile", 2); err != nil {
		return err
	}
	return b.change(folder)
}

// change measures a build after one file has changed, which another COPY names.
func (b *bench) change(folder string) error {
	changed := func(line string) func(int) string {
		return func(round int) string {
			_ = os.WriteFile(filepath.Join(folder, "small"), fmt.Append(nil, line, round), 0o644)
			return line
		}
	}
	lines := []func(int) string{
		changed(b.ours(folder, "Dockerfile.two", "again/ours", "cache")),
		changed(b.buildctl(folder, "Dockerfile.two", "again/theirs", "")),
		changed(b.buildah(folder, "Dockerfile.two", "again/buildah", "--layers")),
	}
	for _, line := range lines {
		if _, err := b.once(line(-1)); err != nil {
			return err
		}
	}
	costs, err := b.measure(lines...)
	if err != nil {
		return err
	}
	for i, than := range []string{"BuildKit, gzip", "buildah, gzip"} {
		verdict := map[bool]string{true: "< 1.000 s met", false: "< 1.000 s MISSED"}[costs[0].time < time.Second]
		fmt.Printf(format, "the same, another file new", seconds(costs[0].time), mib(costs[0].memory), than,
			seconds(costs[i+1].time), mib(costs[i+1].memory), ratio(costs[0], costs[i+1]), verdict)
	}
	return nil
}

// narrow builds one file of a context of 20,000.
func (b *bench) narrow() error {
	folder := filepath.Join(b.dir, "narrow")
	if err := write(folder, map[string]string{"Dockerfile": "FROM " + b.host + "/base/base:1\nCOPY src/one /one\n", "src/one": "1"}); err != nil {
		return err
	}
	for i := range 20_000 {
		module := fmt.Sprintf("node_modules/%d/%d.js", i/100, i)
		if err := write(folder, map[string]string{module: strings.Repeat(fmt.Sprintln("module", i), 200)}); err != nil {
			return err
		}
	}
	return b.compare("one file of 20,000, push", folder, "Dockerfile", 1)
}

// huge measures what a layer of 4 GiB takes of memory.
func (b *bench) huge() error {
	folder := filepath.Join(b.dir, "huge")
	if err := write(folder, map[string]string{"Dockerfile": "FROM scratch\nCOPY huge /huge\n", "huge": ""}); err != nil {
		return err
	}
	if err := os.Truncate(filepath.Join(folder, "huge"), 4<<30); err != nil {
		return err
	}
	c, err := b.once(b.ours(folder, "Dockerfile", "huge/ours", "huge"))
	if err != nil {
		return err
	}
	verdict := "< 150 MiB met"
	if c.memory >= 150<<20 {
		verdict = "< 150 MiB MISSED"
	}
	fmt.Printf(format, "a layer of 4 GiB", seconds(c.time), mib(c.memory), "", "", "", "", verdict)
	return nil
}

// compare builds with nothing known from before.
func (b *bench) compare(what, folder, file string, atLeast float64) error {
	costs, err := b.measure(
		func(n int) string {
			return b.ours(folder, file, fmt.Sprint("ours", n), filepath.Base(folder)+fmt.Sprint(n))
		},
		func(n int) string {
			_ = exec.CommandContext(b.ctx, "buildctl", "--addr", b.daemon(), "prune", "--all").Run() // not measured
			return b.buildctl(folder, file, fmt.Sprint("theirs", n), "--no-cache")
		},
		func(n int) string { return b.buildah(folder, file, fmt.Sprint("buildah", n), "--no-cache") })
	if err != nil {
		return err
	}
	row(what, costs[:2], "BuildKit, gzip", atLeast)
	row("", []cost{costs[0], costs[2]}, "buildah, gzip", atLeast)
	return nil
}

func (b *bench) ours(folder, file, repository, cache string) string {
	return fmt.Sprintf("XDG_CACHE_HOME=%s/%s harborpush -q build %s -f %s/%s -t %s/%s:1 --push", b.dir, cache, folder, folder, file, b.host, repository)
}

func (b *bench) buildctl(folder, file, repository, flags string) string {
	return fmt.Sprintf("buildctl --addr %s build %s --progress plain --frontend dockerfile.v0 --local context=%s --local dockerfile=%s"+
		" --opt filename=%s --output type=image,name=%s/%s:1,push=true", b.daemon(), flags, folder, folder, file, b.host, repository)
}

func (b *bench) buildah(folder, file, repository, flags string) string {
	storage := fmt.Sprintf("--root %s/buildah --runroot %[1]s/run --storage-driver overlay", b.dir)
	return fmt.Sprintf("buildah %s build %s --tls-verify=false -q -f %s/%s -t %s/%s:1 %s && buildah %s push -q --tls-verify=false %s/%s:1",
		storage, flags, folder, file, b.host, repository, folder, storage, b.host, repository)
}

func (b *bench) daemon() string { return "unix://" + filepath.Join(b.dir, "buildkit.sock") }

// buildkit starts a daemon. It needs root and runc.
func (b *bench) buildkit() (end func(), err error) {
	for _, program := range []string{"buildkitd", "buildctl", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w: apt install runc, and internal/dockerfile/testdata/oracle/record.sh builds the others", err)
		}
	}
	config := filepath.Join(b.dir, "buildkit.toml")
	text := fmt.Sprintf("root = %q\n[grpc]\naddress = [%q]\n[worker.oci]\nsnapshotter = \"overlayfs\"\nnetworkMode = \"host\"\n"+
		"[worker.containerd]\nenabled = false\n[registry.%q]\nhttp = true\n", filepath.Join(b.dir, "buildkit"), b.daemon(), b.host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	daemon := exec.CommandContext(b.ctx, "buildkitd", "--config", config)
	if err := daemon.Start(); err != nil {
		return nil, err
	}
	end = func() { _ = daemon.Process.Signal(syscall.SIGTERM); _ = daemon.Wait() }
	if _, err := b.once("buildctl --addr " + b.daemon() + " --wait --timeout 30 debug workers"); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// write makes files in a folder, by their names.
func write(dir string, files map[string]string) error {
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
