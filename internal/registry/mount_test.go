package registry_test

import (
	"net/http"
	"strings"
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
