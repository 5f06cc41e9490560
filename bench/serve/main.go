// Serve measures imgbump serve as it runs: the memory it holds while it waits, how soon a push to the registry is a commit in
// Git, and what a burst of webhooks costs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"time"
)

func main() {
	dir := flag.String("dir", os.TempDir(), "where the binary and the repository are made")
	rounds := flag.Int("rounds", 9, "how many pushes are waited for")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, rounds int) error {
	work, err := os.MkdirTemp(dir, "imgbump-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	binary := filepath.Join(work, "imgbump")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/ksera524/imgbump/cmd/imgbump")
	build.Stderr, build.Env = os.Stderr, append(os.Environ(), "CGO_ENABLED=0")
	if err := build.Run(); err != nil {
		return fmt.Errorf("compile imgbump: %w", err)
	}
	if err := waiting(ctx, work, binary, rounds); err != nil {
		return err
	}
	return burst(ctx, work, binary)
}

const format = "%-66s %12s  %-10s %s\n"

func row(what, is, wanted string, met bool) {
	verdict := "met"
	if !met {
		verdict = "MISSED"
	}
	fmt.Printf(format, what, is, wanted, verdict)
}

// waiting is a service for 1,000 images: what it holds when nothing happens, and how long one push takes.
func waiting(ctx context.Context, dir, binary string, rounds int) (err error) {
	const images, window = 1000, 200 * time.Millisecond
	w, err := newWorld(dir, images)
	if err != nil {
		return err
	}
	defer w.close()
	s, err := w.serve(ctx, binary, window)
	if err != nil {
		return err
	}
	defer s.end()
	if err := s.idles(ctx, "1,000 images, nothing to do for 10 s: memory"); err != nil {
		return err
	}
	var took []time.Duration
	for i := range rounds {
		start := time.Now()
		if err := s.push(i*97%images, "1.1.0"); err != nil {
			return err
		}
		if err := w.moves(ctx, i+1); err != nil {
			return err
		}
		took = append(took, time.Since(start)-window)
	}
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	row("the same: webhook to pushed commit, beside the window (median)", fmt.Sprint(median.Round(time.Millisecond)), "< 500 ms", median < 500*time.Millisecond)
	row(fmt.Sprintf("the same: the slowest of %d", rounds), fmt.Sprint(worst.Round(time.Millisecond)), "< 500 ms", worst < 500*time.Millisecond)
	return s.idles(ctx, "the same: memory, 10 s after that")
}

// idles tells what the service holds when it has had nothing to do for a while.
func (s *service) idles(ctx context.Context, what string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Second):
	}
	memory, err := s.memory("VmRSS")
	row(what, fmt.Sprintf("%.1f MB", memory), "< 40 MB", memory < 40)
	return err
}

// burst is 1,000 webhooks of 200 images within a second, each of a newer version than the last.
func burst(ctx context.Context, dir, binary string) error {
	const images, hooks, window = 200, 1000, 2 * time.Second
	w, err := newWorld(dir, images)
	if err != nil {
		return err
	}
	defer w.close()
	s, err := w.serve(ctx, binary, window)
	if err != nil {
		return err
	}
	defer s.end()
	start := time.Now()
	for i := range hooks {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / hooks)))
		if err := s.push(i%images, fmt.Sprintf("1.%d.0", 1+i/images)); err != nil {
			return err
		}
	}
	sent := time.Since(start)
	if err := w.settles(ctx, fmt.Sprintf("1.%d.0", hooks/images)); err != nil {
		return err
	}
	took := time.Since(start)
	commits, err := w.commits()
	if err != nil {
		return err
	}
	most, err := s.memory("VmHWM")
	row(fmt.Sprintf("1,000 webhooks of 200 images in %.1f s: all right after", sent.Seconds()), fmt.Sprintf("%.2f s", took.Seconds()), "< 6 s", took < 6*time.Second)
	row("the same: commits", fmt.Sprint(commits), "<= 5", commits <= 5)
	row("the same: the most memory", fmt.Sprintf("%.1f MB", most), "< 96 MB", most < 96)
	return err
}
