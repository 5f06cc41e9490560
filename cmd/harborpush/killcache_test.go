package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestKilledCache kills builds while they keep their steps in a repository and in a folder: the next ones find what was kept
// whole, and nothing else.
func TestKilledCache(t *testing.T) {
	const points, steps, size = 12, 5, 1 << 18
	dir := t.TempDir()
	harborpush := filepath.Join(dir, "harborpush")
	if out, err := exec.Command("go", "build", "-o", harborpush, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := "FROM scratch\n"
	for n := range steps {
		data := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(n)}).Read(data)
		write(t, filepath.Join(dir, "app", fmt.Sprint(n)), data)
		text += fmt.Sprintf("COPY %d /\n", n)
	}
	write(t, filepath.Join(dir, "app", "Dockerfile"), []byte(text))
	build := func(a *assassin, s *registrytest.Server, folder string, more ...string) (digest, said string, err error) {
		cmd := exec.Command(harborpush, append([]string{"build", filepath.Join(dir, "app"), "-t", s.Host + "/team/app:1", "--push",
			"--cache-repo", s.Host + "/team/cache", "--cache-dir", folder, "--explain-cache"}, more...)...)
		var told bytes.Buffer
		cmd.Stderr = &told
		digest, err = a.run(t, cmd, t.TempDir())
		return digest, told.String(), err
	}
	calm := &assassin{}
	want, _, err := build(calm, registrytest.Start(t, registrytest.Config{Instead: calm.watch}), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	random := rand.New(rand.NewPCG(3, 4))
	for point := range points {
		a := &assassin{bytes: random.Int64N(2 * steps * size)}
		if point%2 == 0 {
			a = &assassin{requests: 1 + random.IntN(calm.met)}
		}
		s, folder := registrytest.Start(t, registrytest.Config{Instead: a.watch}), t.TempDir()
		if _, _, err := build(a, s, folder); err != nil {
			killed++
		}
		a.spare()
		for turn, hits := range []int{-1, steps} {
			got, said, err := build(a, s, folder)
			missed := strings.Count(said, "not cached")
			if err != nil || got != want || strings.Contains(said, "warning") || hits >= 0 && missed > 0 {
				t.Errorf("point %d, build %d: %v, %s instead of %s\n%s", point, turn+2, err, got, want, said)
			}
		}
	}
	if killed < points/2 {
		t.Errorf("only %d of %d were killed", killed, points)
	}
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
