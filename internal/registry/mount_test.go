package registry_test

import (
	"archive/tar"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestPushMounts builds on a base that the same registry has in another repository.
func TestPushMounts(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	c := client(s)
	base := ref(t, "%s/sandbox/base:1", s.Host)
	if _, err := c.Push(t.Context(), streaming(t, empty.Image, "base"), []imageref.Ref{base}); err != nil {
		t.Fatal(err)
	}
	fetched, err := c.Image(t.Context(), base, v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	s.Forget()
	receipt, err := c.Push(t.Context(), streaming(t, fetched, "app"), []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)})
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(statuses(receipt), []image.Status{image.Mounted, image.Pushed}) {
		t.Errorf("statuses %v", statuses(receipt))
	}
	if n := s.Count("GET", "/blobs/"); n != 1 { // the base's configuration
		t.Errorf("%d blobs fetched, want 1", n)
	}
}

// TestPushToTwoRegistries reads a base from one registry and sends it through to two repositories of another.
func TestPushToTwoRegistries(t *testing.T) {
	from, to := registrytest.Start(t, registrytest.Config{}), harbor(t, registrytest.Config{})
	c := client(to)
	base := ref(t, "%s/library/base:1", from.Host)
	if _, err := c.Push(t.Context(), streaming(t, empty.Image, "base"), []imageref.Ref{base}); err != nil {
		t.Fatal(err)
	}
	fetched, err := c.Image(t.Context(), base, v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	img := streaming(t, fetched, "app")
	receipt, err := c.Push(t.Context(), img, []imageref.Ref{ref(t, "%s/sandbox/a:1", to.Host), ref(t, "%s/sandbox/b:1", to.Host)})
	if err != nil {
		t.Fatal(err)
	}
	if len(receipt.References) != 2 || !cmp.Equal(statuses(receipt), []image.Status{image.Pushed, image.Pushed}) {
		t.Errorf("receipt %+v", receipt)
	}
	got, err := c.Image(t.Context(), ref(t, "%s/sandbox/b:1", to.Host), v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
}

// TestPushToTwoRepositories uploads once and mounts from the first repository in the second.
func TestPushToTwoRepositories(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	refs := []imageref.Ref{ref(t, "%s/sandbox/a:1", s.Host), ref(t, "%s/sandbox/b:1", s.Host)}
	receipt, err := client(s).Push(t.Context(), streaming(t, empty.Image, "one", "two"), refs)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(refs, receipt.References); diff != "" {
		t.Error(diff)
	}
	if n := s.Count("PATCH", "/sandbox/b/"); n != 0 {
		t.Errorf("%d uploads to the second repository, want none", n)
	}
	got, err := client(s).Image(t.Context(), refs[1], v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
}

// TestPushNextToAPage has a web page answer for the blobs: they are not there.
func TestPushNextToAPage(t *testing.T) {
	head := http.Header{}
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/blobs/") {
			w.Header()["Docker-Content-Digest"], w.Header()["Content-Length"] = head["Docker-Content-Digest"], head["Content-Length"]
			return true
		}
		return false
	}})
	for i, header := range []http.Header{{"Content-Length": {"7"}}, {"Docker-Content-Digest": {"sha256:0"}}} {
		head = header
		img, err := random.Image(1000, 1)
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := client(s).Push(t.Context(), img, []imageref.Ref{ref(t, "%s/sandbox/app:%d", s.Host, i)})
		if err != nil || !cmp.Equal(statuses(receipt), []image.Status{image.Pushed}) {
			t.Errorf("%v: %v, %v", header, statuses(receipt), err)
		}
	}
}

// TestRecompressReadsOnce makes layers of another registry anew.
func TestRecompressReadsOnce(t *testing.T) {
	from, to := registrytest.Start(t, registrytest.Config{}), harbor(t, registrytest.Config{})
	source := ref(t, "%s/library/base:1", from.Host)
	put(t, from, streaming(t, empty.Image, "one", "two"), source)
	c := client(to)
	fetched, err := c.Artifact(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	from.Forget()
	again, err := image.Options{Compression: image.Compression{Algorithm: image.Zstd}}.Recompress(fetched)
	if err != nil {
		t.Fatal(err)
	}
	target := ref(t, "%s/sandbox/app:1", to.Host)
	if _, err := c.Push(t.Context(), again, []imageref.Ref{target}); err != nil {
		t.Fatal(err)
	}
	if n := from.Count("GET", "/blobs/"); n != 3 { // with the configuration
		t.Errorf("%d blobs were fetched, want 3", n)
	}
	got, err := c.Image(t.Context(), target, v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := got.Manifest()
	if err != nil || len(manifest.Layers) != 2 || !strings.HasSuffix(string(manifest.Layers[1].MediaType), "zstd") {
		t.Errorf("%+v, %v", manifest, err)
	}
}

// TestHeavyLayers makes no more than two layers at once whose compression takes much memory.
func TestHeavyLayers(t *testing.T) {
	var now, most atomic.Int64
	var layers []v1.Layer
	for i := range 6 {
		layers = append(layers, image.NewLayer(func(tw *tar.Writer) error {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			content := strings.Repeat(fmt.Sprint(i), 1<<20)
			if err := tw.WriteHeader(&tar.Header{Name: "file", Size: int64(len(content)), Mode: 0o644}); err != nil {
				return err
			}
			_, err := io.WriteString(tw, content)
			return err
		}))
	}
	img := imageOf(t, layers...)
	if err := (image.Options{Compression: image.Compression{Algorithm: image.Zstd, Level: 22}}).Apply(img); err != nil {
		t.Fatal(err)
	}
	s := harbor(t, registrytest.Config{})
	put(t, s, img, ref(t, "%s/sandbox/app:1", s.Host))
	if most.Load() > 2 {
		t.Errorf("%d layers at once", most.Load())
	}
}
