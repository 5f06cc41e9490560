package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/gittest"
)

// world is what a service lives in: a registry with an image for each application, and their repository on a git server.
type world struct {
	registry   net.Listener
	host       string
	git        *gittest.Server
	repository *gittest.Repository
	dir        string
	images     int

	mu     sync.Mutex
	newest map[string]string // tags, by repository
}

func newWorld(dir string, images int) (w *world, err error) {
	w = &world{dir: dir, images: images, newest: map[string]string{}}
	if w.registry, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	w.host = w.registry.Addr().String()
	go http.Serve(w.registry, w)
	if w.git, err = gittest.Start(gittest.Options{}); err != nil {
		return nil, errors.Join(err, w.registry.Close())
	}
	if err := w.fill(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) close() error { return errors.Join(w.registry.Close(), w.git.Close()) }

// ServeHTTP is a registry that has tags to tell, and no more.
func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	name, list := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), "/tags/list")
	if !list {
		return // GET /v2/
	}
	tags := []string{"1.0.0"}
	w.mu.Lock()
	if newest := w.newest[name]; newest != "" {
		tags = append(tags, newest)
	}
	w.mu.Unlock()
	out.Header().Set("Content-Type", "application/json")
	json.NewEncoder(out).Encode(map[string]any{"name": name, "tags": tags})
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-%04[1]d
spec:
  template:
    spec:
      containers:
        - name: app
          image: %[2]s/team/app-%04[1]d:1.0.0 # imgbump: semver 1.x
`

func deploymentOf(image int) string { return fmt.Sprintf("apps/app-%04d/deployment.yaml", image) }

// fill makes the repository.
func (w *world) fill() (err error) {
	tree, err := os.MkdirTemp(w.dir, "tree-")
	if err != nil {
		return err
	}
	for i := range w.images {
		file := filepath.Join(tree, deploymentOf(i))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, fmt.Appendf(nil, deployment, i, w.host), 0o644); err != nil {
			return err
		}
	}
	if w.repository, err = w.git.Create("team/gitops.git"); err != nil {
		return err
	}
	_, err = w.repository.Commit("main", "start", os.DirFS(tree))
	return err
}

// commits counts those of the service.
func (w *world) commits() (n int, err error) {
	out, err := gittest.Git(w.repository.Dir, "rev-list", "--count", "main")
	if err == nil {
		_, err = fmt.Sscan(out, &n)
	}
	return n - 1, err
}

// patience is how long anything may take.
const patience = time.Minute

// until looks often, until it is so.
func until(ctx context.Context, what string, every time.Duration, is func() (bool, error)) error {
	for start := time.Now(); ; time.Sleep(every) {
		ok, err := is()
		switch {
		case ok || err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Since(start) > patience:
			return fmt.Errorf("after %v there is still no %s", patience, what)
		}
	}
}

// moves waits for a commit. It looks at the file that a push writes, since git itself takes its time.
func (w *world) moves(ctx context.Context, commits int) error {
	ref := filepath.Join(w.repository.Dir, "refs", "heads", "main")
	was, err := os.ReadFile(ref)
	if err != nil {
		return err
	}
	if n, err := w.commits(); err != nil || n == commits {
		return err
	}
	return until(ctx, "commit", time.Millisecond, func() (bool, error) {
		is, err := os.ReadFile(ref)
		return err == nil && string(is) != string(was), nil
	})
}

// settles waits until every image has the version.
func (w *world) settles(ctx context.Context, version string) error {
	return until(ctx, "image in version "+version, 50*time.Millisecond, func() (bool, error) {
		out, err := gittest.Git(w.repository.Dir, "grep", "--count", "image: .*:"+version+" ", "main")
		if err != nil {
			return false, nil // none has it
		}
		return strings.Count(out, "\n") == w.images, nil
	})
}
