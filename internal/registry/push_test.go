package registry_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
)

const (
	robot  = "robot$sandbox+ci"
	secret = "CiSecret123"
)

// TestMain keeps the machine's Docker configuration and proxies out of the tests.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "docker-config")
	if err != nil {
		panic(err)
	}
	os.Setenv("DOCKER_CONFIG", dir)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		os.Unsetenv(name)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func harbor(t *testing.T, config registrytest.Config) *registrytest.Server {
	t.Helper()
	config.Projects = append(config.Projects, "sandbox")
	config.Robots = append(config.Robots, registrytest.Robot{Name: robot, Secret: secret, Project: "sandbox", Push: true})
	return registrytest.Start(t, config)
}

func client(s *registrytest.Server, change ...func(*registry.Options)) *registry.Client {
	o := registry.Options{Credential: registry.Credential{Host: s.Host, Username: robot, Password: secret}}
	for _, c := range change {
		c(&o)
	}
	c := registry.New(o)
	c.Pauses()
	return c
}

func ref(t *testing.T, format string, args ...any) imageref.Ref {
	t.Helper()
	r, err := imageref.Parse(fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// streaming is an image on base whose layers are not known before they are read.
func streaming(t *testing.T, base v1.Image, files ...string) v1.Image {
	t.Helper()
	var adds []mutate.Addendum
	for _, name := range files {
		adds = append(adds, mutate.Addendum{Layer: image.NewLayer(func(tw *tar.Writer) error {
			content := strings.Repeat(name, 100_000)
			if err := tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644}); err != nil {
				return err
			}
			_, err := io.WriteString(tw, content)
			return err
		})})
	}
	img, err := mutate.Append(base, adds...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func statuses(r image.Receipt) []image.Status {
	var all []image.Status
	for _, l := range r.Layers {
		all = append(all, l.Status)
	}
	return all
}

func TestPushStreamsOnce(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	img := streaming(t, empty.Image, "a", "b", "c", "d", "e", "f")
	refs := []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host), ref(t, "%s/sandbox/app:latest", s.Host)}
	receipt, err := client(s).Push(t.Context(), img, refs)
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := img.Digest()
	if receipt.Digest != digest || len(receipt.Layers) != 6 || receipt.BytesPushed == 0 {
		t.Errorf("receipt %+v, digest %s", receipt, digest)
	}
	if diff := cmp.Diff(refs, receipt.References); diff != "" {
		t.Error(diff)
	}
	if n := s.Count("PATCH", "/uploads/"); n != 7 { // six layers and the configuration
		t.Errorf("%d uploads, want 7", n)
	}
	layers, _ := img.Layers()
	for i, l := range layers {
		if d, _ := l.Digest(); receipt.Layers[i].Digest != d || receipt.Layers[i].Status != image.Pushed {
			t.Errorf("layer %d: %+v, want %s", i, receipt.Layers[i], d)
		}
	}
	for _, r := range refs {
		got, err := client(s).Image(t.Context(), r, v1.Platform{OS: "linux", Architecture: "amd64"})
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(got); err != nil {
			t.Errorf("%s: %v", r, err)
		}
	}
}

func TestPushAgainUploadsNothing(t *testing.T) {
	s := harbor(t, registrytest.Config{Immutable: []string{"sandbox/app:1"}})
	img, err := random.Image(1000, 3)
	if err != nil {
		t.Fatal(err)
	}
	refs := []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)}
	if _, err := client(s).Push(t.Context(), img, refs); err != nil {
		t.Fatal(err)
	}
	s.Forget()
	receipt, err := client(s).Push(t.Context(), img, refs)
	if err != nil {
		t.Fatal(err)
	}
	if receipt.BytesPushed != 0 || !cmp.Equal(statuses(receipt), []image.Status{image.Exists, image.Exists, image.Exists}) {
		t.Errorf("receipt %+v", receipt)
	}
	if n := s.Count("POST", "") + s.Count("PUT", "") + s.Count("PATCH", ""); n != 0 {
		t.Errorf("%d writing requests", n)
	}
}

// TestPushSavedAgain pushes what docker save wrote, whose layers are not compressed: their digests are found before
// anything is uploaded when the image has been there.
func TestPushSavedAgain(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	refs := []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)}
	for _, want := range []image.Status{image.Pushed, image.Exists} {
		saved, closer, err := image.Open(t.Context(), savedImage(t))
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := client(s).Push(t.Context(), saved, refs)
		closer.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(statuses(receipt), []image.Status{want}) || (receipt.BytesPushed == 0) != (want == image.Exists) {
			t.Errorf("want %s, receipt %+v", want, receipt)
		}
	}
}

// savedImage is an archive as docker save writes it.
func savedImage(t *testing.T) string {
	t.Helper()
	img := streaming(t, empty.Image, "a")
	if err := image.Settle(img); err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "saved.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tw := tar.NewWriter(file)
	for name, data := range map[string][]byte{
		"layer.tar": layer, "config.json": config, "manifest.json": []byte(`[{"Config":"config.json","Layers":["layer.tar"]}]`),
	} {
		if err := errors.Join(tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}), write(tw, data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

func write(w io.Writer, data []byte) error {
	_, err := w.Write(data)
	return err
}

func TestPushIndex(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	index, err := random.Index(500, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	r := ref(t, "%s/sandbox/app:multi", s.Host)
	receipt, err := client(s).Push(t.Context(), index, []imageref.Ref{r})
	if err != nil {
		t.Fatal(err)
	}
	if len(receipt.Layers) != 6 || receipt.MediaType != "application/vnd.oci.image.index.v1+json" {
		t.Errorf("receipt %+v", receipt)
	}
}

func TestPushRetries(t *testing.T) {
	var failures atomic.Int32
	status, header := http.StatusBadGateway, http.Header{}
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch || failures.Add(1) > 2 {
			return false
		}
		io.Copy(io.Discard, r.Body)
		for key, values := range header {
			w.Header()[key] = values
		}
		w.WriteHeader(status)
		return true
	}})
	for _, tt := range []struct {
		status     int
		retryAfter string
		want       []time.Duration
	}{
		{http.StatusBadGateway, "", []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond}},
		{http.StatusTooManyRequests, "7", []time.Duration{7 * time.Second, 7 * time.Second}},
	} {
		failures.Store(0)
		status = tt.status
		header.Set("Retry-After", tt.retryAfter)
		c := client(s)
		pauses := c.Pauses()
		name := fmt.Sprint("status", tt.status)
		if _, err := c.Push(t.Context(), streaming(t, empty.Image, name), []imageref.Ref{ref(t, "%s/sandbox/%s:1", s.Host, name)}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, *pauses); diff != "" {
			t.Errorf("pauses: %s", diff)
		}
	}
}

// TestPushGivesUp holds that a lasting failure is reported after three attempts, and one that will last is not repeated.
func TestPushGivesUp(t *testing.T) {
	status := http.StatusServiceUnavailable
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			w.WriteHeader(status)
		}
		return r.Method == http.MethodPost
	}})
	for want, n := range map[int]int{http.StatusServiceUnavailable: 3, http.StatusBadRequest: 1} {
		status = want
		s.Forget()
		_, err := client(s).Push(t.Context(), streaming(t, empty.Image, "a"), []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint(want)) {
			t.Errorf("status %d: %v", want, err)
		}
		if got := s.Count("POST", "/uploads/"); got != n {
			t.Errorf("status %d: %d attempts, want %d", want, got, n)
		}
	}
}

func TestPushReportsTheLayersError(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	broken := errors.New("disk on fire")
	img, err := mutate.Append(empty.Image, mutate.Addendum{Layer: image.NewLayer(func(*tar.Writer) error { return broken })})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(s).Push(t.Context(), img, []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)}); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if n := s.Count("PUT", ""); n != 0 {
		t.Errorf("%d PUT requests after a failed layer", n)
	}
}

func TestPushCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			cancel()
		}
		return false
	}})
	_, err := client(s).Push(ctx, streaming(t, empty.Image, "a"), []imageref.Ref{ref(t, "%s/sandbox/app:1", s.Host)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if n := s.Count("PUT", "/manifests/"); n != 0 {
		t.Error("a manifest was pushed")
	}
}

func TestPushPartial(t *testing.T) {
	s := harbor(t, registrytest.Config{Immutable: []string{"sandbox/app:rel-*"}})
	c := client(s)
	first, second := ref(t, "%s/sandbox/app:rel-1", s.Host), ref(t, "%s/sandbox/app:2", s.Host)
	if _, err := c.Push(t.Context(), streaming(t, empty.Image, "one"), []imageref.Ref{first}); err != nil {
		t.Fatal(err)
	}
	receipt, err := c.Push(t.Context(), streaming(t, empty.Image, "two"), []imageref.Ref{first, second})
	if fault.KindOf(err) != fault.Partial || !strings.Contains(err.Error(), "immutable") {
		t.Errorf("error %v", err)
	}
	if !cmp.Equal(receipt.References, []imageref.Ref{second}) {
		t.Errorf("references %v", receipt.References)
	}
}

// TestTokenIsRenewed lets time pass the end of a token; the first is the greeting's, for the login alone.
func TestTokenIsRenewed(t *testing.T) {
	s := harbor(t, registrytest.Config{TokenLife: 100 * time.Second})
	c := client(s)
	now := time.Unix(0, 0)
	c.SetNow(func() time.Time { return now })
	for i, want := range []int{2, 2, 3} {
		if i == 2 {
			now = now.Add(90 * time.Second)
		}
		if _, err := c.Push(t.Context(), streaming(t, empty.Image, fmt.Sprint(i)), []imageref.Ref{ref(t, "%s/sandbox/app:%d", s.Host, i)}); err != nil {
			t.Fatal(err)
		}
		if got := s.Count("GET", "/service/token"); got != want {
			t.Errorf("push %d: %d tokens, want %d", i, got, want)
		}
	}
}

// platforms is an index of two platforms.
func platforms(t *testing.T) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := random.Image(100, 1)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config.OS, config.Architecture = "linux", arch
		if img, err = mutate.ConfigFile(img, config); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: config.Platform()}})
	}
	return index
}
