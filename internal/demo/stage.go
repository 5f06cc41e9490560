package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/gittest"
)

// stage is where the demonstration plays: dir holds everything that it makes, root is the module's source.
type stage struct {
	ctx       context.Context
	root, dir string
	env       []string
}

// moduleRoot is the folder of go.mod, so that the demonstration runs from anywhere in the checkout.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if mod := strings.TrimSpace(string(out)); err == nil && filepath.Base(mod) == "go.mod" {
		return filepath.Dir(mod), nil
	}
	return "", errors.Join(errors.New("run it inside a checkout of the repository"), err)
}

// compile builds both binaries for this machine, and the program that goes into the image for Linux.
func (s *stage) compile() error {
	app := filepath.Join(s.dir, "app")
	if err := os.CopyFS(app, os.DirFS(filepath.Join(s.root, "internal", "demo", "app"))); err != nil {
		return err
	}
	for _, b := range []struct{ out, from, goos string }{
		{filepath.Join(s.dir, "harborpush"), "./cmd/harborpush", ""},
		{filepath.Join(s.dir, "imgbump"), "./cmd/imgbump", ""},
		{filepath.Join(app, "app"), "./internal/demo/app", "linux"},
	} {
		cmd := exec.CommandContext(s.ctx, "go", "build", "-o", b.out, b.from)
		cmd.Dir, cmd.Stderr = s.root, os.Stderr
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if b.goos != "" {
			cmd.Env = append(cmd.Env, "GOOS="+b.goos)
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("compile %s: %w", b.from, err)
		}
	}
	return nil
}

// step runs one of the binaries as a person would, shows what it prints, and returns its standard output.
func (s *stage) step(title, binary string, args ...string) (string, error) {
	fmt.Printf("\n== %s\n$ %s %s\n", title, binary, strings.Join(args, " "))
	var stdout bytes.Buffer
	cmd := exec.CommandContext(s.ctx, filepath.Join(s.dir, binary), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &stdout, os.Stdout
	cmd.Env = append(gittest.Env(), s.env...)
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	os.Stdout.Write(stdout.Bytes())
	fmt.Printf("(%s)\n", seconds(took))
	if err != nil {
		return "", fmt.Errorf("%s: %w", binary, err)
	}
	return stdout.String(), nil
}

// show prints what git says of the server's repository.
func (s *stage) show(title, dir string, args ...string) error {
	out, err := gittest.Git(dir, args...)
	fmt.Printf("\n== %s\n$ git %s\n%s", title, strings.Join(args, " "), out)
	return err
}

// replaceIn replaces text in all files below dir.
func replaceIn(dir, from, to string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, bytes.ReplaceAll(data, []byte(from), []byte(to)), 0o644)
	})
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
