package registry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
)

const annotation = "org.opencontainers.image.created"

// dated is an image whose configuration, label and annotation have these dates; "" is none.
func dated(t *testing.T, configuration, label, annotated string) v1.Image {
	t.Helper()
	config := &v1.ConfigFile{Architecture: "amd64", OS: "linux"}
	if configuration != "" {
		made, err := time.Parse(time.RFC3339, configuration)
		if err != nil {
			t.Fatal(err)
		}
		config.Created = v1.Time{Time: made}
	}
	if label != "" {
		config.Config.Labels = map[string]string{annotation: label}
	}
	img, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		t.Fatal(err)
	}
	if annotated != "" {
		img = mutate.Annotations(img, map[string]string{annotation: annotated}).(v1.Image)
	}
	return img
}

// index has the images in their order, the last of them for no platform, as BuildKit's attestations are.
func index(images ...v1.Image) v1.ImageIndex {
	var adds []mutate.IndexAddendum
	for i, img := range images {
		d := v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}
		if i == len(images)-1 {
			d.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
		}
		adds = append(adds, mutate.IndexAddendum{Add: img, Descriptor: d})
	}
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), adds...)
}

func put(t *testing.T, s *registrytest.Server, artifact image.Artifact, refs ...imageref.Ref) {
	t.Helper()
	if _, err := client(s).Push(t.Context(), artifact, refs); err != nil {
		t.Fatal(err)
	}
}

func TestCreated(t *testing.T) {
	const early, day, later = "2026-01-01T00:00:00Z", "2026-01-01T23:00:00Z", "2026-03-01T00:00:00Z"
	attestation := dated(t, "2026-12-01T00:00:00Z", "", "")
	s := harbor(t, registrytest.Config{})
	for name, tt := range map[string]struct {
		artifact image.Artifact
		want     string // "" is not known
	}{
		"configuration":                      {dated(t, early, "", ""), early},
		"label":                              {dated(t, day, early, ""), early},
		"label of a reproducible image":      {dated(t, "1970-01-01T00:00:01Z", early, ""), early},
		"label of the base image":            {dated(t, later, early, ""), later},
		"label that is no date":              {dated(t, later, "yesterday", ""), later},
		"annotation":                         {dated(t, later, later, early), early},
		"nothing but placeholders":           {dated(t, "1980-01-01T00:00:01Z", "1970-01-01T00:00:00Z", ""), ""},
		"no date":                            {empty.Image, ""},
		"the newest of an index":             {index(dated(t, early, "", ""), dated(t, later, "", ""), dated(t, day, "", ""), attestation), later},
		"the annotation of an index":         {mutate.Annotations(index(dated(t, later, "", ""), attestation), map[string]string{annotation: early}).(v1.ImageIndex), early},
		"an index of nothing that was dated": {index(empty.Image, attestation), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := ref(t, "%s/sandbox/app:1", s.Host)
			put(t, s, tt.artifact, r)
			got, err := client(s).Created(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			said := ""
			if !got.IsZero() {
				said = got.UTC().Format(time.RFC3339)
			}
			if said != tt.want {
				t.Errorf("got %q, want %q", said, tt.want)
			}
		})
	}
	if got, err := client(s).Created(t.Context(), ref(t, "%s/sandbox/nosuch:1", s.Host)); err != nil || !got.IsZero() {
		t.Errorf("an image that is not there: %v, %v", got, err)
	}
}

func TestDigest(t *testing.T) {
	silent := false
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if silent && r.Method == http.MethodHead {
			w.WriteHeader(http.StatusOK)
			return true
		}
		return false
	}})
	img := dated(t, "2026-01-01T00:00:00Z", "", "")
	many := index(img, empty.Image)
	one, all := ref(t, "%s/sandbox/app:1", s.Host), ref(t, "%s/sandbox/app:all", s.Host)
	put(t, s, img, one)
	put(t, s, many, all)
	digest, _ := img.Digest()
	indexDigest, _ := many.Digest()
	for _, silent = range []bool{false, true} {
		s.Forget()
		for r, want := range map[imageref.Ref]v1.Hash{one: digest, all: indexDigest, ref(t, "%s@%s", one.Name(), digest): digest} {
			if got, err := client(s).Digest(t.Context(), r); err != nil || got != want.String() {
				t.Errorf("%s: %s, %v; want %s", r, got, err, want)
			}
		}
		if fetched := s.Count("GET", "/manifests/"); fetched > 0 != silent {
			t.Errorf("%d manifests were fetched", fetched)
		}
	}
}

// TestInspectRefusals holds that HEAD requests, whose answers have no body, are explained as well as others.
func TestInspectRefusals(t *testing.T) {
	status := 0
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if status != 0 && strings.Contains(r.URL.Path, "/manifests/") {
			w.WriteHeader(status)
		}
		return status != 0 && strings.Contains(r.URL.Path, "/manifests/")
	}})
	for name, tt := range map[string]struct {
		repository string
		change     func(*registry.Options)
		status     int
		kind       fault.Kind
		part, hint string
	}{
		"not there":       {part: "no such image", hint: "check repository and tag"},
		"wrong password":  {change: login(robot, "wrong-pass"), kind: fault.Denied, part: "refused the login of robot$sandbox+ci", hint: "HARBOR_PASSWORD"},
		"no login":        {change: login("", ""), kind: fault.Denied, part: "wants a login", hint: "HARBOR_USERNAME"},
		"project missing": {repository: "nosuch/app", part: "project nosuch does not exist on ", hint: "create the project"},
		"too many":        {status: http.StatusTooManyRequests, part: "answers 429 Too Many Requests", hint: "it limits requests: try again later"},
	} {
		t.Run(name, func(t *testing.T) {
			status = tt.status
			if tt.repository == "" {
				tt.repository = "sandbox/app"
			}
			if tt.change == nil {
				tt.change = func(*registry.Options) {}
			}
			_, err := client(s, tt.change).Digest(t.Context(), ref(t, "%s/%s:1", s.Host, tt.repository))
			check(t, err, tt.kind, tt.part, tt.hint)
			if name == "not there" != errors.Is(err, registry.ErrNotFound) {
				t.Errorf("ErrNotFound: %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client(s).Created(ctx, ref(t, "%s/sandbox/app:1", s.Host)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
