// Images measures harborpush against crane on a registry of the distribution project beside it, and prints one table of
// ratios. Both take turns, so that what else the machine does meets both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 3, "how often each command runs; the median counts")
	dir := flag.String("dir", os.TempDir(), "where folders and registry are: it needs 15 GB")
	size := flag.Int("mib", 1024, "size of the large folder in MiB; the ten layers have as much together")
	builds := flag.Bool("builds", false, "measure builds against BuildKit and buildah, as root, instead of the rest")
	runs := flag.Bool("runs", false, "measure builds with RUN against BuildKit and buildah, as root, instead of the rest")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *rounds, *size, *builds, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// bench is what the measurements share.
type bench struct {
	ctx    context.Context
	dir    string
	host   string // of the registry
	rounds int
}

func run(ctx context.Context, dir string, rounds, size int, builds, runs bool) error {
	work, err := os.MkdirTemp(dir, "harborpush-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &bench{ctx: ctx, dir: work, rounds: rounds}
	if err := b.programs(); err != nil {
		return err
	}
	end, err := b.registry()
	if err != nil {
		return err
	}
	defer end()
	fmt.Printf("Medians of %d runs, taken in turn, registry on the same machine.\n\n", rounds)
	fmt.Printf(format, "what", "harborpush", "memory", "instead", "", "memory", "ratio", "target")
	switch {
	case builds:
		return b.builds(size)
	case runs:
		return b.runs()
	}
	one := filepath.Join(work, "one")
	if err := fill(one, size, 1); err != nil {
		return err
	}
	for _, part := range []func(string) error{b.oneLayer, func(string) error { return b.tenLayers(size) }, b.again} {
		if err := part(one); err != nil {
			return err
		}
	}
	return nil
}

// programs compiles harborpush, and finds crane.
func (b *bench) programs() error {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	mod := strings.TrimSpace(string(out))
	if err != nil || filepath.Base(mod) != "go.mod" {
		return errors.Join(errors.New("run it inside a checkout of the repository"), err)
	}
	root := filepath.Dir(mod)
	path := []string{b.dir, filepath.Join(root, ".tools", "bin"), filepath.Join(root, ".tools", "buildkit"), os.Getenv("PATH")}
	if err := os.Setenv("PATH", strings.Join(path, string(os.PathListSeparator))); err != nil {
		return err
	}
	if _, err := exec.LookPath("crane"); err != nil {
		return fmt.Errorf("%w: GOBIN=$PWD/.tools/bin go install github.com/google/go-containerregistry/cmd/crane@v0.22.1", err)
	}
	build := exec.CommandContext(b.ctx, "go", "build", "-o", filepath.Join(b.dir, "harborpush"), "./cmd/harborpush")
	build.Dir, build.Stderr, build.Env = root, os.Stderr, append(os.Environ(), "CGO_ENABLED=0")
	return build.Run()
}

// oneLayer compares a folder as one layer.
func (b *bench) oneLayer(folder string) error {
	costs, err := b.measure(
		func(n int) string {
			return fmt.Sprintf("XDG_CACHE_HOME=%s/none%d harborpush append scratch -t %s/ours%d/one:1 --add %s:/", b.dir, n, b.host, n, folder)
		},
		func(n int) string {
			return fmt.Sprintf("tar -C %s -cf %s/one.tar . && crane append --oci-empty-base --insecure -f %s/one.tar -t %s/theirs%d/one:1", folder, b.dir, b.dir, b.host, n)
		})
	if err != nil {
		return err
	}
	row("a folder as one layer", costs, "tar, crane append", 2)
	return nil
}

// tenLayers compares ten folders as ten layers.
func (b *bench) tenLayers(size int) error {
	var folders []string
	for i := range 10 {
		folders = append(folders, filepath.Join(b.dir, fmt.Sprint("ten", i)))
		if err := fill(folders[i], size/10, i+2); err != nil {
			return err
		}
	}
	costs, err := b.measure(
		func(n int) string {
			line := fmt.Sprintf("XDG_CACHE_HOME=%s/ten%d harborpush append scratch -t %s/ours%d/ten:1", b.dir, n, b.host, n)
			for _, f := range folders {
				line += " --add " + f + ":/"
			}
			return line
		},
		func(n int) string {
			line, files := "", ""
			for i, f := range folders {
				line += fmt.Sprintf("tar -C %s -cf %s/%d.tar . && ", f, b.dir, i)
				files += fmt.Sprintf(" -f %s/%d.tar", b.dir, i)
			}
			return fmt.Sprintf("%s crane append --oci-empty-base --insecure %s -t %s/theirs%d/ten:1", line, files, b.host, n)
		})
	if err != nil {
		return err
	}
	row("ten folders as ten layers", costs, "tar, crane append", 1.5)
	return nil
}

// again measures pushes of what is there already.
func (b *bench) again(folder string) error {
	if err := save(filepath.Join(b.dir, "saved.tar"), filepath.Join(b.dir, "one.tar")); err != nil {
		return err
	}
	setup := fmt.Sprintf("cd %s && crane pull --insecure --format oci %s/ours0/one:1 layout && export XDG_CACHE_HOME=%s/cache"+
		" && harborpush -q push saved.tar -t %s/again/saved:1 && harborpush -q push layout -t %s/again/layout:1"+
		" && gzip -1 -k saved.tar && harborpush -q push saved.tar.gz -t %s/again/zipped:1"+
		" && harborpush -q append scratch -t %s/again/folder:1 --add %s:/", b.dir, b.host, b.dir, b.host, b.host, b.host, b.host, folder)
	if _, err := b.once(setup); err != nil {
		return err
	}
	for _, again := range []struct {
		what, line string
		limit      time.Duration
	}{
		{"an OCI layout again", "push layout -t %s/again/layout:1", 200 * time.Millisecond},
		{"an archive again", "push saved.tar -t %s/again/saved:1", 200 * time.Millisecond},
		{"an archive in gzip again", "push saved.tar.gz -t %s/again/zipped:1", 200 * time.Millisecond},
		{"a folder again", "append scratch -t %s/again/folder:1 --add " + folder + ":/", 0},
	} {
		costs, err := b.measure(func(int) string {
			return "cd " + b.dir + " && XDG_CACHE_HOME=" + b.dir + "/cache harborpush -q " + fmt.Sprintf(again.line, b.host)
		})
		if err != nil {
			return err
		}
		verdict := ""
		switch {
		case again.limit > costs[0].time:
			verdict = "< " + seconds(again.limit) + " met"
		case again.limit > 0:
			verdict = "< " + seconds(again.limit) + " MISSED"
		}
		fmt.Printf(format, again.what, seconds(costs[0].time), mib(costs[0].memory), "", "", "", "", verdict)
	}
	costs, err := b.measure(func(n int) string {
		return fmt.Sprintf("XDG_CACHE_HOME=%s/lost%d harborpush -q append scratch -t %s/again/folder:1 --add %s:/", b.dir, n, b.host, folder)
	})
	if err != nil {
		return err
	}
	fmt.Printf(format, "a folder again, cache lost", seconds(costs[0].time), mib(costs[0].memory), "", "", "", "", "")
	return nil
}

// cost is what a command took: the median of its rounds, and the most memory in bytes that one of its processes held.
type cost struct {
	time   time.Duration
	memory int64
}

// measure runs the command lines in turn, round after round, with everything on the disk before each.
func (b *bench) measure(lines ...func(round int) string) ([]cost, error) {
	times, costs := make([][]time.Duration, len(lines)), make([]cost, len(lines))
	for round := range b.rounds {
		for i, line := range lines {
			syscall.Sync()
			c, err := b.once(line(round))
			if err != nil {
				return nil, err
			}
			times[i] = append(times[i], c.time)
			costs[i].memory = max(costs[i].memory, c.memory)
		}
	}
	for i := range costs {
		slices.Sort(times[i])
		costs[i].time = times[i][len(times[i])/2]
	}
	return costs, nil
}

func (b *bench) once(line string) (cost, error) {
	cmd := exec.CommandContext(b.ctx, "sh", "-ec", line)
	start := time.Now()
	output, err := cmd.CombinedOutput()
	if err != nil {
		return cost{}, fmt.Errorf("%s: %w: %s", line, err, output[max(0, len(output)-500):])
	}
	return cost{time.Since(start), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10}, nil
}

const format = "%-28s %10s %8s  %-18s %9s %8s %6s  %s\n"

// row prints a comparison; the ratio should be at least that.
func row(what string, costs []cost, than string, atLeast float64) {
	verdict := "met"
	if float64(costs[1].time) < atLeast*float64(costs[0].time) {
		verdict = "MISSED"
	}
	fmt.Printf(format, what, seconds(costs[0].time), mib(costs[0].memory), than, seconds(costs[1].time), mib(costs[1].memory),
		ratio(costs[0], costs[1]), fmt.Sprintf(">= %.2gx %s", atLeast, verdict))
}

// ratio is how many times as fast one is as the other.
func ratio(one, other cost) string {
	return fmt.Sprintf("%.1fx", float64(other.time)/float64(one.time))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
