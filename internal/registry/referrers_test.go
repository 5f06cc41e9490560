package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestReferrers has lists of referrers of several pages, and such as break off or have no end. What is attached must not get
// lost on the way to another registry.
func TestReferrers(t *testing.T) {
	var referrers []v1.Descriptor
	page := func(w http.ResponseWriter, next string) {
		n, _ := strconv.Atoi(next)
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		json.NewEncoder(w).Encode(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: referrers[n : n+1]})
	}
	more := func(w http.ResponseWriter, format string, args ...any) {
		w.Header().Set("Link", fmt.Sprintf(format, args...))
	}
	asked := 0
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter, next string)
		part   string // of the error, "" for none
	}{
		"two pages": {answer: func(w http.ResponseWriter, next string) {
			if next == "" {
				more(w, `<https://another.name/v2/x?next=1>; rel="next"`)
			}
			page(w, next)
		}},
		"a page that is refused": {func(w http.ResponseWriter, next string) {
			if next != "" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			more(w, "</v2/x?next=1>; rel=next")
			page(w, next)
		}, "no such image"},
		"a page that is none": {func(w http.ResponseWriter, next string) {
			if next != "" {
				fmt.Fprintln(w, "<html>")
				return
			}
			more(w, "</v2/x?next=1>; rel=next")
			page(w, next)
		}, "the list of what refers to sha256:"},
		"a circle": {func(w http.ResponseWriter, next string) {
			more(w, "</v2/x?next=0>; rel=next")
			page(w, next)
		}, "the same page twice"},
		"no end": {func(w http.ResponseWriter, next string) {
			asked++
			more(w, "</v2/x?next=0&page=%d>; rel=next", asked)
			w.Write([]byte(`{"schemaVersion":2,"manifests":[]}`))
		}, "more than 1000 pages"},
	} {
		t.Run(name, func(t *testing.T) {
			subject := ""
			from, to := registrytest.Start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/referrers/"+subject) {
					return false
				}
				tt.answer(w, r.URL.Query().Get("next"))
				return true
			}}), harbor(t, registrytest.Config{})
			source := ref(t, "%s/team/app:1", from.Host)
			put(t, from, imageOf(t, large(1, 1000)), source)
			digest, err := client(from).Digest(t.Context(), source)
			if err != nil {
				t.Fatal(err)
			}
			hash, _ := v1.NewHash(digest)
			on := &v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: hash, Size: 1}
			referrers = []v1.Descriptor{attach(t, from, "team/app", "", artifact(on, "one")), attach(t, from, "team/app", "", artifact(on, "two"))}
			subject = digest
			receipt, err := client(to).Copy(t.Context(), source, imageref.Ref{Registry: to.Host, Repository: "sandbox/app", Tag: "1"})
			if tt.part != "" {
				check(t, err, fault.Failed, tt.part, "")
			} else if err != nil || receipt.Attached != 2 {
				t.Errorf("%d attached, %v", receipt.Attached, err)
			}
		})
	}
}
