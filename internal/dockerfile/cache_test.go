package dockerfile_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// machine is one that builds with a cache in a registry, and knows nothing of other machines.
type machine struct {
	*testCase
	server  *registrytest.Server
	temp    string
	client  *registry.Client
	caching dockerfile.Caching
	sandbox *pretend
	runner  dockerfile.Sandbox // in its place
	warned  []string
	fetched []string
	remote  string // what is at every address
	sealed  bool   // no layer of a base image may be read
}

func (m *machine) download(_ context.Context, address string) (*os.File, time.Time, error) {
	m.fetched = append(m.fetched, address)
	file := filepath.Join(m.temp, fmt.Sprint(len(m.fetched)))
	if err := os.WriteFile(file, []byte(m.remote), 0o600); err != nil {
		return nil, time.Time{}, err
	}
	f, err := os.Open(file)
	return f, time.Now(), err
}

func (m *machine) clone(ctx context.Context, r dockerfile.Repository) (*os.File, error) {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "file", Mode: 0o644, Size: int64(len(m.remote))})
	io.WriteString(tw, m.remote)
	err = errors.Join(err, tw.Close())
	before := m.remote
	m.remote = b.String()
	f, _, ferr := m.download(ctx, r.Address)
	m.remote = before
	return f, errors.Join(err, ferr)
}

func (m *machine) base(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error) {
	img, err := bases(ctx, ref, platform)
	if m.sealed && err == nil {
		img = sealed{img}
	}
	return img, err
}

// sealed is an image whose layers nobody may read.
type sealed struct{ v1.Image }

func (s sealed) Layers() ([]v1.Layer, error) {
	layers, err := s.Image.Layers()
	for i, l := range layers {
		layers[i] = sealedLayer{l}
	}
	return layers, err
}

type sealedLayer struct{ v1.Layer }

var errSealed = errors.New("a layer of the base image was read")

func (sealedLayer) Compressed() (io.ReadCloser, error)   { return nil, errSealed }
func (sealedLayer) Uncompressed() (io.ReadCloser, error) { return nil, errSealed }

func newMachine(t *testing.T, s *registrytest.Server, c *testCase) *machine {
	t.Helper()
	m := &machine{testCase: c, server: s, temp: t.TempDir(), client: registry.New(registry.Options{}), sandbox: &pretend{layers: map[string][]byte{}}}
	var mu sync.Mutex
	kept := []dockerfile.Cache{m.client.StepCache(t.Context(), cacheRepo(s))}
	m.caching = dockerfile.Caching{Explain: true, From: kept, To: kept, Warn: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		m.warned = append(m.warned, err.Error())
	}}
	return m
}

func cacheRepo(s *registrytest.Server) imageref.Ref {
	return imageref.Ref{Registry: s.Host, Repository: "sandbox/cache"}
}

// run builds, and tells of each instruction that may make a layer whether it was a hit, or why not.
func (m *machine) run(t *testing.T) (dockerfile.Image, []string) {
	t.Helper()
	img, steps, err := m.tryRun(t)
	must(t, err)
	return img, steps
}

func (m *machine) tryRun(t *testing.T) (dockerfile.Image, []string, error) {
	t.Helper()
	f, err := dockerfile.Parse("Dockerfile", m.dockerfile, m.opts)
	must(t, err)
	root, err := os.OpenRoot(m.dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	src := dockerfile.Sources{Context: dockerfile.Folder(root), Ignore: m.ignore, Base: m.base, Sandbox: m.sandbox, Caching: m.caching}
	src.Download, src.Clone = m.download, m.clone
	if m.runner != nil {
		src.Sandbox = m.runner
	}
	var steps []string
	images, err := dockerfile.Build(t.Context(), src, func(s dockerfile.Step) {
		word, _, _ := strings.Cut(s.Instruction, " ")
		if s.Done && slices.Contains([]string{"COPY", "ADD", "RUN", "WORKDIR"}, word) {
			verdict := "hit"
			if !s.Cached {
				verdict = "miss: " + s.Why
			}
			steps = append(steps, s.Instruction+" "+verdict)
		}
	}, f)
	if err != nil {
		return dockerfile.Image{}, steps, err
	}
	return images[0], steps, nil
}

// pretend is a sandbox in which each command writes what it was told, and what below it lies, to /ran.
type pretend struct {
	mu     sync.Mutex
	layers map[string][]byte
	ran    [][]string
	broken string // a command that fails
	salt   string // goes into what commands write
}

func (p *pretend) Unpack(_ context.Context, id string, layers ...io.Reader) error {
	for _, l := range layers {
		if _, err := io.Copy(io.Discard, l); err != nil {
			return err
		}
	}
	return nil
}

func (p *pretend) Run(_ context.Context, s step.Process) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ran = append(p.ran, s.Args)
	if p.broken != "" && strings.Contains(strings.Join(s.Args, " "), p.broken) {
		return &step.ExitError{Code: 3}
	}
	text := fmt.Sprintf("%q", s.Args) + p.salt
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "ran", Mode: 0o644, Size: int64(len(text))})
	io.WriteString(tw, text)
	tw.Close()
	p.layers[s.Layer] = b.Bytes()
	return nil
}

func (p *pretend) Headers(_ context.Context, id string) ([]*tar.Header, error) {
	r, _ := p.Open(context.Background(), id)
	hdr, err := tar.NewReader(r).Next()
	return []*tar.Header{hdr}, err
}

func (p *pretend) Open(_ context.Context, id string) (io.ReadCloser, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return io.NopCloser(bytes.NewReader(p.layers[id])), nil
}

func (p *pretend) File(_ context.Context, id, name string) (io.ReadCloser, error) {
	r, _ := p.Open(context.Background(), id)
	tr := tar.NewReader(r)
	_, err := tr.Next()
	return io.NopCloser(tr), err
}

func (p *pretend) SaveCache(context.Context, string) (io.ReadCloser, error) { return nil, nil }
func (p *pretend) LoadCache(context.Context, string, io.Reader) error       { return nil }

const chained = `FROM debian:12
ARG VERSION=1
WORKDIR /app
COPY package.json ./
RUN install $VERSION
COPY . .
RUN compile
ENV PORT=80
`

func digestOf(t *testing.T, img v1.Image) string {
	t.Helper()
	for _, l := range layersOf(t, img) {
		_, err := l.Digest()
		must(t, err)
	}
	d, err := img.Digest()
	must(t, err)
	return d.String()
}

func layersOf(t *testing.T, img v1.Image) []v1.Layer {
	t.Helper()
	layers, err := img.Layers()
	must(t, err)
	return layers
}

// TestCacheHit builds on two machines that share a repository: the second reads no file of the base image, runs nothing and
// sends one small request for each step.
func TestCacheHit(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	c := withFiles(t, chained, map[string][]byte{"package.json": []byte("{}"), "main.js": []byte("1")})
	first := newMachine(t, s, c)
	img, steps := first.run(t)
	for _, line := range steps {
		if !strings.Contains(line, "miss: ") {
			t.Errorf("%s in an empty cache", line)
		}
	}
	want := digestOf(t, img)
	receipt, err := first.client.Push(t.Context(), img.Image, []imageref.Ref{{Registry: s.Host, Repository: "sandbox/app", Tag: "1"}})
	must(t, err)
	for _, l := range receipt.Layers[2:] { // the base's are on no registry
		if l.Status != image.Mounted {
			t.Errorf("a layer was %s though the cache has it", l.Status)
		}
	}
	s.Forget()
	second := newMachine(t, s, c)
	second.sealed = true
	again, steps := second.run(t)
	if d := diff.Diff([]string{"WORKDIR /app hit", "COPY package.json ./ hit", "RUN install $VERSION hit", "COPY . . hit", "RUN compile hit"}, steps); d != "" {
		t.Error(d)
	}
	if got := digestOf(t, again); got != want {
		t.Errorf("the image is %s, was %s", got, want)
	}
	if len(second.sandbox.ran) > 0 || len(second.warned) > 0 {
		t.Errorf("ran %q, warned %q", second.sandbox.ran, second.warned)
	}
	if gets, all := s.Count("GET", "/manifests/"), len(s.Requests()); gets != 5 || all > 6 {
		t.Errorf("%d manifests and %d requests for 5 steps: %v", gets, all, s.Requests())
	}
}

// verdicts builds and returns "hit" or the reason of each step that may make a layer.
func (m *machine) verdicts(t *testing.T) string {
	t.Helper()
	_, steps := m.run(t)
	var all []string
	for _, s := range steps {
		_, after, _ := strings.Cut(s, " ")
		if strings.HasSuffix(after, " hit") {
			all = append(all, "hit")
			continue
		}
		_, why, _ := strings.Cut(s, "miss: ")
		all = append(all, why)
	}
	return strings.Join(all, "; ")
}

func (c *testCase) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(c.dir, name)
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte(text), 0o644))
}

var someDigest = regexp.MustCompile(`sha256:[0-9a-f]{12}`)

// TestCacheMiss says why a step was not found: each change is told by its name, and what it does not touch is a hit.
func TestCacheMiss(t *testing.T) {
	const rest = "; the step above missed"
	say := func(from, to string) func(*testing.T, *testCase) {
		return func(_ *testing.T, c *testCase) {
			c.dockerfile = bytes.Replace(c.dockerfile, []byte(from), []byte(to), 1)
		}
	}
	tests := []struct {
		name   string
		change func(*testing.T, *testCase)
		want   string
	}{
		{"nothing", func(*testing.T, *testCase) {}, "hit; hit; hit; hit; hit"},
		{"a time", func(t *testing.T, c *testCase) {
			must(t, os.Chtimes(filepath.Join(c.dir, "main.js"), created, created))
		}, "hit; hit; hit; hit; hit"},
		{"settings", say("PORT=80", "PORT=81"), "hit; hit; hit; hit; hit"},
		{"a comment", say("COPY . .", "# all\nCOPY . ."), "hit; hit; hit; hit; hit"},
		{"a file", func(t *testing.T, c *testCase) { c.write(t, "main.js", "2") }, "hit; hit; hit; main.js changed" + rest},
		{"a file that is copied alone", func(t *testing.T, c *testCase) { c.write(t, "package.json", "{1}") }, "hit; package.json changed" + strings.Repeat(rest, 3)},
		{"a mode", func(t *testing.T, c *testCase) { must(t, os.Chmod(filepath.Join(c.dir, "main.js"), 0o755)) }, "hit; hit; hit; main.js changed" + rest},
		{"a new file", func(t *testing.T, c *testCase) { c.write(t, "new/er.js", "2") }, "hit; hit; hit; new is new, new/er.js is new" + rest},
		{"a file less", func(t *testing.T, c *testCase) { must(t, os.Remove(filepath.Join(c.dir, "main.js"))) }, "hit; hit; hit; main.js is gone" + rest},
		{"an ignored file", func(t *testing.T, c *testCase) { c.write(t, "main.log", "2") }, "hit; hit; hit; hit; hit"},
		{"an argument", func(_ *testing.T, c *testCase) { c.opts.Args["VERSION"] = "2" }, `hit; hit; ARG VERSION changed: 1 -> 2` + rest + rest},
		{"the base", say("debian:12", "evil:1"), "base image changed: DIGEST -> DIGEST" + strings.Repeat(rest, 4)},
		{"a command", say("RUN compile", "RUN compile -O"), `hit; hit; hit; hit; instruction changed: RUN ["/bin/sh" "-c" "compile"] -> RUN ["/bin/sh" "-c" "compile -O"]`},
		{"a user", say("RUN compile", "USER 1000\nRUN compile"), `hit; hit; hit; hit; USER is new`},
		{"an owner", say("COPY . .", "COPY --chown=1:2 . ."), `hit; hit; hit; instruction changed: COPY . . -> COPY --chown=1:2 . .` + rest},
		{"one step less", say("RUN install $VERSION\n", ""), "hit; hit; the step above changed; the step above missed"},
	}
	s := registrytest.Start(t, registrytest.Config{})
	files := map[string][]byte{"package.json": []byte("{}"), "main.js": []byte("1"), ".dockerignore": []byte("*.log\n")}
	ready := func(t *testing.T) *machine {
		c := withFiles(t, chained, files)
		c.ignore = files[".dockerignore"]
		return newMachine(t, s, c)
	}
	newMachine(t, s, ready(t).testCase).run(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := ready(t)
			test.change(t, m.testCase)
			m.caching.To = nil // the others find what the first build kept
			if got := someDigest.ReplaceAllString(m.verdicts(t), "DIGEST"); got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
			if len(m.warned) > 0 {
				t.Error(m.warned)
			}
		})
	}
}
