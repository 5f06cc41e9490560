package dockerfile_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	diff "github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/registrytest"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/stepcache"
)

const notKept = "stages that the image does not consist of are not kept (--cache-mode max)"

const staged = `FROM debian:12 AS build
COPY main.js /src/
RUN compile
FROM scratch
COPY --from=build /ran /app
COPY conf /conf
`

func stagedCase(t *testing.T) *testCase {
	return withFiles(t, staged, map[string][]byte{"main.js": []byte("1"), "conf": []byte("c")})
}

// TestCacheStages needs no other stage for a hit; one that has to be carried out again, and comes to the same, costs no more
// than that.
func TestCacheStages(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	img, _ := newMachine(t, s, stagedCase(t)).run(t)
	want := digestOf(t, img)

	m := newMachine(t, s, stagedCase(t))
	m.sealed = true
	if again, steps := m.run(t); len(steps) != 2 || !strings.HasSuffix(steps[0], " hit") || !strings.HasSuffix(steps[1], " hit") || digestOf(t, again) != want {
		t.Errorf("unchanged: %q", steps)
	}
	changed := stagedCase(t)
	changed.write(t, "main.js", "2")
	for range 2 {
		m = newMachine(t, s, changed)
		again, steps := m.run(t)
		ran := len(m.sandbox.ran)
		if d := diff.Diff([]string{"COPY main.js /src/ miss: " + notKept, "RUN compile miss: the step above missed",
			"COPY --from=build /ran /app hit", "COPY conf /conf hit"}, steps); d != "" || ran != 1 || digestOf(t, again) != want {
			t.Errorf("changed: ran %d, %s", ran, d)
		}
		changed.write(t, "main.js", "3")
	}
	m = newMachine(t, s, changed)
	changed.write(t, "main.js", "2")
	if got := m.verdicts(t); got != "hit; hit" {
		t.Errorf("what was found by its content is not found by its name: %s", got)
	}
}

// TestCacheModes keeps other stages' steps only when asked to.
func TestCacheModes(t *testing.T) {
	for all, want := range map[bool]string{false: notKept + "; the step above missed; instruction changed: COPY /ran /app -> COPY /ran /app2; the step above missed",
		true: "hit; hit; instruction changed: COPY /ran /app -> COPY /ran /app2; the step above missed"} {
		s := registrytest.Start(t, registrytest.Config{})
		m := newMachine(t, s, stagedCase(t))
		m.caching.All = all
		m.run(t)
		m = newMachine(t, s, withFiles(t, strings.Replace(staged, "/app", "/app2", 1), map[string][]byte{"main.js": []byte("1"), "conf": []byte("c")}))
		if got := m.verdicts(t); got != want {
			t.Errorf("all %t: %s", all, got)
		}
	}
}

// TestCacheFresh looks nothing up of what is to be fresh, nor of what reads it unless that is the same.
func TestCacheFresh(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	m := newMachine(t, s, stagedCase(t))
	m.caching.All = true
	m.run(t)
	m = newMachine(t, s, stagedCase(t))
	m.caching.Fresh = true
	if got := m.verdicts(t); got != "--no-cache; the step above missed; --no-cache; the step above missed" {
		t.Errorf("fresh: %s", got)
	}
	m = newMachine(t, s, stagedCase(t))
	m.caching.FreshStages = []string{"Build"}
	if got := m.verdicts(t); got != "--no-cache; the step above missed; hit; hit" || len(m.sandbox.ran) != 1 {
		t.Errorf("fresh stage: %s", got)
	}
	m.sandbox.salt = "now it is another one"
	if got := m.verdicts(t); got != "--no-cache; the step above missed; what it reads is made anew; the step above missed" {
		t.Errorf("fresh stage that comes to something else: %s", got)
	}
}

// TestCacheKeepsWhatWasDone keeps the steps before one that fails.
func TestCacheKeepsWhatWasDone(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	c := withFiles(t, chained, map[string][]byte{"package.json": []byte("{}")})
	m := newMachine(t, s, c)
	m.sandbox.broken = "compile"
	if _, _, err := m.tryRun(t); err == nil || !strings.Contains(err.Error(), "exit code 3") {
		t.Fatal(err)
	}
	if got := newMachine(t, s, c).verdicts(t); got != "hit; hit; hit; hit; never built before" {
		t.Error(got)
	}
}

// TestCacheBroken builds without a cache that fails, after one warning, and never takes what is damaged.
func TestCacheBroken(t *testing.T) {
	manifests := func(answer func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			meant := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/step-")
			if meant {
				answer(w, r)
			}
			return meant
		}
	}
	say := func(text string) func(http.ResponseWriter, *http.Request) bool {
		return manifests(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			io.WriteString(w, text)
		})
	}
	hash := "sha256:" + strings.Repeat("0", 64)
	kept := func(config, layers string) string {
		return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + config + `,"layers":[` + layers + `]}`
	}
	tests := map[string]struct {
		config registrytest.Config
		warned string
	}{
		"a web page":                   {registrytest.Config{Instead: say("<!doctype html>")}, "it is no manifest"},
		"another image":                {registrytest.Config{Instead: say(kept(`{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"`+hash+`"}`, ""))}, "not what is kept of a step"},
		"a config that is not its own": {registrytest.Config{Instead: say(kept(`{"mediaType":"application/vnd.imgbump.step.v1+json","size":2,"digest":"`+hash+`","data":"e30="}`, `{"mediaType":"x","size":1,"digest":"`+hash+`"}`))}, "its configuration is damaged"},
		"nothing but configuration": {registrytest.Config{Instead: manifests(func(w http.ResponseWriter, _ *http.Request) {
			io.Copy(w, io.LimitReader(endless{}, 17<<20))
		})}, "more than 16 MiB"},
		"a refusal":        {registrytest.Config{Instead: manifests(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })}, "403"},
		"no right to push": {registrytest.Config{Projects: []string{"sandbox"}, Public: []string{"sandbox"}}, ""},
		"read-only":        {registrytest.Config{ReadOnly: true}, "read only"},
		"a full project":   {registrytest.Config{Projects: []string{"sandbox"}, Public: []string{"sandbox"}, Quota: map[string]int64{"sandbox": 1}}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, test.config)
			m := newMachine(t, s, stagedCase(t))
			img, steps := m.run(t)
			digestOfMade(t, img)
			if strings.Contains(strings.Join(steps, ""), " hit") {
				t.Errorf("%q", steps)
			}
			if len(m.warned) == 0 || len(m.warned) > 2 || !strings.Contains(m.warned[0], test.warned) {
				t.Errorf("warned %q", m.warned)
			}
		})
	}
	s := registrytest.Start(t, registrytest.Config{})
	m := newMachine(t, s, stagedCase(t))
	s.Close()
	m.run(t)
	if len(m.warned) != 2 {
		t.Errorf("warned %q of a registry that is down", m.warned)
	}
}

// digestOfMade reads the layers that were made.
func digestOfMade(t *testing.T, img v1.Image) {
	t.Helper()
	for _, l := range layersOf(t, img) {
		r, err := l.Compressed()
		must(t, err)
		_, err = io.Copy(io.Discard, r)
		must(t, errors.Join(err, r.Close()))
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// names is a cache that finds nothing, and tells what would be kept of the last step.
type names struct {
	mu    sync.Mutex
	last  map[string]string // by history
	parts []stepcache.Part
}

func (n *names) Load(context.Context, string) (*stepcache.Entry, error) { return nil, nil }

func (n *names) Keep(_ context.Context, e stepcache.Entry, names ...string) (v1.Layer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last[e.History], n.parts = names[0], e.Parts
	return e.Layer, nil
}

// TestCacheNames gives another name to each step that may come to something else, and the same to one that may not.
func TestCacheNames(t *testing.T) {
	name := func(t *testing.T, text string, change func(*testCase)) string {
		t.Helper()
		c := withFiles(t, "FROM debian:12\n"+text+"\n", map[string][]byte{"a": []byte("a"), "b": []byte("b"), "c.tar": tarball(t, "f x 644 x")})
		if change != nil {
			change(c)
		}
		m := newMachine(t, registrytest.Start(t, registrytest.Config{}), c)
		n := &names{last: map[string]string{}}
		m.caching.From, m.caching.To, m.caching.All = nil, []dockerfile.Cache{n}, true
		img, _ := m.run(t)
		digestOfMade(t, img)
		history := ""
		config, err := img.ConfigFile()
		must(t, err)
		for _, h := range config.History {
			history = h.CreatedBy
		}
		return n.last[history]
	}
	seen := map[string]string{}
	for _, text := range []string{
		"COPY a /x", "COPY b /x", "COPY a /y", "COPY a /x/", "COPY --chown=1 a /x", "COPY --chmod=600 a /x", "COPY --link a /x", "COPY --parents a /x",
		"COPY a b /x/", "COPY --exclude=b a b /x/", "COPY <<x /x\na\nx", "COPY <<x /x\nb\nx", "WORKDIR /x\nCOPY a y", "WORKDIR /y\nCOPY a y",
		"ADD a /x", "ADD c.tar /x", "ADD --unpack=false c.tar /x", "WORKDIR /w", "WORKDIR /v", "USER app\nWORKDIR /w",
		"RUN x", "RUN y", `RUN ["x"]`, "SHELL [\"/bin/bash\", \"-c\"]\nRUN x", "USER 1\nRUN x", "USER 1:2\nRUN x", "ENV A=1\nRUN x", "ENV A=2\nRUN x",
		"ARG A=1\nRUN x", "ARG A=2\nRUN x", "WORKDIR /\nWORKDIR /w\nRUN x", "RUN --network=none x", "RUN --network=host x", "RUN <<E\nx\nE", "RUN <<E\ny\nE",
		"RUN <<E\n#!/bin/x\nE", "RUN <<E\n#!/bin/x\ny\nE", "RUN --mount=type=cache,target=/c x", "RUN --mount=type=cache,target=/c,id=d x",
		"RUN --mount=type=cache,target=/c,sharing=locked x", "RUN --mount=type=cache,target=/d x", "RUN --mount=type=tmpfs,target=/c x", "RUN --mount=type=tmpfs,target=/c,size=1m x",
		"RUN --mount=target=/c x", "RUN --mount=source=a,target=/c x", "RUN --mount=source=a,target=/c,rw x", "RUN --mount=source=b,target=/c x", "RUN --mount=from=debian:12,target=/c x",
		"RUN --mount=type=secret,id=s x", "RUN --mount=type=secret,id=s,env=S x", "RUN --mount=type=secret,id=s,uid=1 x", "RUN --mount=type=secret,id=s,gid=1 x",
		"RUN --mount=type=secret,id=s,mode=0444 x", "RUN --mount=type=secret,id=s,uid=1,gid=2,mode=0444 x",
		"COPY --exclude=a --exclude=b . /x", `COPY --exclude="a b" . /x`, "COPY --from=debian:12 etc/passwd /", "COPY --from=debian:12 etc/group /", "RUN --mount=type=ssh x",
	} {
		got := name(t, text, nil)
		if other, known := seen[got]; known || got == "" {
			t.Errorf("%q is named as %q: %s", text, other, got)
		}
		seen[got] = text
	}
	for what, change := range map[string]func(*testCase){
		"content":  func(c *testCase) { c.write(t, "a", "c") },
		"epoch":    func(c *testCase) { c.opts.Args["SOURCE_DATE_EPOCH"] = "1" },
		"platform": func(c *testCase) { c.opts.Platform.Variant = "v2" },
		"hosts":    func(c *testCase) { c.opts.Hosts = []string{"127.0.0.1 x"} },
		"hostname": func(c *testCase) { c.opts.Hostname = "x" },
		"shm":      func(c *testCase) { c.opts.ShmSize = 1 },
		"platform without a base": func(c *testCase) {
			c.dockerfile = []byte("FROM scratch\nCOPY a /a\nRUN x")
			c.opts.Platform.Variant = "v2"
		},
		"no base": func(c *testCase) { c.dockerfile = []byte("FROM scratch\nCOPY a /a\nRUN x") },
		"limits":  func(c *testCase) { c.opts.Limits = []string{"nofile=1"} },
		"network": func(c *testCase) { c.opts.Network = "none" },
	} {
		if got := name(t, "COPY a /a\nRUN x", change); seen[got] != "" || got == "" {
			t.Errorf("%s does not count", what)
		} else {
			seen[got] = what
		}
	}
	same := name(t, "RUN --mount=source=a,target=/c x", func(c *testCase) { c.write(t, "b", "c") })
	if seen[same] != "RUN --mount=source=a,target=/c x" {
		t.Error("a file that is not mounted counts")
	}
}

// meddler is a sandbox in which something else changes the build context meanwhile.
type meddler struct {
	*pretend
	meddle func()
}

func (m *meddler) Run(ctx context.Context, p step.Process) error {
	m.meddle()
	return m.pretend.Run(ctx, p)
}

// TestCacheChangedMeanwhile does not keep files under the name of those that they were when the build began.
func TestCacheChangedMeanwhile(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	c := withFiles(t, "FROM debian:12\nRUN x\nCOPY a /\nRUN --mount=source=b,target=/b y", map[string][]byte{"a": []byte("1"), "b": []byte("1")})
	m := newMachine(t, s, c)
	m.runner = &meddler{m.sandbox, func() { c.write(t, "a", "2") }}
	img, _ := m.run(t)
	digestOfMade(t, img)
	if len(m.warned) != 1 || !strings.Contains(m.warned[0], "files changed while") {
		t.Errorf("warned %q", m.warned)
	}
	c.write(t, "a", "1")
	m = newMachine(t, s, c)
	m.runner = &meddler{m.sandbox, func() { c.write(t, "b", "2") }}
	if _, steps := m.run(t); strings.HasSuffix(steps[1], " hit") {
		t.Errorf("%q", steps)
	}
	if len(m.warned) != 1 {
		t.Errorf("warned %q", m.warned)
	}
	if got := newMachine(t, s, c).verdicts(t); got != "hit; hit; b changed" {
		t.Error(got)
	}
}

// TestCachePlatforms keeps and finds the steps of several platforms, with what they share.
func TestCachePlatforms(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	c := withFiles(t, "FROM --platform=$BUILDPLATFORM scratch AS tool\nCOPY a /tool\nFROM debian:12\nARG TARGETARCH\nWORKDIR /$TARGETARCH\nCOPY --from=tool /tool .\nCOPY a /",
		map[string][]byte{"a": []byte("1")})
	build := func() (hits, misses int) {
		m := newMachine(t, s, c)
		var files []*dockerfile.File
		for _, p := range twoPlatforms {
			c.opts.Platform = p
			f, err := dockerfile.Parse("Dockerfile", c.dockerfile, c.opts)
			must(t, err)
			files = append(files, f)
		}
		root, err := os.OpenRoot(c.dir)
		must(t, err)
		t.Cleanup(func() { root.Close() })
		src := dockerfile.Sources{Context: dockerfile.Folder(root), Base: m.base, Caching: m.caching}
		images, err := dockerfile.Build(t.Context(), src, func(s dockerfile.Step) {
			if s.Done && s.Cached {
				hits++
			} else if s.Done && s.Why != "" {
				misses++
			}
		}, files...)
		must(t, err)
		for _, img := range images {
			digestOfMade(t, img)
		}
		if len(m.warned) > 0 {
			t.Error(m.warned)
		}
		return hits, misses
	}
	if hits, misses := build(); hits != 0 || misses != 7 {
		t.Errorf("first %d hits, %d misses", hits, misses)
	}
	if hits, misses := build(); hits != 6 || misses != 0 {
		t.Errorf("then %d hits, %d misses", hits, misses)
	}
}

// TestCacheTogether has several machines build the same at the same time.
func TestCacheTogether(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	var machines []*machine
	for range 4 {
		machines = append(machines, newMachine(t, s, stagedCase(t)))
	}
	var all sync.WaitGroup
	for _, m := range machines {
		all.Go(func() {
			if _, _, err := m.tryRun(t); err != nil || len(m.warned) > 0 {
				t.Error(err, m.warned)
			}
		})
	}
	all.Wait()
	if got := newMachine(t, s, stagedCase(t)).verdicts(t); got != "hit; hit" {
		t.Error(got)
	}
}

// TestCacheManyFiles tells the directory when there are too many files to keep the sum of each, and misses none.
func TestCacheManyFiles(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	c := withFiles(t, "FROM scratch\nCOPY . /app/src/", nil)
	for n := range 300 {
		c.write(t, fmt.Sprintf("lib/deep/f%d", n), "1")
		c.write(t, fmt.Sprintf("src/g%d", n), "1")
	}
	c.write(t, "app", "1")
	newMachine(t, s, c).run(t)
	for _, change := range []struct{ name, want string }{
		{"lib/deep/f7", "lib changed"}, {"src/g299", "src changed"}, {"lib/deep/f7", "src changed"}, {"app", "app changed"},
	} {
		c.write(t, change.name, change.name+change.want)
		if got := newMachine(t, s, c).verdicts(t); !strings.Contains(got, change.want) {
			t.Errorf("%s: %s", change.name, got)
		}
		c.write(t, change.name, "1")
		if got := newMachine(t, s, c).verdicts(t); got != "hit" {
			t.Errorf("%s as it was: %s", change.name, got)
		}
	}
}

// late is a cache that reads a layer when the files of its step have changed.
type late struct {
	names
	change func()
	err    error
}

func (l *late) Keep(_ context.Context, e stepcache.Entry, _ ...string) (v1.Layer, error) {
	r, err := e.Layer.Compressed()
	if err == nil {
		defer r.Close()
		_, err = io.CopyN(io.Discard, r, 10)
	}
	l.change()
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	l.err = err
	return e.Layer, err
}

// TestCacheChangedAtTheEnd keeps nothing of files that change while their layer is sent.
func TestCacheChangedAtTheEnd(t *testing.T) {
	c := withFiles(t, "FROM scratch\nCOPY a /", map[string][]byte{"a": []byte("1")})
	m := newMachine(t, registrytest.Start(t, registrytest.Config{}), c)
	l := &late{change: func() { must(t, os.Chtimes(filepath.Join(c.dir, "a"), created, created)) }}
	m.caching.From, m.caching.To = nil, []dockerfile.Cache{l}
	m.run(t)
	if !errors.Is(l.err, image.ErrChanged) || len(m.warned) != 1 {
		t.Errorf("%v, warned %q", l.err, m.warned)
	}
}

// sieve is a cache that has lost some steps.
type sieve struct {
	dockerfile.Cache
	lost func(name string, e *stepcache.Entry) (bool, error)
}

func (s sieve) Load(ctx context.Context, name string) (*stepcache.Entry, error) {
	e, err := s.Cache.Load(ctx, name)
	if e == nil || err != nil || !strings.HasPrefix(name, "step-") {
		return e, err
	}
	if lost, err := s.lost(name, e); lost || err != nil {
		return nil, err
	}
	return e, nil
}

// TestCacheHoles finds no step below one that is lost, and goes on asking when one is damaged.
func TestCacheHoles(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	based := func() *machine {
		return newMachine(t, s, withFiles(t, "FROM debian:12 AS base\nCOPY a /lost\nFROM base\nCOPY a /b", map[string][]byte{"a": []byte("1")}))
	}
	based().run(t)
	m := based()
	m.caching.From[0] = sieve{m.caching.From[0], func(_ string, e *stepcache.Entry) (bool, error) { return strings.Contains(e.History, "lost"), nil }}
	if got := m.verdicts(t); got != "it is not kept any more; the step above missed" {
		t.Error(got)
	}
	m = newMachine(t, s, stagedCase(t))
	m.caching.All = true
	m.run(t)
	m = newMachine(t, s, stagedCase(t))
	m.caching.From[0] = sieve{m.caching.From[0], func(name string, e *stepcache.Entry) (bool, error) {
		if strings.Contains(e.History, "main.js") {
			return false, stepcache.ErrLost
		}
		return e.Content != "" && e.Content != name, nil
	}}
	if got := m.verdicts(t); got != "it is not kept any more; the step above missed; hit; hit" || len(m.warned) != 1 {
		t.Error(got, m.warned)
	}
}

// TestCacheFreshBase finds nothing that stands on what was made anew.
func TestCacheFreshBase(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	c := withFiles(t, "FROM debian:12 AS base\nRUN x\nFROM debian:12 AS other\nCOPY conf /c\nFROM base\nCOPY --from=other /c /d", map[string][]byte{"conf": []byte("1")})
	m := newMachine(t, s, c)
	m.caching.All = true
	m.run(t)
	m = newMachine(t, s, c)
	m.caching.FreshStages = []string{"base"}
	if got := m.verdicts(t); !strings.HasSuffix(got, "the step above missed") || strings.Count(got, "hit") != 1 {
		t.Error(got)
	}
}

// TestCacheByContent finds what follows a copy from a stage by what was copied, and by nothing else.
func TestCacheByContent(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	var digests []string
	for n, salt := range []string{"", "other", ""} {
		m := newMachine(t, s, withFiles(t, "FROM debian:12 AS build\nCOPY main.js /\nRUN compile\nFROM debian:12\nCOPY --from=build /ran /app\nRUN use", map[string][]byte{"main.js": []byte("1")}))
		m.write(t, "main.js", fmt.Sprint(n))
		m.sandbox.salt = salt
		img, _ := m.run(t)
		layers := layersOf(t, img)
		digest, err := layers[len(layers)-1].DiffID()
		must(t, err)
		digests = append(digests, digest.String())
		if n == 2 && len(m.sandbox.ran) != 1 {
			t.Errorf("ran %q", m.sandbox.ran)
		}
	}
	if digests[0] == digests[1] || digests[0] != digests[2] {
		t.Error(digests)
	}
}

// TestCacheTellsNoSecret keeps no value of what looks like a secret among the parts of a step.
func TestCacheTellsNoSecret(t *testing.T) {
	c := withFiles(t, "FROM debian:12\nARG API_TOKEN\nARG VERSION\nRUN --mount=type=secret,id=s,env=S x", nil)
	c.opts.Args["API_TOKEN"], c.opts.Args["VERSION"] = "S3cret", "1.2"
	m := newMachine(t, registrytest.Start(t, registrytest.Config{}), c)
	n := &names{last: map[string]string{}}
	m.caching.From, m.caching.To = nil, []dockerfile.Cache{n}
	m.run(t)
	if told := fmt.Sprint(n.parts); strings.Contains(told, "S3cret") || !strings.Contains(told, "{ARG VERSION 1.2}") {
		t.Error(told)
	}
}

// TestCacheFetched asks for what is at an address, and not when a checksum or a commit tells it.
func TestCacheFetched(t *testing.T) {
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("1")))
	commit := strings.Repeat("a", 40)
	for text, want := range map[string][]string{
		"ADD http://example.com/x /":                           {"hit true", "x changed true"},
		"ADD --checksum=" + sum + " http://example.com/x /":    {"hit false", "hit false"},
		"ADD https://example.com/x.git /src":                   {"hit true", "file changed true"},
		"ADD https://example.com/x.git#" + commit + " /src":    {"hit false", "hit false"},
		"ADD --keep-git-dir https://example.com/x.git#v1 /src": {"hit true", "file changed true"},
	} {
		s := registrytest.Start(t, registrytest.Config{})
		c := withFiles(t, "FROM scratch\n"+text, nil)
		first := newMachine(t, s, c)
		first.remote = "1"
		first.run(t)
		for i, remote := range []string{"1", "2"} {
			m := newMachine(t, s, c)
			m.remote = remote
			if got := fmt.Sprint(m.verdicts(t), " ", len(m.fetched) > 0); got != want[i] {
				t.Errorf("%s with %s: %s", text, remote, got)
			}
		}
	}
}
