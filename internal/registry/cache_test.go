package registry_test

import (
	"archive/tar"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
	"github.com/ksera524/imgbump/internal/stepcache"
)

func stepLayer(text string) v1.Layer {
	return image.NewLayer(func(tw *tar.Writer) error {
		err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Mode: 0o644, Size: int64(len(text))})
		_, werr := io.WriteString(tw, text)
		return errors.Join(err, werr)
	})
}

func stepRepo(s *registrytest.Server) imageref.Ref {
	return imageref.Ref{Registry: s.Host, Repository: "sandbox/cache", Tag: "does-not-matter"}
}

// TestStepCache keeps a step, finds it on another machine with one request, and pushes it from there without a byte.
func TestStepCache(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	entry := stepcache.Entry{Layer: stepLayer("text"), History: "COPY x", Content: "step-2", Parts: []stepcache.Part{{Name: "file x", Value: "#1"}}}
	first := client(s)
	made, err := first.StepCache(t.Context(), stepRepo(s)).Keep(t.Context(), entry, "step-1", "step-2", "last-1")
	if err != nil {
		t.Fatal(err)
	}
	other := client(s)
	cache := other.StepCache(t.Context(), stepRepo(s))
	if e, err := cache.Load(t.Context(), "step-3"); e != nil || err != nil {
		t.Errorf("what was not kept is %v, %v", e, err)
	}
	s.Forget()
	for _, name := range []string{"step-1", "step-2", "last-1"} {
		found, err := cache.Load(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]any{entry.History, entry.Content, entry.Parts}, []any{found.History, found.Content, found.Parts}); d != "" {
			t.Error(d)
		}
		for _, of := range []func(v1.Layer) (v1.Hash, error){v1.Layer.Digest, v1.Layer.DiffID} {
			want, _ := of(made)
			if got, err := of(found.Layer); err != nil || got != want {
				t.Errorf("%s instead of %s, %v", got, want, err)
			}
		}
	}
	if n := len(s.Requests()); n != 3 {
		t.Errorf("%d requests for 3 names: %v", n, s.Requests())
	}
	found, err := cache.Load(t.Context(), "step-1")
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]v1.Layer{"found": found.Layer, "made": made} {
		from := map[string]*registry.Client{"found": other, "made": first}[name]
		img, err := mutate.Append(empty.Image, mutate.Addendum{Layer: l})
		if err != nil {
			t.Fatal(err)
		}
		s.Forget()
		receipt, err := from.Push(t.Context(), img, []imageref.Ref{{Registry: s.Host, Repository: "sandbox/" + name, Tag: "1"}})
		if err != nil {
			t.Fatal(err)
		}
		if receipt.Layers[0].Status != image.Mounted || s.Count("GET", "/blobs/") != 0 {
			t.Errorf("the layer was %s", receipt.Layers[0].Status)
		}
	}
}

// TestStepCacheLost tells of a layer that cannot be had, or is another one.
func TestStepCacheLost(t *testing.T) {
	var instead func(http.ResponseWriter)
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		meant := instead != nil && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
		if meant {
			instead(w)
		}
		return meant
	}})
	cache := client(s).StepCache(t.Context(), stepRepo(s))
	if _, err := cache.Keep(t.Context(), stepcache.Entry{Layer: stepLayer("text")}, "step"); err != nil {
		t.Fatal(err)
	}
	e, err := cache.Load(t.Context(), "step")
	if err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]func(http.ResponseWriter){
		"missing": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"another": func(w http.ResponseWriter) { io.WriteString(w, "<html>") },
		"endless": func(w http.ResponseWriter) { w.Write(make([]byte, 1<<20)) },
	} {
		instead = answer
		r, err := e.Layer.Compressed()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if !errors.Is(err, stepcache.ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
		if r, err = e.Layer.Uncompressed(); err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err == nil {
			t.Errorf("%s: it can be unpacked", name)
		}
	}
}

// TestStepCacheImmutable keeps a step though its slot cannot be given to another one.
func TestStepCacheImmutable(t *testing.T) {
	s := harbor(t, registrytest.Config{Immutable: []string{"sandbox/cache:last-*"}})
	cache := client(s).StepCache(t.Context(), stepRepo(s))
	for _, text := range []string{"one", "two"} {
		if _, err := cache.Keep(t.Context(), stepcache.Entry{Layer: stepLayer(text)}, "step-"+text, "last-1"); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
