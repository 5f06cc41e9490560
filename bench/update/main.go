// Update measures what choosing versions costs: requests and time for lists of tags, for Harbor's dates against those of
// configurations, and for a repository of many applications.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/gittest"
)

func main() {
	dir := flag.String("dir", os.TempDir(), "where the trees are made")
	fleet := flag.Bool("fleet", false, "against Argo CD Image Updater: 60 applications of one repository")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *fleet); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// bench is what the measurements share.
type bench struct {
	ctx          context.Context
	dir, imgbump string
}

func run(ctx context.Context, dir string, fleet bool) error {
	work, err := os.MkdirTemp(dir, "imgbump-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &bench{ctx, work, filepath.Join(work, "imgbump")}
	build := exec.CommandContext(ctx, "go", "build", "-o", b.imgbump, "github.com/ksera524/imgbump/cmd/imgbump")
	build.Stderr, build.Env = os.Stderr, append(os.Environ(), "CGO_ENABLED=0")
	if err := build.Run(); err != nil {
		return fmt.Errorf("compile imgbump: %w", err)
	}
	parts := []func() error{b.lists, b.dates, b.applications}
	if fleet {
		parts = []func() error{b.fleet}
	}
	for _, part := range parts {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// tree writes a folder of so many applications with an image each, and a policy for each image.
func (b *bench) tree(name, host string, images int, policy string) (string, error) {
	dir := filepath.Join(b.dir, name)
	var config strings.Builder
	config.WriteString("version: 1\nimages:\n")
	for i := range images {
		fmt.Fprintf(&config, "  - {name: %s/team/app-%04d, policy: {%s}}\n", host, i, policy)
		folder := filepath.Join(dir, fmt.Sprintf("app-%04d", i))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return "", err
		}
		text := fmt.Sprintf(deployment, i, fmt.Sprintf("%s/team/app-%04d", host, i))
		if err := os.WriteFile(filepath.Join(folder, "deployment.yaml"), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return dir, os.WriteFile(filepath.Join(dir, "imgbump.yaml"), []byte(config.String()), 0o644)
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-%04d
spec:
  template:
    spec:
      containers:
        - name: app
          image: %s:0.9.0
`

// update runs imgbump and tells how long it took.
func (b *bench) update(args ...string) (time.Duration, error) {
	cache, err := os.MkdirTemp(b.dir, "cache-")
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(b.ctx, b.imgbump, append([]string{"update", "--quiet"}, args...)...)
	cmd.Env = append(gittest.Env(), "XDG_CACHE_HOME="+cache, "DOCKER_CONFIG="+cache)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("imgbump update: %w: %.500s", err, output.String())
	}
	return time.Since(start), nil
}

const format = "%-64s %10s  %-12s %s\n"

func row(what, is, wanted string, met bool) {
	verdict := "met"
	if !met {
		verdict = "MISSED"
	}
	fmt.Printf(format, what, is, wanted, verdict)
}

// lists chooses among the names of tags.
func (b *bench) lists() error {
	const images = 1000
	r, err := serve(&registry{tags: 200, latency: 5 * time.Millisecond})
	if err != nil {
		return err
	}
	dir, err := b.tree("lists", r.host, images, "constraint: ^1")
	if err != nil {
		return err
	}
	took, err := b.update("--root", dir, "--dry-run")
	if err != nil {
		return err
	}
	row("1,000 images x 200 tags, 5 ms a request: time", fmt.Sprintf("%.2f s", took.Seconds()), "< 4 s", took < 4*time.Second)
	row("the same: lists asked for", fmt.Sprint(r.lists.Load()), "= 1,000", r.lists.Load() == images)
	return nil
}

// dates chooses by when images were made, of Harbor's list and of each image's configuration.
func (b *bench) dates() error {
	const repositories = 100
	var requests [2]int64
	var times [2]time.Duration
	for i, harbor := range []bool{true, false} {
		r, err := serve(&registry{tags: 500, latency: time.Millisecond, harbor: harbor})
		if err != nil {
			return err
		}
		dir, err := b.tree(fmt.Sprint("dates", i), r.host, repositories, "strategy: newest-build")
		if err != nil {
			return err
		}
		if times[i], err = b.update("--root", dir, "--dry-run"); err != nil {
			return err
		}
		requests[i] = r.requests.Load()
	}
	each := float64(requests[0]) / repositories
	row("100 repositories x 500 tags on Harbor: requests a repository", fmt.Sprintf("%.2f", each), "<= 6", each <= 6)
	fewer, faster := float64(requests[1])/float64(requests[0]), times[1].Seconds()/times[0].Seconds()
	row(fmt.Sprintf("the same: fewer than the %d of a configuration per tag", requests[1]), fmt.Sprintf("%.0fx", fewer), ">= 20x", fewer >= 20)
	row(fmt.Sprintf("the same: faster (%.2f s instead of %.2f s)", times[0].Seconds(), times[1].Seconds()), fmt.Sprintf("%.0fx", faster), ">= 10x", faster >= 10)
	return nil
}

// applications updates a repository of many applications, which is on a git server.
func (b *bench) applications() error {
	const applications = 1000
	r, err := serve(&registry{tags: 10})
	if err != nil {
		return err
	}
	dir, err := b.tree("applications", r.host, applications, "constraint: ^1")
	if err != nil {
		return err
	}
	server, err := gittest.Start(gittest.Options{})
	if err != nil {
		return err
	}
	defer server.Close()
	repository, err := server.Create("team/gitops.git")
	if err != nil {
		return err
	}
	if _, err := repository.Commit("main", "start", os.DirFS(dir)); err != nil {
		return err
	}
	before := len(server.Requests())
	took, err := b.update("--repo", repository.URL, "--branch", "main")
	if err != nil {
		return err
	}
	count, err := gittest.Git(repository.Dir, "rev-list", "--count", "main")
	if err != nil {
		return err
	}
	fetches, pushes := 0, 0
	for _, q := range server.Requests()[before:] {
		if q.Method == "POST" && strings.HasSuffix(q.URL, "git-upload-pack") {
			fetches++
		}
		if q.Method == "POST" && strings.HasSuffix(q.URL, "git-receive-pack") {
			pushes++
		}
	}
	row("1,000 applications in one repository, pushed: time", fmt.Sprintf("%.2f s", took.Seconds()), "< 3 s", took < 3*time.Second)
	row("the same: commits, pushes", fmt.Sprintf("%s - 1, %d", strings.TrimSpace(count), pushes), "2 - 1, 1", strings.TrimSpace(count) == "2" && pushes == 1)
	row("the same: requests to fetch (what there is, and the objects)", fmt.Sprint(fetches), "= 2", fetches == 2)
	return nil
}
