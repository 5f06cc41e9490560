package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestKilled kills harborpush at random points of a push, and runs it again: the image is the same as without, and no layer
// that was finished is sent twice.
func TestKilled(t *testing.T) {
	const points, layers, size = 20, 8, 1 << 20
	harborpush, archive := filepath.Join(t.TempDir(), "harborpush"), savedArchive(t, layers, size)
	if out, err := exec.Command("go", "build", "-o", harborpush, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	calm := &assassin{}
	want, err := calm.push(t, registrytest.Start(t, registrytest.Config{Instead: calm.watch}), harborpush, archive, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	random := rand.New(rand.NewPCG(1, 2))
	for point := range points {
		cache := t.TempDir()
		a := &assassin{bytes: random.Int64N(layers * size)}
		if point%2 == 0 {
			a = &assassin{requests: 1 + random.IntN(calm.met)}
		}
		s := registrytest.Start(t, registrytest.Config{Instead: a.watch})
		if _, err := a.push(t, s, harborpush, archive, cache); err != nil {
			killed++
		}
		a.spare()
		got, err := a.push(t, s, harborpush, archive, cache)
		if err != nil || got != want {
			t.Errorf("point %d: %v, pushed %s, want %s", point, err, got, want)
		}
		closed := map[string]int{}
		for _, r := range s.Requests() {
			query, _ := url.ParseQuery(r.Query)
			if digest := query.Get("digest"); r.Method == http.MethodPut && digest != "" {
				if closed[digest]++; closed[digest] > 1 {
					t.Errorf("point %d (%d requests, %d bytes): %s was sent twice", point, a.requests, a.bytes, digest)
				}
			}
		}
	}
	if killed < points*3/4 {
		t.Errorf("only %d of %d were killed", killed, points)
	}
}

// assassin kills a process when so many requests, or so many bytes of blobs, have reached the registry.
type assassin struct {
	requests int
	bytes    int64

	mu   sync.Mutex
	cmd  *exec.Cmd
	met  int
	seen int64
}

func (a *assassin) spare() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests, a.bytes = 0, 0
}

func (a *assassin) watch(_ http.ResponseWriter, r *http.Request) bool {
	a.note(1, 0)
	r.Body = &witness{r.Body, a}
	return false
}

func (a *assassin) note(requests int, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.met += requests
	a.seen += bytes
	if a.requests > 0 && a.met >= a.requests || a.bytes > 0 && a.seen >= a.bytes {
		a.cmd.Process.Kill()
	}
}

// witness sees the bytes of a request.
type witness struct {
	io.ReadCloser
	assassin *assassin
}

func (w *witness) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.assassin.note(0, int64(n))
	return n, err
}

// push runs the program and returns what it says of the image.
func (a *assassin) push(t *testing.T, s *registrytest.Server, program, archive, cache string) (string, error) {
	t.Helper()
	return a.run(t, exec.Command(program, "push", archive, "--quiet", "-t", s.Host+"/team/app:1"), cache)
}

func (a *assassin) run(t *testing.T, cmd *exec.Cmd, cache string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache, "DOCKER_CONFIG="+cache, "SOURCE_DATE_EPOCH=1767225600")
	a.mu.Lock()
	a.cmd = cmd
	err := cmd.Start()
	a.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	_, digest, _ := strings.Cut(strings.TrimSpace(out.String()), "@")
	return digest, err
}

// savedArchive is an archive as docker save writes it, with layers that are not compressed and cannot be.
func savedArchive(t *testing.T, layers int, size int64) string {
	t.Helper()
	var archive bytes.Buffer
	tw := tar.NewWriter(&archive)
	entry := func(to *tar.Writer, name string, data []byte) {
		if err := to.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		to.Write(data)
	}
	var names, diffIDs []string
	for i := range layers {
		data := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(i)}).Read(data)
		var layer bytes.Buffer
		lw := tar.NewWriter(&layer)
		entry(lw, "data", data)
		lw.Close()
		names = append(names, fmt.Sprintf("%q", fmt.Sprint(i, ".tar")))
		diffIDs = append(diffIDs, fmt.Sprintf(`"sha256:%x"`, sha256.Sum256(layer.Bytes())))
		entry(tw, fmt.Sprint(i, ".tar"), layer.Bytes())
	}
	entry(tw, "config.json", fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%s]}}`, strings.Join(diffIDs, ",")))
	entry(tw, "manifest.json", fmt.Appendf(nil, `[{"Config":"config.json","Layers":[%s]}]`, strings.Join(names, ",")))
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "saved.tar")
	if err := os.WriteFile(file, archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
