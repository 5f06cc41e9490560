package registry_test

import (
	"archive/tar"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// large is a layer of so many bytes that cannot be compressed, the same for each seed.
func large(seed byte, size int64) v1.Layer {
	return image.NewLayerOf(fmt.Sprint("large ", seed, " ", size), func(tw *tar.Writer) error {
		if err := tw.WriteHeader(&tar.Header{Name: fmt.Sprint(seed), Size: size, Mode: 0o644}); err != nil {
			return err
		}
		_, err := io.Copy(tw, io.LimitReader(rand.NewChaCha8([32]byte{seed}), size))
		return err
	})
}

func imageOf(t *testing.T, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestFaults pushes, of each kind of image, two layers through every fault, at each step: the image is there in the end,
// whole, and no more was sent than the fault makes necessary.
func TestFaults(t *testing.T) {
	const size = 128 << 10
	kinds := map[string]func() v1.Image{
		"made": func() v1.Image { return imageOf(t, large(1, size), large(2, size)) },
		"known": func() v1.Image {
			img := imageOf(t, large(1, size), large(2, size))
			if err := image.Settle(img); err != nil {
				t.Fatal(err)
			}
			return img
		},
		"stored": func() v1.Image { return layoutOf(t, imageOf(t, large(1, size), large(2, size))) },
	}
	faults := map[string]registrytest.Fault{
		"drop at once":   {Drop: 1},
		"drop later":     {Drop: size / 2},
		"unanswered":     {Unanswered: true},
		"429":            {Status: http.StatusTooManyRequests, RetryAfter: "2"},
		"500":            {Status: http.StatusInternalServerError, Times: 2},
		"truncated":      {Truncate: true},
		"slow":           {Slow: true},
		"lost the state": {Status: http.StatusNotFound},
	}
	steps := map[string]registrytest.Fault{
		"open": {Method: "POST", Path: "/uploads/"}, "send": {Method: "PATCH", Path: "/uploads/"}, "close": {Method: "PUT", Path: "/uploads/"},
		"look": {Method: "HEAD", Path: "/blobs/"}, "name": {Method: "PUT", Path: "/manifests/"},
	}
	for kind, img := range kinds {
		for what, fault := range faults {
			for at, step := range steps {
				sends, blob := at == "send", at != "look" && at != "name" && at != "open"
				if fault.Truncate && !sends || fault.Status == http.StatusNotFound && !sends && at != "close" || !blob && kind != "known" {
					continue // there it is no fault, or is the same for all kinds
				}
				for _, resumable := range []bool{false, true}[:map[bool]int{false: 1, true: 2}[sends]] {
					t.Run(fmt.Sprint(kind, "/", what, "/", at, "/", resumable), func(t *testing.T) {
						t.Parallel()
						f := registrytest.Fault{Method: step.Method, Path: step.Path, Drop: fault.Drop, Unanswered: fault.Unanswered,
							Status: fault.Status, RetryAfter: fault.RetryAfter, Truncate: fault.Truncate, Slow: fault.Slow, Times: fault.Times}
						s := harbor(t, registrytest.Config{Resumable: resumable, Faults: []*registrytest.Fault{&f}})
						c := client(s)
						pauses := c.Pauses()
						pushed := img()
						r := ref(t, "%s/sandbox/app:1", s.Host)
						receipt, err := c.Push(t.Context(), pushed, []imageref.Ref{r})
						if err != nil {
							t.Fatal(err)
						}
						got, err := c.Image(t.Context(), r, v1.Platform{})
						if err != nil {
							t.Fatal(err)
						}
						if err := validate.Image(got); err != nil {
							t.Error(err)
						}
						if want, _ := pushed.Digest(); receipt.Digest != want || len(receipt.Layers) != 2 {
							t.Errorf("%+v, want %s", receipt, want)
						}
						if most := int64(2+max(1, f.Times))*size + 1<<16; receipt.BytesPushed > most {
							t.Errorf("%d bytes were sent", receipt.BytesPushed)
						}
						if fault.RetryAfter != "" && !slices.Contains(*pauses, 2*time.Second) {
							t.Errorf("pauses %v", *pauses)
						}
					})
				}
			}
		}
	}
}

// layoutOf is the image as it is read from a layout on disk.
func layoutOf(t *testing.T, img v1.Image) v1.Image {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "oci")
	if err := image.WriteLayout(dir, img, nil); err != nil {
		t.Fatal(err)
	}
	a, closer, err := image.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closer.Close() })
	return a.(v1.Image)
}

// TestResume goes on where the registry says that a broken upload stands, also more often than a request is repeated when
// it gets ahead.
func TestResume(t *testing.T) {
	const size, piece, breaks = 5 << 20, 3 << 19, 3
	for name, l := range map[string]v1.Layer{"made": large(1, size), "known": large(2, size)} {
		t.Run(name, func(t *testing.T) {
			s := harbor(t, registrytest.Config{Resumable: true, Faults: []*registrytest.Fault{{Method: "PATCH", Path: "/uploads/", Drop: piece, Times: breaks}}})
			img := imageOf(t, l)
			if name == "known" {
				if err := image.Settle(img); err != nil {
					t.Fatal(err)
				}
			}
			r := ref(t, "%s/sandbox/app:1", s.Host)
			if _, err := client(s).Push(t.Context(), img, []imageref.Ref{r}); err != nil {
				t.Fatal(err)
			}
			if n := s.Count("POST", "/uploads/"); n != 2 { // one for the layer, one for the configuration
				t.Errorf("%d uploads, want 2", n)
			}
			if n := s.Count("PATCH", "/uploads/"); n != breaks+2 {
				t.Errorf("%d PATCH requests, want %d", n, breaks+2)
			}
			if _, err := client(s).Digest(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUnansweredEnd finds a blob whose upload went well but for the answer, and does not send it again.
func TestUnansweredEnd(t *testing.T) {
	s := harbor(t, registrytest.Config{Faults: []*registrytest.Fault{{Method: "PUT", Path: "/uploads/", Unanswered: true}}})
	if _, err := client(s).Push(t.Context(), imageOf(t, large(1, 1000)), []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)}); err != nil {
		t.Fatal(err)
	}
	if n := s.Count("PATCH", ""); n != 2 {
		t.Errorf("%d PATCH requests, want 2", n)
	}
}

// TestCorruptSource tells of a layer that is not what its digest says before the upload is closed, and does not repeat it.
func TestCorruptSource(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	img := layoutOf(t, imageOf(t, large(1, 1000)))
	layers, _ := img.Layers()
	broken := imageOf(t, lying{layers[0]})
	_, err := client(s).Push(t.Context(), broken, []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)})
	if err == nil || !strings.Contains(err.Error(), "content and digest disagree") || s.Count("PATCH", "") > 1 || s.Count("PUT", "") != 0 {
		t.Errorf("%v", err)
	}
}

// lying is a layer with another digest than its content has.
type lying struct{ v1.Layer }

func (lying) Digest() (v1.Hash, error) {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}, nil
}

// ledger is one in a file of the test's own.
func ledger(t *testing.T) *image.Ledger {
	return image.OpenLedger(filepath.Join(t.TempDir(), "cache", "layers.json"))
}

// TestLedger pushes an image again whose layers are not read for it, and mounts them in another repository; a registry
// that has forgotten them gets them again.
func TestLedger(t *testing.T) {
	known := ledger(t)
	push := func(s *registrytest.Server, repository string) image.Receipt {
		t.Helper()
		img := imageOf(t, large(1, 1000), large(2, 1000))
		if err := (image.Options{Ledger: known}).Apply(img); err != nil {
			t.Fatal(err)
		}
		c := client(s, func(o *registry.Options) { o.Ledger = known })
		receipt, err := c.Push(t.Context(), img, []imageref.Ref{ref(t, "%s/sandbox/%s:1", s.Host, repository)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Image(t.Context(), ref(t, "%s/sandbox/%s:1", s.Host, repository), v1.Platform{})
		if err == nil {
			err = validate.Image(got)
		}
		if err != nil {
			t.Error(err)
		}
		return receipt
	}
	s := harbor(t, registrytest.Config{})
	both := func(status image.Status) []image.Status { return []image.Status{status, status} }
	for _, tt := range []struct {
		server     *registrytest.Server
		repository string
		want       image.Status
	}{
		{s, "app", image.Pushed}, {s, "app", image.Exists}, {s, "other", image.Mounted}, {harbor(t, registrytest.Config{}), "app", image.Pushed},
	} {
		receipt := push(tt.server, tt.repository)
		if diff := cmp.Diff(both(tt.want), statuses(receipt)); diff != "" {
			t.Errorf("%s: %s", tt.repository, diff)
		}
		if (receipt.BytesPushed == 0) != (tt.want == image.Exists) && tt.want != image.Mounted {
			t.Errorf("%d bytes", receipt.BytesPushed)
		}
	}
}

// TestMountRefused uploads what the registry will not mount.
func TestMountRefused(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed} {
		s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("mount") {
				w.WriteHeader(status)
			}
			return r.URL.Query().Has("mount")
		}})
		refs := []imageref.Ref{ref(t, "%s/sandbox/a:1", s.Host), ref(t, "%s/sandbox/b:1", s.Host)}
		if receipt, err := client(s).Push(t.Context(), imageOf(t, large(1, 1000)), refs); err != nil || len(receipt.References) != 2 {
			t.Errorf("%d: %+v, %v", status, receipt, err)
		}
	}
}
