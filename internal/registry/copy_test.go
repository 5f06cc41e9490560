package registry_test

import (
	"bytes"
	"encoding/json"
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
	"github.com/ksera524/imgbump/internal/registrytest"
)

// attach stores a manifest, without any code of ours, and returns its descriptor. Its only blob is "{}".
func attach(t *testing.T, s *registrytest.Server, repository, name string, manifest any) v1.Descriptor {
	t.Helper()
	send := func(method, url, mediaType string, body []byte) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", mediaType)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("%s %s: %d %s", method, url, resp.StatusCode, text)
		}
		return resp
	}
	location := send("POST", s.URL+"/v2/"+repository+"/blobs/uploads/", "", nil).Header.Get("Location")
	send("PUT", location+"&digest="+emptyBlob.Digest.String(), "application/octet-stream", []byte("{}"))
	raw, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	digest, size, _ := v1.SHA256(bytes.NewReader(raw))
	mediaType := types.OCIManifestSchema1
	if _, isIndex := manifest.(v1.IndexManifest); isIndex {
		mediaType = types.OCIImageIndex
	}
	if name == "" {
		name = digest.String()
	}
	send("PUT", s.URL+"/v2/"+repository+"/manifests/"+name, string(mediaType), raw)
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}
}

func remove(t *testing.T, url string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodDelete, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s: %v, %v", url, resp, err)
	}
	resp.Body.Close()
}

var emptyBlob = v1.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Size: 2,
	Digest: v1.Hash{Algorithm: "sha256", Hex: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}}

// artifact is the manifest of something that is no container; what tells it from others.
func artifact(subject *v1.Descriptor, what string) v1.Manifest {
	return v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: emptyBlob, Layers: []v1.Descriptor{emptyBlob},
		Subject: subject, Annotations: map[string]string{"what": what}}
}

// TestCopy copies an index with a signature, referrers and their referrers, between registries that list referrers and
// those that do not.
func TestCopy(t *testing.T) {
	for name, tt := range map[string]struct{ fromOld, toOld bool }{
		"both list referrers": {}, "the source does not": {fromOld: true}, "the target does not": {toOld: true}, "neither does": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := registrytest.Start(t, registrytest.Config{NoReferrers: tt.fromOld}), harbor(t, registrytest.Config{NoReferrers: tt.toOld})
			c := client(to)
			index := platforms(t)
			source := ref(t, "%s/sandbox/app:1", from.Host)
			if _, err := c.Push(t.Context(), index, []imageref.Ref{source}); err != nil {
				t.Fatal(err)
			}
			digest, _ := index.Digest()
			manifest, _ := index.IndexManifest()
			child := manifest.Manifests[1]
			signature := attach(t, from, "sandbox/app", "sha256-"+digest.Hex+".sig", artifact(nil, "signature"))
			sbom := attach(t, from, "sandbox/app", "", artifact(&v1.Descriptor{MediaType: child.MediaType, Digest: child.Digest, Size: child.Size}, "sbom"))
			attestation := attach(t, from, "sandbox/app", "", artifact(&sbom, "attestation"))
			attach(t, from, "sandbox/app", "sha256-"+sbom.Digest.Hex+".att", artifact(&sbom, "attestation")) // the same, by both ways
			if tt.fromOld {
				gone := attach(t, from, "sandbox/app", "", artifact(nil, "gone"))
				attach(t, from, "sandbox/app", "sha256-"+child.Digest.Hex, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{sbom, gone}})
				remove(t, from.URL+"/v2/sandbox/app/manifests/"+gone.Digest.String()) // the list outlives it
				attach(t, from, "sandbox/app", "sha256-"+sbom.Digest.Hex, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{attestation}})
			}
			to.Forget()
			receipt, err := c.Copy(t.Context(), source, ref(t, "%s/sandbox/copy:1", to.Host))
			if err != nil {
				t.Fatal(err)
			}
			if receipt.Digest != digest || receipt.Attached != 4 || len(receipt.Layers) != 2 {
				t.Errorf("receipt %+v", receipt)
			}
			for _, d := range []v1.Descriptor{signature, sbom, attestation, child} {
				if _, err := client(to).Digest(t.Context(), ref(t, "%s/sandbox/copy@%s", to.Host, d.Digest)); err != nil {
					t.Error(err)
				}
			}
			if _, err := client(to).Digest(t.Context(), ref(t, "%s/sandbox/copy:sha256-%s.sig", to.Host, digest.Hex)); err != nil {
				t.Errorf("cosign's tag: %v", err)
			}
			if _, err := client(to).Digest(t.Context(), ref(t, "%s/sandbox/copy:sha256-%s.att", to.Host, sbom.Digest.Hex)); err != nil {
				t.Errorf("cosign's second tag: %v", err)
			}
			_, err = client(to).Digest(t.Context(), ref(t, "%s/sandbox/copy:sha256-%s", to.Host, child.Digest.Hex))
			if (err == nil) != tt.toOld {
				t.Errorf("the list of referrers as a tag: %v", err)
			}
			var puts []string
			for _, r := range to.Requests() {
				if r.Method == "PUT" && strings.Contains(r.Path, "/manifests/") {
					puts = append(puts, r.Path[strings.LastIndexByte(r.Path, '/')+1:])
				}
			}
			if there := slices.Index(puts, digest.String()); there < 0 || there > slices.Index(puts, "sha256-"+digest.Hex+".sig") || slices.Index(puts, "1") != len(puts)-1 {
				t.Errorf("first the image, then what is attached to it, the tag last; but: %v", puts)
			}
			if r := saw(from); len(r) > 0 {
				t.Errorf("the source's registry saw %+v", r)
			}
			to.Forget()
			receipt, err = c.Copy(t.Context(), source, ref(t, "%s/sandbox/copy:1", to.Host))
			if n := to.Count("PUT", "") + to.Count("POST", ""); err != nil || receipt.BytesPushed != 0 || n != 0 {
				t.Errorf("again: %d writing requests, %+v, %v", n, receipt, err)
			}
		})
	}
}

// TestCopyMounts sends nothing between two repositories of a registry.
func TestCopyMounts(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	c := client(s)
	source := ref(t, "%s/sandbox/app:1", s.Host)
	if _, err := c.Push(t.Context(), platforms(t), []imageref.Ref{source}); err != nil {
		t.Fatal(err)
	}
	s.Forget()
	receipt, err := c.Copy(t.Context(), source, ref(t, "%s/sandbox/copy:1", s.Host))
	if err != nil || receipt.BytesPushed != 0 || !cmp.Equal(statuses(receipt), []image.Status{image.Mounted, image.Mounted}) || s.Count("PATCH", "") != 0 {
		t.Errorf("%+v, %v", receipt, err)
	}
	if _, err := c.Copy(t.Context(), ref(t, "%s/sandbox/nosuch:1", s.Host), source); !strings.Contains(fmt.Sprint(err), "copy "+s.Host+"/sandbox/nosuch:1: no such image") {
		t.Error(err)
	}
}

// TestCopyOfAPage has a portal's page in place of the list of referrers, and a registry that refuses to give it.
func TestCopyOfAPage(t *testing.T) {
	status := http.StatusOK
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/referrers/") {
			return false
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		io.WriteString(w, "<!doctype html>")
		return true
	}})
	source := ref(t, "%s/sandbox/app:1", s.Host)
	if _, err := client(s).Push(t.Context(), platforms(t), []imageref.Ref{source}); err != nil {
		t.Fatal(err)
	}
	for want, failed := range map[int]bool{http.StatusOK: false, http.StatusForbidden: true} {
		status = want
		_, err := client(s).Copy(t.Context(), source, ref(t, "%s/sandbox/copy:%d", s.Host, status))
		if (err != nil) != failed || failed && fault.KindOf(err) != fault.Denied {
			t.Errorf("%d: %v", status, err)
		}
	}
}
