// Bench measures imgbump against what people use instead, on generated trees, and prints one table of ratios. Ratios of one
// run on one machine say more than times.
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
	"strings"
)

func main() {
	rounds := flag.Int("rounds", 5, "how often each command runs; the median counts")
	dir := flag.String("dir", os.TempDir(), "where the trees are made: a folder on a disk, since writing includes the sync")
	git := flag.Bool("git", false, "measure what is committed and pushed to trees of 20,000 and 100,000 files, instead of the rest")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *rounds, *git); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run makes what it needs in a temporary folder below dir, which it removes.
func run(ctx context.Context, dir string, rounds int, git bool) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(dir, "imgbump-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &bench{ctx: ctx, dir: work, rounds: rounds, imgbump: filepath.Join(work, "imgbump")}
	if err := os.Setenv("PATH", filepath.Join(root, ".tools", "bin")+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", b.imgbump, "./cmd/imgbump")
	build.Dir, build.Stderr, build.Env = root, os.Stderr, append(os.Environ(), "CGO_ENABLED=0")
	if err := build.Run(); err != nil {
		return fmt.Errorf("compile imgbump: %w", err)
	}
	fmt.Printf("Medians of %d runs, taken in turn, on %s.\n\n", rounds, fileSystem(ctx, work))
	fmt.Printf(format, "what", "imgbump", "instead", "", "ratio", "target", "")
	parts := []func() error{b.search, b.growth, b.push}
	if git {
		parts = []func() error{b.pushes, b.race}
	}
	for _, part := range parts {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// moduleRoot is the folder of go.mod, so that the benchmark runs from anywhere in the checkout.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if mod := strings.TrimSpace(string(out)); err == nil && filepath.Base(mod) == "go.mod" {
		return filepath.Dir(mod), nil
	}
	return "", errors.Join(errors.New("run it inside a checkout of the repository"), err)
}

// fileSystem names the kind of file system that dir is on.
func fileSystem(ctx context.Context, dir string) string {
	out, err := exec.CommandContext(ctx, "stat", "--file-system", "--format=%T", dir).Output()
	if err != nil {
		return "an unknown file system"
	}
	return strings.TrimSpace(string(out))
}
