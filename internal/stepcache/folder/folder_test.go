package folder

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/stepcache"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// layerOf is a layer that is still to be made, with one file.
func layerOf(name, text string) v1.Layer {
	return image.NewLayer(func(tw *tar.Writer) error {
		err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))})
		_, werr := io.WriteString(tw, text)
		return errors.Join(err, werr)
	})
}

func entryOf(name, text string) stepcache.Entry {
	return stepcache.Entry{Layer: layerOf(name, text), History: "COPY " + name, Content: "step-" + name, Parts: []stepcache.Part{{Name: "a", Value: "b"}}}
}

// text is what the one file of a layer holds.
func text(t *testing.T, l v1.Layer) (string, error) {
	t.Helper()
	r, err := l.Uncompressed()
	must(t, err)
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	tr := tar.NewReader(bytes.NewReader(data))
	_, err = tr.Next()
	must(t, err)
	content, err := io.ReadAll(tr)
	return string(content), err
}

func TestKept(t *testing.T) {
	f := New(filepath.Join(t.TempDir(), "a", "cache"))
	if e, err := f.Load(t.Context(), "none"); e != nil || err != nil {
		t.Fatalf("an empty cache has %v, %v", e, err)
	}
	want := entryOf("x", "one")
	kept, err := f.Keep(t.Context(), want, "step-x", "last-x")
	must(t, err)
	digest, err := kept.Digest()
	must(t, err)
	for _, name := range []string{"step-x", "last-x"} {
		got, err := New(f.dir).Load(t.Context(), name)
		must(t, err)
		if d := cmp.Diff([]any{want.History, want.Content, want.Parts}, []any{got.History, got.Content, got.Parts}); d != "" {
			t.Error(d)
		}
		if content, err := text(t, got.Layer); content != "one" || err != nil {
			t.Errorf("%q, %v", content, err)
		}
		if has, _ := got.Layer.Digest(); has != digest {
			t.Errorf("%s is %s", name, has)
		}
	}
	_, err = f.Keep(t.Context(), stepcache.Entry{History: "WORKDIR /"}, "last-x")
	must(t, err)
	if e, err := f.Load(t.Context(), "last-x"); err != nil || e == nil || e.Layer != nil || e.History != "WORKDIR /" {
		t.Errorf("a step without a layer: %v, %v", e, err)
	}
	if e, err := f.Load(t.Context(), "step-x"); err != nil || e == nil || e.Layer == nil {
		t.Errorf("the other name lost its step: %v, %v", e, err)
	}
	left, err := filepath.Glob(filepath.Join(f.dir, "blobs", "sha256", ".incoming*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestTogether has several builds use one folder at the same time.
func TestTogether(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for n := range 24 {
		all.Go(func() {
			f, name := New(dir), fmt.Sprint("step-", n)
			if _, err := f.Keep(t.Context(), entryOf("x", fmt.Sprint("text ", n%5)), name, "last"); err != nil {
				t.Error(err)
			}
			if e, err := f.Load(t.Context(), name); err != nil || e == nil {
				t.Errorf("%s: %v, %v", name, e, err)
			}
		})
	}
	all.Wait()
	for n := range 24 {
		e, err := New(dir).Load(t.Context(), fmt.Sprint("step-", n))
		if err != nil || e == nil {
			t.Fatalf("step %d is gone: %v", n, err)
		}
		if content, err := text(t, e.Layer); err != nil || content != fmt.Sprint("text ", n%5) {
			t.Errorf("step %d: %q, %v", n, content, err)
		}
	}
}

// TestBounded drops what was used longest ago, and never a blob that somebody may be about to name.
func TestBounded(t *testing.T) {
	f := New(t.TempDir())
	f.most = 40_000
	now := time.Now().Add(-48 * time.Hour)
	f.now = func() time.Time { return now }
	keep := func(n int) {
		random := strings.Repeat(fmt.Sprintf("%08x", n*2654435761), 1)
		for len(random) < 8000 {
			random += fmt.Sprintf("%08x", (len(random)*n+7)*2654435761)
		}
		kept, err := f.Keep(t.Context(), entryOf("x", random), fmt.Sprint("step-", n))
		must(t, err)
		digest, _ := kept.Digest()
		all, err := filepath.Glob(filepath.Join(f.dir, "blobs", "sha256", "*"))
		must(t, err)
		for _, blob := range all {
			if stat, err := os.Stat(blob); err == nil && (filepath.Base(blob) == digest.Hex || time.Since(stat.ModTime()) < time.Hour) {
				must(t, os.Chtimes(blob, now, now))
			}
		}
		now = now.Add(2 * time.Hour)
	}
	orphan := func(name string) string {
		file := filepath.Join(f.dir, "blobs", "sha256", name)
		must(t, os.WriteFile(file, make([]byte, 2000), 0o600))
		must(t, os.Chtimes(file, now, now))
		return file
	}
	for n := range 6 {
		keep(n + 1)
		if e, err := f.Load(t.Context(), "step-1"); e == nil || err != nil { // it is used all the time
			t.Fatalf("after %d steps: %v", n+1, err)
		}
	}
	killed := orphan(".incoming-1")
	var coming string
	for n := 6; n < 16; n++ {
		if n == 15 {
			coming = orphan(strings.Repeat("0", 64))
			now = now.Add(rest / 2)
			f.most = 30_000
		}
		keep(n + 1)
		_, err := f.Load(t.Context(), "step-1")
		must(t, err)
	}
	_, total, err := f.blobs()
	must(t, err)
	if _, err := os.Stat(killed); err == nil {
		t.Error("what a killed build left stays")
	}
	if _, err := os.Stat(coming); err != nil {
		t.Error("a blob went that a build was about to name")
	}
	old, _ := f.Load(t.Context(), "step-2")
	used, _ := f.Load(t.Context(), "step-1")
	latest, _ := f.Load(t.Context(), "step-16")
	if total > f.most+10_000 || old != nil || used == nil || latest == nil {
		t.Errorf("%d bytes; old %v, used %v, latest %v", total, old, used, latest)
	}
}

// TestDamaged never gives what is not what was kept.
func TestDamaged(t *testing.T) {
	spoil := map[string]func(t *testing.T, f *Folder, layer string){
		"a layer that is gone": func(t *testing.T, _ *Folder, layer string) { must(t, os.Remove(layer)) },
		"a layer that is cut":  func(t *testing.T, _ *Folder, layer string) { must(t, os.Truncate(layer, 10)) },
		"a manifest that is another": func(t *testing.T, f *Folder, _ string) {
			index, err := f.index()
			must(t, err)
			must(t, os.WriteFile(f.blob(index.Manifests[0].Digest), []byte("{}"), 0o600))
		},
		"no manifest": func(t *testing.T, f *Folder, _ string) {
			index, err := f.index()
			must(t, err)
			must(t, os.Remove(f.blob(index.Manifests[0].Digest)))
		},
	}
	for name, damage := range spoil {
		t.Run(name, func(t *testing.T) {
			f, layer := damaged(t, damage)
			if e, err := f.Load(t.Context(), "step"); e != nil || !errors.Is(err, stepcache.ErrLost) || !strings.Contains(err.Error(), f.dir) {
				t.Errorf("%v, %v", e, err)
			}
			if _, err := f.Keep(t.Context(), entryOf("x", "one"), "step"); err != nil {
				t.Errorf("it cannot be kept again: %v", err)
			}
			if _, err := os.Stat(layer); err != nil {
				t.Error(err)
			}
			if e, err := f.Load(t.Context(), "step"); e == nil || err != nil {
				t.Error(err)
			}
		})
	}
	f, _ := damaged(t, func(t *testing.T, _ *Folder, layer string) {
		data, err := os.ReadFile(layer)
		must(t, err)
		data[len(data)/2] ^= 1
		must(t, os.WriteFile(layer, data, 0o600))
	})
	e, err := f.Load(t.Context(), "step")
	must(t, err)
	if r, err := e.Layer.Compressed(); err != nil {
		t.Error(err)
	} else if _, err := io.Copy(io.Discard, r); !errors.Is(err, stepcache.ErrLost) {
		t.Errorf("a flipped bit: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(f.dir, "index.json"), []byte("{"), 0o600))
	if _, err := f.Load(t.Context(), "step"); err == nil {
		t.Error("a damaged index is not told of")
	}
	_, err = f.Keep(t.Context(), entryOf("x", "two"), "step")
	must(t, err)
	if e, err := f.Load(t.Context(), "step"); e == nil || err != nil {
		t.Errorf("a damaged index is not replaced: %v", err)
	}
}

func damaged(t *testing.T, damage func(*testing.T, *Folder, string)) (f *Folder, layer string) {
	f = New(t.TempDir())
	kept, err := f.Keep(t.Context(), entryOf("x", "one"), "step")
	must(t, err)
	digest, _ := kept.Digest()
	damage(t, f, f.blob(digest))
	return f, f.blob(digest)
}

// TestRefused names the folder that cannot be used.
func TestRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	f := New(file)
	if _, err := f.Keep(t.Context(), entryOf("x", "one"), "step"); err == nil || !strings.Contains(err.Error(), file) {
		t.Error(err)
	}
	if _, err := f.Load(t.Context(), "step"); err == nil || !strings.Contains(err.Error(), file) {
		t.Error(err)
	}
}
