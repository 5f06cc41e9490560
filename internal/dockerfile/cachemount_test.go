package dockerfile_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/registrytest"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// withMounts is a sandbox whose cache mounts hold a list of the commands that had them.
type withMounts struct {
	*pretend
	mounts map[string]string
	failed error // of LoadCache
}

func (w *withMounts) Run(ctx context.Context, p step.Process) error {
	for _, m := range p.Mounts {
		if m.Kind == step.Cache && !strings.HasPrefix(p.Args[len(p.Args)-1], "look") {
			w.mounts[m.Cache] += p.Args[len(p.Args)-1] + "\n"
		}
	}
	return w.pretend.Run(ctx, p)
}

func (w *withMounts) SaveCache(_ context.Context, id string) (io.ReadCloser, error) {
	text, there := w.mounts[id]
	if !there {
		return nil, nil
	}
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "list", Mode: 0o644, Size: int64(len(text))})
	_, werr := io.WriteString(tw, text)
	return io.NopCloser(&b), errors.Join(err, werr, tw.Close())
}

func (w *withMounts) LoadCache(_ context.Context, id string, content io.Reader) error {
	tr := tar.NewReader(content)
	if _, err := tr.Next(); err != nil {
		return err
	}
	text, err := io.ReadAll(tr)
	w.mounts[id] = string(text)
	return errors.Join(err, w.failed)
}

// TestCacheMounts gives a cache mount to the next machine as the last left it, and sends it only when it changed.
func TestCacheMounts(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	build := func(command string) (*withMounts, *machine) {
		m := newMachine(t, s, withFiles(t, "FROM debian:12\nRUN --mount=type=cache,id=list,target=/c "+command, nil))
		w := &withMounts{pretend: m.sandbox, mounts: map[string]string{}}
		m.runner = w
		s.Forget()
		m.run(t)
		if len(m.warned) > 0 {
			t.Error(m.warned)
		}
		return w, m
	}
	build("one")
	if w, _ := build("two"); w.mounts["list"] != "one\ntwo\n" {
		t.Errorf("the second machine had %q", w.mounts)
	}
	if s.Count("PUT", "/manifests/mount-") != 1 {
		t.Error("a mount that changed was not kept")
	}
	if w, _ := build("look"); w.mounts["list"] != "one\ntwo\n" || s.Count("HEAD", "/manifests/mount-") != 0 {
		t.Errorf("the third machine had %q, and kept it though it is the same", w.mounts)
	}
	if build("look"); s.Count("GET", "/manifests/mount-") != 0 {
		t.Error("a mount was fetched for a step that is a hit")
	}
}

// TestCacheMountsBroken goes on with what there is, and says so.
func TestCacheMountsBroken(t *testing.T) {
	defer dockerfile.SetMaxMount(4000)()
	s := registrytest.Start(t, registrytest.Config{})
	for _, test := range []struct {
		command, want string
		failed        error
	}{
		{"small", "", nil},
		{"next", "the cache mount list begins empty: disk full", errors.New("disk full")},
		{strings.Repeat("large", 1000), "the cache mount list is not kept: its files are larger than what is kept", nil},
	} {
		m := newMachine(t, s, withFiles(t, "FROM debian:12\nRUN --mount=type=cache,id=list,target=/c "+test.command, nil))
		m.runner = &withMounts{pretend: m.sandbox, mounts: map[string]string{}, failed: test.failed}
		m.run(t)
		if got := strings.Join(m.warned, "; "); got != test.want {
			t.Errorf("%.10s: warned %q", test.command, got)
		}
	}
}
