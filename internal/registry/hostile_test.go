package registry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestDigestOfAPage has a portal answer in place of the registry, with and without the header that a registry sends.
func TestDigestOfAPage(t *testing.T) {
	header := http.Header{}
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		for name := range header {
			w.Header().Set(name, header.Get(name))
		}
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			io.WriteString(w, "<!doctype html>")
		}
		return true
	}})
	digest := "sha256:" + strings.Repeat("a", 64)
	for _, header = range []http.Header{
		{"Content-Type": {"text/html; charset=utf-8"}},
		{"Content-Type": {"text/html"}, "Docker-Content-Digest": {digest}},
		{"Docker-Content-Digest": {digest}},
	} {
		_, err := client(s).Digest(t.Context(), ref(t, "%s/sandbox/app:1", s.Host))
		check(t, err, fault.Failed, "which is no image", "A proxy or a web page")
	}
	header = http.Header{"Content-Type": {string(types.OCIManifestSchema1)}, "Docker-Content-Digest": {digest}}
	_, err := client(s).Digest(t.Context(), ref(t, "%s/sandbox/app@sha256:%s", s.Host, strings.Repeat("b", 64)))
	check(t, err, fault.Failed, "content and digest disagree", "")
}

// TestEndlessBlob has a registry send more than a layer has, without end, with and without the layer at the beginning.
func TestEndlessBlob(t *testing.T) {
	var begin []byte
	endless := false
	from := registrytest.Start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if !endless || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.Write(begin)
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return true
			}
		}
	}})
	to := harbor(t, registrytest.Config{})
	c := client(to)
	source := ref(t, "%s/team/app:1", from.Host)
	put(t, from, imageOf(t, large(1, 100_000)), source)
	img, err := c.Image(t.Context(), source, v1.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := img.ConfigFile(); err != nil { // which is not what this is about
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	read := func() (all []byte, err error) {
		r, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	whole, err := read()
	if err != nil {
		t.Fatal(err)
	}
	endless = true
	_, err = c.Push(t.Context(), img, []imageref.Ref{ref(t, "%s/sandbox/app:1", to.Host)})
	check(t, err, fault.Failed, "content and digest disagree", "")
	begin = whole
	if _, err := read(); !errors.Is(err, image.ErrCorrupt) || !strings.Contains(err.Error(), "is larger than its manifest says") {
		t.Error(err)
	}
}

// nested puts an index of an index into the registry, depth of them, each naming the one below twice, and a name at the
// top.
func nested(t *testing.T, s *registrytest.Server, depth int) imageref.Ref {
	t.Helper()
	r := ref(t, "%s/team/nested:0", s.Host)
	put(t, s, imageOf(t, large(1, 1000)), r)
	a, err := client(s).Artifact(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := a.RawManifest()
	below := v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: int64(len(raw))}
	below.Digest, _ = a.Digest()
	for i := range depth {
		raw, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{below, below}})
		if err != nil {
			t.Fatal(err)
		}
		r.Tag = fmt.Sprint(i + 1)
		request, err := http.NewRequest(http.MethodPut, s.URL+"/v2/team/nested/manifests/"+r.Tag, bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", string(types.OCIImageIndex))
		resp, err := http.DefaultClient.Do(request)
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
		below = v1.Descriptor{MediaType: types.OCIImageIndex, Size: int64(len(raw))}
		below.Digest, _, _ = v1.SHA256(bytes.NewReader(raw))
	}
	return r
}

// TestNested fetches each index once for each use, however often it is named, and none that is nested too deep.
func TestNested(t *testing.T) {
	from, to := registrytest.Start(t, registrytest.Config{}), harbor(t, registrytest.Config{})
	r := nested(t, from, image.MaxNesting)
	from.Forget()
	if _, err := client(to).Copy(t.Context(), r, ref(t, "%s/sandbox/copy:1", to.Host)); err != nil {
		t.Fatal(err)
	}
	if n := from.Count("GET", "/manifests/sha256:"); n > 5*image.MaxNesting {
		t.Errorf("%d manifests were fetched", n)
	}
	_, err := client(to).Copy(t.Context(), nested(t, from, image.MaxNesting+1), ref(t, "%s/sandbox/copy:2", to.Host))
	check(t, err, fault.Failed, "nested deeper than 8", "")
}

// TestCopyKeepsSignatures leaves alone what the destination has under cosign's tags, unless nothing of it gets lost.
func TestCopyKeepsSignatures(t *testing.T) {
	signed := func(by ...string) v1.Manifest {
		m := artifact(nil, strings.Join(by, " "))
		m.Layers = nil
		for _, key := range by {
			l := emptyBlob
			l.Annotations = map[string]string{"dev.cosignproject.cosign/signature": key}
			m.Layers = append(m.Layers, l)
		}
		return m
	}
	for name, tt := range map[string]struct {
		theirs, ours v1.Manifest
		kept         bool
	}{
		"another's":        {theirs: signed("production"), ours: signed("build"), kept: true},
		"one more of ours": {theirs: signed("build"), ours: signed("build", "review")},
		"one more there":   {theirs: signed("build", "production"), ours: signed("build"), kept: true},
		"nothing to lose":  {theirs: signed(), ours: signed("build"), kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := registrytest.Start(t, registrytest.Config{}), registrytest.Start(t, registrytest.Config{})
			source, target := ref(t, "%s/team/app:1", from.Host), ref(t, "%s/prod/app:1", to.Host)
			put(t, from, imageOf(t, large(1, 1000)), source)
			digest, err := client(from).Digest(t.Context(), source)
			if err != nil {
				t.Fatal(err)
			}
			tag := strings.Replace(digest, ":", "-", 1) + ".sig"
			theirs, ours := attach(t, to, "prod/app", tag, tt.theirs), attach(t, from, "team/app", tag, tt.ours)
			var kept []string
			c := client(to, func(o *registry.Options) { o.Kept = func(r imageref.Ref) { kept = append(kept, r.String()) } })
			receipt, err := c.Copy(t.Context(), source, target)
			if err != nil {
				t.Fatal(err)
			}
			want, told, attached := ours, []string(nil), 1
			if tt.kept {
				want, told, attached = theirs, []string{to.Host + "/prod/app:" + tag}, 0
			}
			if got, err := c.Digest(t.Context(), ref(t, "%s/prod/app:%s", to.Host, tag)); err != nil || got != want.Digest.String() {
				t.Errorf("%s, %v; want %s", got, err, want.Digest)
			}
			if diff := cmp.Diff(told, kept); diff != "" || receipt.Attached != attached {
				t.Errorf("%d attached; %s", receipt.Attached, diff)
			}
		})
	}
}

// TestImmutableSignature has a tag of cosign's that is immutable: it is kept like others where that is wanted.
func TestImmutableSignature(t *testing.T) {
	from, to := registrytest.Start(t, registrytest.Config{}), harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, ".sig") {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusPreconditionFailed)
		io.WriteString(w, `{"errors":[{"code":"PRECONDITION","message":"configured as immutable"}]}`)
		return true
	}})
	source, target := ref(t, "%s/team/app:1", from.Host), ref(t, "%s/sandbox/app:1", to.Host)
	put(t, from, imageOf(t, large(1, 1000)), source)
	digest, err := client(from).Digest(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	tag := strings.Replace(digest, ":", "-", 1) + ".sig"
	attach(t, from, "team/app", tag, artifact(nil, "signature"))
	if _, err := client(to).Copy(t.Context(), source, target); !errors.Is(err, registry.ErrImmutable) {
		t.Errorf("%v", err)
	}
	var kept []string
	c := client(to, func(o *registry.Options) { o.KeepImmutable = func(r imageref.Ref) { kept = append(kept, r.Tag) } })
	if receipt, err := c.Copy(t.Context(), source, target); err != nil || len(receipt.References) != 1 || !slices.Equal(kept, []string{tag}) {
		t.Errorf("%+v, %v; kept %v", receipt, err, kept)
	}
}

// TestAllKept pushes an image none of whose tags it may have: it is there by its digest.
func TestAllKept(t *testing.T) {
	s := harbor(t, registrytest.Config{Immutable: []string{"sandbox/app:1"}})
	c := client(s, func(o *registry.Options) { o.KeepImmutable = func(imageref.Ref) {} })
	r := ref(t, "%s/sandbox/app:1", s.Host)
	put(t, s, imageOf(t, large(1, 1000)), r)
	img := imageOf(t, large(2, 1000))
	receipt, err := c.Push(t.Context(), img, []imageref.Ref{r})
	if err != nil {
		t.Fatal(err)
	}
	want, _ := img.Digest()
	if receipt.Digest != want || len(receipt.References) != 0 || len(receipt.Layers) != 1 {
		t.Errorf("%+v", receipt)
	}
	if _, err := c.Digest(t.Context(), ref(t, "%s/sandbox/app@%s", s.Host, want)); err != nil {
		t.Error(err)
	}
}

// TestTooMany tells how long a registry wants to be left alone.
func TestTooMany(t *testing.T) {
	after, body := "", ""
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Retry-After", after)
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, body)
		return true
	}})
	for _, tt := range []struct{ after, body, part, hint string }{
		{"90", "", "answers 429 Too Many Requests", "it limits requests: try again in 1m30s"},
		{"", "<html>", "answers 429 Too Many Requests", "it limits requests: try again later"},
		{"", `{"errors":[{"code":"TOOMANYREQUESTS","message":"pull\nrate"}]}`, "429 Too Many Requests: TOOMANYREQUESTS: pull rate", "it limits requests: try again later"},
	} {
		after, body = tt.after, tt.body
		_, err := client(s).Artifact(t.Context(), ref(t, "%s/sandbox/app:1", s.Host))
		check(t, err, fault.Failed, tt.part, tt.hint)
	}
}
