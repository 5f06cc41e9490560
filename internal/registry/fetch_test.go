package registry_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
)

func TestImageChoosesPlatform(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	c := client(s)
	r := ref(t, "%s/sandbox/app:1", s.Host)
	if _, err := c.Push(t.Context(), platforms(t), []imageref.Ref{r}); err != nil {
		t.Fatal(err)
	}
	img, err := c.Image(t.Context(), r, v1.Platform{OS: "linux", Architecture: "arm64"})
	if err != nil {
		t.Fatal(err)
	}
	if config, _ := img.ConfigFile(); config.Architecture != "arm64" {
		t.Errorf("architecture %s", config.Architecture)
	}
	_, err = c.Image(t.Context(), r, v1.Platform{OS: "linux", Architecture: "s390x"})
	check(t, err, fault.Failed, "no image for linux/s390x, only for linux/amd64, linux/arm64", "")
	_, err = c.Image(t.Context(), ref(t, "%s/sandbox/app:nosuch", s.Host), v1.Platform{})
	check(t, err, fault.Failed, "no such image", "tag")
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("%v is not ErrNotFound", err)
	}
}

// TestImageIsChecked changes a blob on its way.
func TestImageIsChecked(t *testing.T) {
	corrupt := false
	s := registrytest.Start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if corrupt && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			w.Write(bytes.Repeat([]byte("x"), 300))
			return true
		}
		return false
	}})
	c := client(s)
	r := ref(t, "%s/sandbox/app:1", s.Host)
	if _, err := c.Push(t.Context(), streaming(t, empty.Image, "a"), []imageref.Ref{r}); err != nil {
		t.Fatal(err)
	}
	corrupt = true
	img, err := c.Image(t.Context(), r, v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = img.ConfigFile()
	check(t, err, fault.Failed, "content and digest disagree", "")
}

// TestPinIsChecked answers a digest with another manifest, one that goes on for longer than is read, and one of a
// kind that is not known.
func TestPinIsChecked(t *testing.T) {
	var served []byte
	s := registrytest.Start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8")
			w.Write(served)
			return true
		}
		return false
	}})
	manifest, err := dated(t, "2026-01-01T00:00:00Z", "", "").RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	padded := append(bytes.Clone(manifest), bytes.Repeat([]byte(" "), 17<<20)...)
	other := func(algorithm string, digits int) string { return algorithm + ":" + strings.Repeat("a", digits) }
	for name, tt := range map[string]struct {
		served []byte
		pin    string
		part   string // "" is none: it is the image
	}{
		"another":           {manifest, other("sha256", 64), "content and digest disagree"},
		"another and long":  {padded, other("sha256", 64), "more than 16 MiB"},
		"the one, but long": {padded, fmt.Sprintf("sha256:%x", sha256.Sum256(padded)), "more than 16 MiB"},
		"another by sha512": {manifest, other("sha512", 128), "content and digest disagree"},
		"sha384":            {manifest, other("sha384", 96), "not supported yet"},
		"the one":           {manifest, fmt.Sprintf("sha256:%x", sha256.Sum256(manifest)), ""},
		"the one by sha512": {manifest, fmt.Sprintf("sha512:%x", sha512.Sum512(manifest)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			served = tt.served
			_, err := client(s).Image(t.Context(), ref(t, "%s/sandbox/app@%s", s.Host, tt.pin), v1.Platform{})
			if tt.part == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			check(t, err, fault.Failed, tt.part, "")
		})
	}
}
