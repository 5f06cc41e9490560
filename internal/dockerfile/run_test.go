package dockerfile_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/registrytest"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// witness is a sandbox that runs nothing and remembers what it was asked.
type witness struct {
	mu       sync.Mutex
	unpacked map[string][]string // names in a layer, by its id
	steps    []step.Process

	fail  error // of every step
	says  string
	short bool  // reads no tar beyond its end, as a reader of tars may
	full  error // of Unpack, which then reads nothing

	files         int   // that a step writes, 1 when zero
	size          int64 // of each, 1 byte when zero
	opened, asked atomic.Int32
}

func (w *witness) Unpack(_ context.Context, id string, layers ...io.Reader) error {
	if w.full != nil {
		return w.full
	}
	var names []string
	for _, l := range layers {
		tr := tar.NewReader(l)
		for {
			hdr, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			names = append(names, fmt.Sprintf("%s %o", hdr.Name, hdr.Mode))
		}
		if w.short {
			continue
		}
		if _, err := io.Copy(io.Discard, l); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unpacked == nil {
		w.unpacked = map[string][]string{}
	}
	if _, twice := w.unpacked[id]; twice {
		return fmt.Errorf("the layer %s is there already", id)
	}
	w.unpacked[id] = names
	return nil
}

func (w *witness) Run(_ context.Context, p step.Process) error {
	_, _ = io.WriteString(p.Output, w.says)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, p)
	return w.fail
}

func (w *witness) Headers(context.Context, string) (headers []*tar.Header, err error) {
	for i := range max(w.files, 1) {
		headers = append(headers, &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("made-%d", i), Mode: 0o644, Size: max(w.size, 1), ModTime: created})
	}
	return headers, nil
}

func (w *witness) Open(ctx context.Context, id string) (io.ReadCloser, error) {
	w.opened.Add(1)
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	headers, _ := w.Headers(ctx, id)
	for _, hdr := range headers {
		_ = tw.WriteHeader(hdr)
		_, _ = tw.Write(make([]byte, hdr.Size))
	}
	return io.NopCloser(&out), tw.Close()
}

func (w *witness) File(context.Context, string, string) (io.ReadCloser, error) {
	w.asked.Add(1)
	return io.NopCloser(bytes.NewReader(make([]byte, max(w.size, 1)))), nil
}

func (w *witness) SaveCache(context.Context, string) (io.ReadCloser, error) { return nil, nil }
func (w *witness) LoadCache(context.Context, string, io.Reader) error       { return nil }

// counted is a layer that counts how often it is decompressed. It ends with an error if it is broken.
type counted struct {
	v1.Layer
	opened *atomic.Int32
	broken error
}

func (l counted) Compressed() (io.ReadCloser, error) {
	l.opened.Add(1)
	r, err := l.Layer.Compressed()
	if err == nil && l.broken != nil {
		r = io.NopCloser(io.MultiReader(io.LimitReader(r, 500), &cut{l.broken}))
	}
	return r, err
}

type cut struct{ err error }

func (c *cut) Read([]byte) (int, error) { return 0, c.err }

// countedBase is a base image of two layers, each longer than what is handed on at once.
func countedBase(t *testing.T, broken error) (pull func(context.Context, string, v1.Platform) (v1.Image, error), opened []*atomic.Int32) {
	t.Helper()
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}})
	must(t, err)
	for i := range 2 {
		entries := fmt.Sprintf("dir 755 0:0 etc\nfile 644 0:0 etc/passwd \"root:x:0:0::/home/%d:\\n\"\nfile 644 0:0 large%d %q\n", i, i, strings.Repeat("x", 700_000))
		data := append(tarOf(t, entries), make([]byte, 10_000)...) // padding, as GNU tar writes
		opened = append(opened, new(atomic.Int32))
		l := counted{Layer: newTarLayer(gzipped(t, data), types.OCILayer), opened: opened[i]}
		if i == 1 {
			l.broken = broken
		}
		img, err = mutate.AppendLayers(img, l)
		must(t, err)
	}
	for _, o := range opened {
		o.Store(0)
	}
	return func(context.Context, string, v1.Platform) (v1.Image, error) { return img, nil }, opened
}

// runs builds a Dockerfile whose steps are run by w.
func runs(t *testing.T, text string, src dockerfile.Sources, opts dockerfile.Options, progress func(dockerfile.Step)) (v1.Image, error) {
	t.Helper()
	opts.Created, opts.Platform = created, v1.Platform{OS: "linux", Architecture: "amd64"}
	f, err := dockerfile.Parse("Dockerfile", []byte(text), opts)
	must(t, err)
	src.Context = dockerfile.Folder(openRoot(t, t.TempDir()))
	return f.Build(t.Context(), src, progress)
}

func TestBaseIsReadOnce(t *testing.T) {
	for name, text := range map[string]string{
		"run first":  "FROM base\nRUN a\nCOPY <<x /x\nx\nRUN b\n",
		"copy first": "FROM base\nCOPY <<x /x\nx\nRUN a\nUSER root\nRUN b\n",
		"two stages": "FROM base AS one\nRUN a\nFROM base AS two\nRUN b\nFROM one\nCOPY --from=two /etc/passwd /etc/\nRUN c\n",
	} {
		for _, short := range []bool{false, true} {
			pull, opened := countedBase(t, nil)
			w := &witness{short: short}
			_, err := runs(t, text, dockerfile.Sources{Base: pull, Sandbox: w}, dockerfile.Options{}, nil)
			must(t, err)
			for i, o := range opened {
				if o.Load() != 1 {
					t.Errorf("%s: layer %d was read %d times", name, i, o.Load())
				}
			}
			for _, p := range w.steps {
				if !slices.Contains(p.Env, "HOME=/home/1") {
					t.Errorf("%s: not as the upper layer says: %q", name, p.Env)
				}
			}
		}
	}
}

func TestBaseIsNotLaidWithoutRun(t *testing.T) {
	pull, _ := countedBase(t, nil)
	w := &witness{}
	_, err := runs(t, "FROM base AS one\nRUN a\nFROM base\nCOPY <<x /x\nx\n", dockerfile.Sources{Base: pull, Sandbox: w}, dockerfile.Options{}, nil)
	must(t, err)
	if len(w.unpacked) > 0 {
		t.Error("layers in the sandbox that nobody needs", len(w.unpacked))
	}
}

func TestBaseBreaks(t *testing.T) {
	broken := errors.New("the line is cut")
	for _, text := range []string{"FROM base\nRUN a\n", "FROM base\nCOPY <<x /x\nx\nRUN a\n"} {
		pull, _ := countedBase(t, broken)
		if _, err := runs(t, text, dockerfile.Sources{Base: pull, Sandbox: &witness{}}, dockerfile.Options{}, nil); !errors.Is(err, broken) {
			t.Error(err)
		}
		full := errors.New("no space left")
		pull, _ = countedBase(t, nil)
		if _, err := runs(t, text, dockerfile.Sources{Base: pull, Sandbox: &witness{full: full}}, dockerfile.Options{}, nil); !errors.Is(err, full) {
			t.Error(err)
		}
	}
}

// A layer that lies on others names every directory above what it holds, with the mode that it has there.
func TestLayersNameWhatIsAbove(t *testing.T) {
	layer := "dir 711 0:0 a\ndir 700 0:0 a/b\nfile 644 0:0 a/b/old \"x\"\n"
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), newTarLayer(gzipped(t, tarOf(t, layer)), types.OCILayer))
	must(t, err)
	w := &witness{}
	_, err = runs(t, "FROM base\nCOPY <<x /a/b/c/x\nx\nRUN a\n", dockerfile.Sources{Sandbox: w,
		Base: func(context.Context, string, v1.Platform) (v1.Image, error) { return img, nil }}, dockerfile.Options{}, nil)
	must(t, err)
	want := []string{"a/ 711", "a/b/ 700", "a/b/c/ 755", "a/b/c/x 644"}
	if got := w.unpacked[w.steps[0].Below[1]]; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestStepSays(t *testing.T) {
	pull, _ := countedBase(t, nil)
	var said []dockerfile.Step
	w := &witness{says: "working\n"}
	_, err := runs(t, "FROM base\nRUN a\n", dockerfile.Sources{Base: pull, Sandbox: w}, dockerfile.Options{}, func(s dockerfile.Step) { said = append(said, s) })
	must(t, err)
	var events []string
	for _, s := range said {
		if s.Line == 2 {
			events = append(events, fmt.Sprintf("%d %q %t %t", s.Number, s.Output, s.Done, s.Layer != nil))
		}
	}
	if want := []string{`2 "" false false`, `2 "working\n" false false`, `2 "" true true`}; !slices.Equal(events, want) {
		t.Errorf("%q", events)
	}
}

// backwards is a sandbox in which the step a begins after the step b.
type backwards struct {
	*witness
	begun chan struct{}
}

func (s backwards) Run(ctx context.Context, p step.Process) error {
	switch p.Args[len(p.Args)-1] {
	case "a":
		<-s.begun
	case "b":
		close(s.begun)
	}
	return s.witness.Run(ctx, p)
}

// The number of a step is its place in the Dockerfile, whenever it begins.
func TestStepNumbers(t *testing.T) {
	pull, _ := countedBase(t, nil)
	const text = "FROM base AS one\nRUN a\nENV A=1\nFROM base AS two\nRUN b\nFROM one\nCOPY --from=two /etc/passwd /etc/\n"
	_, err := runs(t, text, dockerfile.Sources{Base: pull, Sandbox: backwards{&witness{}, make(chan struct{})}}, dockerfile.Options{}, func(s dockerfile.Step) {
		if s.Number != s.Line || s.Total != 7 {
			t.Errorf("%d/%d in line %d", s.Number, s.Total, s.Line)
		}
	})
	must(t, err)
}

// What is wrong is known before anything is run.
func TestStepRefused(t *testing.T) {
	for text, want := range map[string]struct{ err, hint string }{
		"RUN --mount=type=secret,id=token,required a":        {"the secret token is required, and was not given", "--secret id=token,"},
		"RUN --mount=type=secret,target=/x/token,required a": {"the secret token is required", "--secret id=token,"},
		"RUN --mount=type=ssh,required a":                    {"the SSH agent default is required, and was not given", "--ssh default"},
		"RUN --mount=type=ssh,source=/x a":                   {"--mount=type=ssh has no source", ""},
		"RUN --mount=type=cache,target=/ a":                  {"--mount with target=/: nothing can be mounted there", ""},
		"RUN --mount=type=cache,source=/x,target=/y a":       {"--mount=type=cache has the source /x, and no from= in which that could be", ""},
		"RUN --security=insecure a":                          {"--security=insecure: no step gets more rights than others", "BuildKit"},
		"RUN --device=vendor.com/kind=name a":                {"--device: no step gets devices", "BuildKit"},
		"RUN --mount=from=none:1,target=/x a":                {"reading none:1", ""},
	} {
		w := &witness{}
		pull, _ := countedBase(t, nil)
		build := func() (_ v1.Image, err error) {
			f, err := dockerfile.Parse("Dockerfile", []byte("FROM base\nRUN first\n"+text), dockerfile.Options{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}})
			if err != nil {
				return nil, err
			}
			return f.Build(t.Context(), dockerfile.Sources{Sandbox: w, Context: dockerfile.Folder(openRoot(t, t.TempDir())),
				Base: func(ctx context.Context, ref string, p v1.Platform) (v1.Image, error) {
					if ref != "base" {
						return nil, errors.New("reading " + ref)
					}
					return pull(ctx, ref, p)
				}}, nil)
		}
		_, err := build()
		var located *fault.Error
		if err == nil || !strings.HasPrefix(err.Error(), "Dockerfile:3: "+want.err) || want.hint != "" && !strings.Contains(fault.HintOf(err), want.hint) {
			t.Errorf("%s: %v (%s)", text, err, fault.HintOf(err))
		} else if !errors.As(err, &located) || len(w.steps) > 0 {
			t.Errorf("%s: something was run", text)
		}
	}
}

func TestStepFails(t *testing.T) {
	pull, _ := countedBase(t, nil)
	for name, c := range map[string]struct {
		fail            error
		want, hint      string
		exitCodeIsKnown bool
	}{
		"code":   {&step.ExitError{Code: 3}, "Dockerfile:2: the process ended with exit code 3", "", true},
		"killed": {&step.ExitError{Code: 137, Signal: "SIGKILL"}, "Dockerfile:2: the process was ended by SIGKILL", "memory", true},
		"full": {&fault.Error{Where: "/layers", Hint: "the disk is full", Err: &step.ExitError{Code: 1}},
			"Dockerfile:2: /layers: the process ended with exit code 1", "disk", true},
		"killed as it was full": {&fault.Error{Hint: "the disk is full", Err: &step.ExitError{Code: 137, Signal: "SIGKILL"}},
			"Dockerfile:2: the process was ended by SIGKILL", "disk", true},
		"broken": {errors.New("no space left"), "Dockerfile:2: no space left", "", false},
	} {
		_, err := runs(t, "FROM base\nRUN a\n", dockerfile.Sources{Base: pull, Sandbox: &witness{fail: c.fail}}, dockerfile.Options{}, nil)
		var exit *step.ExitError
		if err == nil || err.Error() != c.want || !strings.Contains(fault.HintOf(err), c.hint) || errors.As(err, &exit) != c.exitCodeIsKnown {
			t.Errorf("%s: %v (%s)", name, err, fault.HintOf(err))
		}
	}
}

// What a caller says about steps arrives, and --network goes before it.
func TestStepOptions(t *testing.T) {
	pull, _ := countedBase(t, nil)
	w := &witness{}
	_, err := runs(t, "FROM base\nRUN a\nRUN --network=host b\n", dockerfile.Sources{Base: pull, Sandbox: w, SSH: map[string]string{"default": "/socket"}},
		dockerfile.Options{Network: step.None, Hosts: []string{"10.0.0.1 one"}, Hostname: "h", ShmSize: 7, Limits: []string{"nofile=1"}}, nil)
	must(t, err)
	first, second := w.steps[0], w.steps[1]
	got := fmt.Sprintf("%s %s %s %s %d %s", first.Network, second.Network, first.Hosts, first.Hostname, first.ShmSize, first.Limits)
	if want := "none host [10.0.0.1 one] h 7 [nofile=1]"; got != want {
		t.Error(diff.Diff(want, got))
	}
	if len(first.Below) != 1 || !slices.Equal(second.Below, append(first.Below, first.Layer)) {
		t.Errorf("the second step stands on %q, the first on %q", second.Below, first.Below)
	}
}

// The layer of a step bears no time after SOURCE_DATE_EPOCH.
func TestStepLayerIsDated(t *testing.T) {
	pull, _ := countedBase(t, nil)
	img, err := runs(t, "FROM base\nRUN a\n", dockerfile.Sources{Base: pull, Sandbox: &witness{}}, dockerfile.Options{Args: map[string]string{"SOURCE_DATE_EPOCH": "1600000000"}}, nil)
	must(t, err)
	layers, err := img.Layers()
	must(t, err)
	r, err := layers[2].Uncompressed()
	must(t, err)
	defer r.Close()
	hdr, err := tar.NewReader(r).Next()
	must(t, err)
	if !hdr.ModTime.Equal(time.Unix(1600000000, 0)) {
		t.Error(hdr.ModTime)
	}
}

// A step that no platform changes is run once for all of them; one that may see the platform is not.
func TestStepsArePlatformsOwn(t *testing.T) {
	const foreign = "FROM --platform=linux/amd64 base AS foreign\nARG TARGETARCH\nRUN a\n"
	const made = "FROM --platform=linux/amd64 base AS made\n"
	for stages, want := range map[string]int{
		made + "RUN a\n":                                                1,
		made + "ARG OTHER=1\nRUN a\n":                                   1,
		made + "ARG TARGETARCH\nRUN a\n":                                2,
		foreign + made + "RUN --mount=from=foreign,target=/x b\n":       4,
		foreign + "FROM foreign AS made\nRUN b\n":                       4,
		foreign + made + "RUN --mount=from=none,target=/x b\n":          2,
		made + "RUN --mount=target=/x --mount=type=cache,target=/y a\n": 1,
	} {
		pull, _ := countedBase(t, nil)
		w := &witness{}
		text := stages + "FROM scratch\nCOPY --from=made /etc /etc\n"
		var files []*dockerfile.File
		for _, arch := range []string{"amd64", "arm64"} {
			f, err := dockerfile.Parse("Dockerfile", []byte(text), dockerfile.Options{Platform: v1.Platform{OS: "linux", Architecture: arch}})
			must(t, err)
			files = append(files, f)
		}
		_, err := dockerfile.Build(t.Context(), dockerfile.Sources{Base: pull, Sandbox: w, Context: dockerfile.Folder(openRoot(t, t.TempDir()))}, nil, files...)
		must(t, err)
		if len(w.steps) != want {
			t.Errorf("%s\n%d steps, not %d", text, len(w.steps), want)
		}
	}
}

// Many files of a step are read as its layer is, once; a few of a large layer are asked for.
func TestStepFilesAreReadTogether(t *testing.T) {
	for text, want := range map[string]string{
		"COPY --from=made /made-* /x/\n":         "1 0",
		"COPY --from=made /made-1 /made-2 /x/\n": "0 2",
	} {
		pull, _ := countedBase(t, nil)
		w := &witness{files: 50, size: 100_000}
		img, err := runs(t, "FROM base AS made\nRUN a\nFROM scratch\n"+text, dockerfile.Sources{Base: pull, Sandbox: w}, dockerfile.Options{}, nil)
		must(t, err)
		w.opened.Store(0)
		layers, err := img.Layers()
		must(t, err)
		r, err := layers[0].Uncompressed()
		must(t, err)
		_, err = io.Copy(io.Discard, r)
		must(t, err)
		must(t, r.Close())
		if got := fmt.Sprint(w.opened.Load(), w.asked.Load()); got != want {
			t.Errorf("%s: opened and asked %s, not %s", text, got, want)
		}
	}
}

// replacing is a sandbox whose first step makes /d with a file in it, and whose second makes /d anew, with another.
type replacing struct{ *pretend }

func (s replacing) Run(ctx context.Context, p step.Process) error {
	err := s.pretend.Run(ctx, p)
	s.layers[p.Layer] = s.tar(p.Args)
	return err
}

func (s replacing) tar(args []string) []byte {
	names := []string{"d/", "d/first"}
	if args[len(args)-1] == "second" {
		names = []string{"d/", "d/.wh..wh..opq", "d/second"}
	}
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, name := range names {
		_ = tw.WriteHeader(&tar.Header{Name: name, Mode: 0o755}) // a directory, if the name ends so
	}
	_ = tw.Close()
	return b.Bytes()
}

func (s replacing) Headers(ctx context.Context, id string) (all []*tar.Header, err error) {
	r, _ := s.Open(ctx, id)
	for tr := tar.NewReader(r); ; {
		hdr, err := tr.Next()
		if err != nil {
			return all, nil
		}
		all = append(all, hdr)
	}
}

// What a step hides is what steps before it made, not its own: when both are carried out, and when a cache has them.
func TestStepsHideWhatIsBelow(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	for _, to := range []string{"/a/", "/b/"} {
		m := newMachine(t, s, withFiles(t, "FROM debian:12 AS made\nRUN first\nRUN second\nFROM scratch\nCOPY --from=made /d "+to, nil))
		m.caching.All = true
		m.runner = replacing{m.sandbox}
		img, steps := m.run(t)
		if to == "/b/" && len(m.sandbox.ran) > 0 {
			t.Errorf("%q", steps)
		}
		r, err := layersOf(t, img)[0].Uncompressed()
		must(t, err)
		if got := list(t, r); !strings.Contains(got, to[1:]+"second") || strings.Contains(got, "first") {
			t.Error(got)
		}
	}
}
