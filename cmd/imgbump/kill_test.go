package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// TestKilled kills imgbump again and again while it edits several images in hundreds of files. Each file is the old one or
// the new one afterwards, and what is left behind besides is no manifest, so that the next run does not mind.
func TestKilled(t *testing.T) {
	const files, kills = 300, 60
	dir, imgbump := t.TempDir(), build(t)
	said := make([]int, files) // the version that each file says
	for i := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(fileOf(dir, i)), 0o755), os.WriteFile(fileOf(dir, i), threeImages(0), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if err := setThree(t.Context(), imgbump, dir, 1); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(start)
	for i := range said {
		said[i] = 1
	}
	killed, halfway, version := 0, 0, 2
	for random := rand.New(rand.NewPCG(1, 2)); killed < kills; version++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Float64()*float64(whole)))
		start := time.Now()
		err := setThree(ctx, imgbump, dir, version)
		switch {
		case err == nil:
			whole = min(whole, time.Since(start))
		case ctx.Err() != nil:
			killed++
		default:
			t.Fatal(err)
		}
		cancel()
		changed := 0
		for i := range files {
			switch content, err := os.ReadFile(fileOf(dir, i)); {
			case err != nil:
				t.Fatal(err)
			case string(content) == string(threeImages(version)):
				said[i] = version
				changed++
			case string(content) != string(threeImages(said[i])):
				t.Fatalf("run %d left %s neither old nor new:\n%s", version, fileOf(dir, i), content)
			}
		}
		if changed > 0 && changed < files {
			halfway++
		}
	}
	t.Logf("%d runs, %d killed, %d of them between two files", version-2, killed, halfway)
	checkLeftovers(t, dir, files)
	if err := setThree(t.Context(), imgbump, dir, version); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if content, err := os.ReadFile(fileOf(dir, i)); err != nil || string(content) != string(threeImages(version)) {
			t.Errorf("%s: %v, %s", fileOf(dir, i), err, content)
		}
	}
}

// build compiles the binary as a release does, so that it is as fast as one whatever the test is built with.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "imgbump")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func fileOf(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprintf("folder-%02d", i%30), fmt.Sprintf("values-%03d.yaml", i))
}

func threeImages(version int) []byte {
	return fmt.Appendf(nil, "a: {image: team/a:%[1]d}\nb: {image: \"team/b:%[1]d\"} # kept\nc:\n  image: {repository: team/c, tag: \"%[1]d\"}\n", version)
}

// setThree runs the binary, which the end of ctx kills, as kill -9 does.
func setThree(ctx context.Context, imgbump, dir string, version int) error {
	cmd := exec.CommandContext(ctx, imgbump, "set", "--quiet", "--root", dir,
		fmt.Sprintf("team/a:%d", version), fmt.Sprintf("team/b:%d", version), fmt.Sprintf("team/c:%d", version))
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return err
}

// checkLeftovers looks at all files but the manifests, of which there are so many.
func checkLeftovers(t *testing.T, dir string, manifests int) {
	t.Helper()
	left := 0
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if manifest.IsManifest(p, manifest.Rules{Include: true}) {
				manifests--
			} else {
				left++
			}
		}
		return err
	})
	if err != nil || manifests != 0 {
		t.Errorf("%v; %d manifests more or fewer than before", err, -manifests)
	}
	t.Logf("%d temporary files were left behind", left)
}
