package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// lists answers lists of tags with answer, and everything else as a registry does.
func lists(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *registrytest.Server {
	return harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		answer(w, r)
		return true
	}})
}

// pageOf answers with some of all, and with the address of the next page as Harbor writes it, to that host.
func pageOf(w http.ResponseWriter, r *http.Request, all []string, host string) {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	from := 0
	if last := r.URL.Query().Get("last"); last != "" {
		from = slices.Index(all, last) + 1
	}
	to := min(from+n, len(all))
	if to < len(all) {
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?last=%s&n=%d>; rel="next"`, host, r.URL.Path, all[to-1], n))
	}
	json.NewEncoder(w).Encode(map[string]any{"name": "sandbox/app", "tags": all[from:to]})
}

func TestTags(t *testing.T) {
	var many []string
	for i := range 2500 {
		many = append(many, fmt.Sprintf("%04d", i))
	}
	for name, tt := range map[string]struct {
		tags     []string
		host     string
		requests int
	}{
		"one page":                     {many[:1000], "", 1},
		"three pages":                  {many, "", 3},
		"a name that is not the one":   {many, "https://other.test", 3},
		"no tags":                      {nil, "", 1},
		"names that are no tags, even": {[]string{"\x1b[31m", "a b"}, "", 1},
		"a comma in an address":        {many[:1500], "https://other.test/a,b", 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := lists(t, func(w http.ResponseWriter, r *http.Request) { pageOf(w, r, tt.tags, tt.host) })
			got, err := client(s).Tags(t.Context(), ref(t, "%s/sandbox/app:1", s.Host))
			if err != nil || !slices.Equal(got, tt.tags) {
				t.Errorf("%d tags, %v; want %d", len(got), err, len(tt.tags))
			}
			if n := s.Count("GET", "/tags/list"); n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
		})
	}
}

// TestTagsUnchanged asks a registry that gives ETags again, as another client.
func TestTagsUnchanged(t *testing.T) {
	tags, etag, whole := []string{"1", "2"}, `W/"a"`, 0
	for i := range 1500 {
		tags = append(tags, fmt.Sprint("x", i))
	}
	s := lists(t, func(w http.ResponseWriter, r *http.Request) {
		page := etag + r.URL.RawQuery
		w.Header().Set("ETag", page)
		if r.Header.Get("If-None-Match") == page {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		whole++
		pageOf(w, r, tags, "")
	})
	var remembered registry.Lists
	list := func(c *registry.Client, sent int) {
		t.Helper()
		whole = 0
		got, err := c.Tags(t.Context(), ref(t, "%s/sandbox/app", s.Host))
		if err != nil || !slices.Equal(got, tags) {
			t.Errorf("%d tags, %v; want %d", len(got), err, len(tags))
		}
		if whole != sent {
			t.Errorf("%d pages are sent, want %d", whole, sent)
		}
		clear(got)
	}
	again := func(o *registry.Options) { o.Lists = &remembered }
	list(client(s, again), 2)
	list(client(s, again), 0)
	etag, tags = `W/"b"`, tags[:1]
	list(client(s, again), 1)
	list(client(s, again), 0)
	list(client(s), 1)
}

// TestTagsRefuse has registries that are none, or that do not come to an end.
func TestTagsRefuse(t *testing.T) {
	const more = `<?last=%s&n=1000>; rel="next"`
	count, long := 0, strings.Repeat("a", 33<<20)
	for name, tt := range map[string]struct {
		answer     func(w http.ResponseWriter, r *http.Request)
		part, hint string
	}{
		"a web page": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "<html>") }, "does not answer with a list", "A proxy or a web page"},
		"a circle": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", fmt.Sprintf(more, "a"))
			fmt.Fprintln(w, `{"tags":["a"]}`)
		}, "the same page twice", ""},
		"no end": {func(w http.ResponseWriter, _ *http.Request) {
			count++
			w.Header().Set("Link", fmt.Sprintf(more, strconv.Itoa(count)))
			fmt.Fprintf(w, `{"tags":[%s"a"]}`, strings.Repeat(`"a",`, 100_000))
		}, "more than 1000000 tags", "retention rule"},
		"no address": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `<%zz>; rel="next"`)
			fmt.Fprintln(w, `{"tags":["a"]}`)
		}, "no readable address", ""},
		"too many requests": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, "429", "limits requests"},
		"not there": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintln(w, `{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}`)
		}, "no such image", "check repository"},
		"names without measure": {func(w http.ResponseWriter, _ *http.Request) {
			count++
			w.Header().Set("Link", fmt.Sprintf(more, strconv.Itoa(count)))
			fmt.Fprint(w, `{"tags":["`+long+`"]}`)
		}, "more than 64 MiB", "retention rule"},
		"a page without end": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"tags":["`)
			for range 65 {
				fmt.Fprint(w, strings.Repeat("a", 1<<20))
			}
		}, "more than 64 MiB", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := lists(t, tt.answer)
			c := client(s)
			c.Pauses()
			_, err := c.Tags(t.Context(), ref(t, "%s/sandbox/app", s.Host))
			check(t, err, fault.Failed, tt.part, tt.hint)
			if n := s.Count("GET", "/tags/list"); n > 20 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// forPlatform is an image that was made then, on an architecture.
func forPlatform(t *testing.T, arch, created string) v1.Image {
	t.Helper()
	config := &v1.ConfigFile{Architecture: arch, OS: "linux"}
	if created != "" {
		at, err := time.Parse(time.RFC3339, created)
		if err != nil {
			t.Fatal(err)
		}
		config.Created = v1.Time{Time: at}
	}
	img, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestBuilds(t *testing.T) {
	amd, arm := forPlatform(t, "amd64", "2026-01-01T00:00:00Z"), forPlatform(t, "arm64", "2026-01-02T00:00:00Z")
	add := func(img v1.Image, os, arch, variant string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch, Variant: variant}}}
	}
	both := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		add(amd, "linux", "amd64", ""), add(arm, "linux", "arm64", "v8"), add(forPlatform(t, "", "2026-12-31T00:00:00Z"), "unknown", "unknown", ""))
	s := harbor(t, registrytest.Config{})
	one, all, undated := ref(t, "%s/sandbox/app:1", s.Host), ref(t, "%s/sandbox/app:all", s.Host), ref(t, "%s/sandbox/app:undated", s.Host)
	put(t, s, amd, one)
	put(t, s, both, all)
	put(t, s, forPlatform(t, "amd64", ""), undated)
	built := func(arch string, day int) image.Build {
		return image.Build{Platform: "linux/" + arch, Created: time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)}
	}
	file := filepath.Join(t.TempDir(), "cache", "builds.json")
	ledger := image.OpenLedger(file)
	ledger.NoteBuilds("sha256:other", nil, nil)
	c := client(s, func(o *registry.Options) { o.Ledger = image.OpenLedger(file) })
	for _, tt := range []struct {
		name      string
		tag       string
		platforms []string
		want      []image.Build
		gets      int // of manifests and configurations, where nothing is known
	}{
		{"an image", "1", nil, []image.Build{built("amd64", 1)}, 2},
		{"without a date", "undated", nil, []image.Build{{Platform: "linux/amd64"}}, 2},
		{"an index", "all", nil, []image.Build{built("amd64", 1), built("arm64/v8", 2)}, 5},
		{"one of its platforms", "all", []string{"linux/arm64"}, []image.Build{built("arm64/v8", 2)}, 3},
		{"none of its platforms", "all", []string{"linux/s390x"}, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := ref(t, "%s/sandbox/app:%s", s.Host, tt.tag)
			s.Forget()
			fresh := client(s, func(o *registry.Options) { o.Ledger = image.OpenLedger(filepath.Join(t.TempDir(), "builds.json")) })
			_, fetched, err := fresh.Builds(t.Context(), r, tt.platforms)
			if diff := cmp.Diff(tt.want, fetched); diff != "" || err != nil {
				t.Error(err, diff)
			}
			if n := s.Count("GET", "/manifests/") + s.Count("GET", "/blobs/"); n != tt.gets || s.Count("HEAD", "") != 0 {
				t.Errorf("%d requests, %d heads; want %d", n, s.Count("HEAD", ""), tt.gets)
			}
			for range 2 {
				s.Forget()
				digest, got, err := c.Builds(t.Context(), r, tt.platforms)
				if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
					t.Error(err, diff)
				}
				if want, _ := client(s).Digest(t.Context(), r); digest != want {
					t.Errorf("digest %s, want %s", digest, want)
				}
			}
			// one head is ours
			if gets, heads := s.Count("GET", "/manifests/")+s.Count("GET", "/blobs/"), s.Count("HEAD", "/manifests/")-1; gets != 0 || heads != 1 {
				t.Errorf("what is known costs %d gets and %d heads", gets, heads)
			}
		})
	}
}

// TestBuildsRefuse has tags that are no images, or far too many.
func TestBuildsRefuse(t *testing.T) {
	var many []mutate.IndexAddendum
	for i := range 70 {
		many = append(many, mutate.IndexAddendum{Add: forPlatform(t, fmt.Sprintf("a%d", i), "")})
	}
	s := harbor(t, registrytest.Config{})
	crowd, chart := ref(t, "%s/sandbox/app:crowd", s.Host), ref(t, "%s/sandbox/app:chart", s.Host)
	put(t, s, mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), many...), crowd)
	_, _, err := client(s).Builds(t.Context(), crowd, nil)
	check(t, err, fault.Failed, "more than 64 images", "")
	_, _, err = client(s).Builds(t.Context(), chart, nil)
	check(t, err, fault.Failed, "no such image", "")
}
