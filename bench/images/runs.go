package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// runs compares builds with RUN, on a Debian of its own, with those of BuildKit and of buildah, each with nothing known from
// before and pushed to the same registry.
func (b *bench) runs() error {
	end, err := b.buildkit()
	if err != nil {
		return err
	}
	defer end()
	if err := b.debian(); err != nil {
		return err
	}
	from := "FROM " + b.host + "/base/debian:1\n"
	folder := filepath.Join(b.dir, "runs")
	ten := from
	for i := range 10 {
		ten += fmt.Sprintf("RUN echo %d > /%[1]d\n", i)
	}
	if err := write(folder, map[string]string{
		"app": "an application\n", "Dockerfile": from + "WORKDIR /app\nCOPY app .\nRUN cp app copied && dpkg -l > /packages\n", "Dockerfile.ten": ten}); err != nil {
		return err
	}
	for _, isolation := range []string{"userns", "chroot"} {
		if err := b.isolated(isolation, "a small build, push", folder, "Dockerfile", 1); err != nil {
			return err
		}
		if err := b.isolated(isolation, "ten tiny RUNs, push", folder, "Dockerfile.ten", 1/1.5); err != nil {
			return err
		}
	}
	for _, part := range []func(string) error{b.hit, b.hugeRun} {
		if err := part(folder); err != nil {
			return err
		}
	}
	return nil
}

// debian pushes a Debian as small as it gets.
func (b *bench) debian() error {
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return fmt.Errorf("%w: apt install debootstrap", err)
	}
	_, err := b.once(fmt.Sprintf("cd %s && debootstrap --variant=minbase bookworm debian >&2 && tar -C debian -cf debian.tar . && rm -rf debian"+
		" && crane append --oci-empty-base --insecure -f debian.tar -t %s/base/debian:1 && crane mutate --insecure --set-platform linux/amd64 -t %[2]s/base/debian:1 %[2]s/base/debian:1 && rm debian.tar", b.dir, b.host))
	return err
}

// isolated compares a build whose steps are isolated in one way.
func (b *bench) isolated(isolation, what, folder, file string, atLeast float64) error {
	costs, err := b.measure(
		func(n int) string {
			return b.ours(folder, file, fmt.Sprint(isolation, n), fmt.Sprint(isolation, file, n)) + " --isolation " + isolation
		},
		func(n int) string {
			_ = exec.CommandContext(b.ctx, "buildctl", "--addr", b.daemon(), "prune", "--all").Run() // not measured
			return b.buildctl(folder, file, fmt.Sprint("theirs", isolation, n), "--no-cache")
		},
		func(n int) string {
			storage := fmt.Sprintf("--root %s/buildah --runroot %[1]s/run --storage-driver overlay", b.dir)
			_ = exec.CommandContext(b.ctx, "sh", "-c", "buildah "+storage+" rmi --all --force").Run() // likewise
			return b.buildah(folder, file, fmt.Sprint("buildah", isolation, n), "--no-cache")
		})
	if err != nil {
		return err
	}
	row(what+", "+isolation, costs[:2], "BuildKit", atLeast)
	row("", []cost{costs[0], costs[2]}, "buildah", atLeast)
	return nil
}

// hit measures a build of which everything is in a cache repository, on a machine that has nothing.
func (b *bench) hit(folder string) error {
	line := func(n int) string {
		return b.ours(folder, "Dockerfile.ten", "hit", fmt.Sprint("hit", n)) + " --cache-repo " + b.host + "/hit/cache"
	}
	if _, err := b.once(line(-1)); err != nil {
		return err
	}
	costs, err := b.measure(line)
	if err != nil {
		return err
	}
	limit := 500 * time.Millisecond
	verdict := map[bool]string{true: "met", false: "MISSED"}[costs[0].time < limit]
	fmt.Printf(format, "ten RUNs, all in the cache", seconds(costs[0].time), mib(costs[0].memory), "", "", "", "", "< "+seconds(limit)+" "+verdict)
	return nil
}

// hugeRun measures what a RUN on an image of 4 GiB takes of memory.
func (b *bench) hugeRun(string) error {
	folder := filepath.Join(b.dir, "huge-run")
	base := "FROM " + b.host + "/base/debian:1\nCOPY huge /huge\n"
	err := write(folder, map[string]string{"Dockerfile.base": base, "huge": "", "Dockerfile": "FROM " + b.host + "/base/huge:1\nRUN echo 1 > /one\n"})
	if err == nil {
		err = exec.CommandContext(b.ctx, "dd", "if=/dev/urandom", "of="+filepath.Join(folder, "huge"), "bs=1M", "count=4096", "status=none").Run()
	}
	if err == nil {
		_, err = b.once(b.ours(folder, "Dockerfile.base", "base/huge", "huge-base"))
	}
	err = errors.Join(err, os.Remove(filepath.Join(folder, "huge")))
	if err != nil {
		return err
	}
	for _, isolation := range []string{"userns", "chroot"} {
		c, err := b.once(b.ours(folder, "Dockerfile", "huge/"+isolation, "huge-run"+isolation) + " --isolation " + isolation)
		if err != nil {
			return err
		}
		verdict := map[bool]string{true: "met", false: "MISSED"}[c.memory < 200<<20]
		fmt.Printf(format, strings.TrimSpace("RUN on 4 GiB, "+isolation), seconds(c.time), mib(c.memory), "", "", "", "", "< 200 MiB "+verdict)
	}
	return nil
}
