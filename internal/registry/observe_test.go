package registry_test

import (
	"crypto/x509"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// tally counts requests by what they were for and how they ended.
type tally struct {
	t    *testing.T
	host string

	mu     sync.Mutex
	counts map[string]int
}

func (l *tally) observe(host, operation string, status int, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if took < 0 {
		l.t.Errorf("%s %s: %d after %v", host, operation, status, took)
	}
	if host != l.host {
		operation = host
	}
	l.counts[operation+" "+strconv.Itoa(status)]++
}

// Each request is told of as it ended, also those that are repeated or get no answer; a limited registry's too.
func TestObserve(t *testing.T) {
	for name, setting := range map[string]registry.Setting{"as all": {}, "with an authority of its own": {RootCAs: x509.NewCertPool(), Limit: 1000}} {
		t.Run(name, func(t *testing.T) {
			s := harbor(t, registrytest.Config{Faults: []*registrytest.Fault{{Path: "/tags/list", Status: http.StatusBadGateway}}})
			setting.Host = s.Host
			l := &tally{t: t, host: s.Host, counts: map[string]int{}}
			c := client(s, func(o *registry.Options) { o.Observe, o.Settings = l.observe, []registry.Setting{setting} })
			if _, err := c.Tags(t.Context(), ref(t, "%s/sandbox/app", s.Host)); err == nil {
				t.Error("tags of a repository that is not there")
			}
			if _, err := c.Digest(t.Context(), ref(t, "%s/sandbox/app:1", s.Host)); err == nil {
				t.Error("a digest of an image that is not there")
			}
			if _, err := c.Greet(t.Context(), "127.0.0.1:1"); err == nil {
				t.Error("a registry on port 1")
			}
			want := map[string]int{"other 0": 1, "other 401": 1, // HTTP after TLS, for it is on this machine
				"token 200": 2, "tags 502": 1, "tags 404": 1, "manifest 404": 1, "127.0.0.1:1 0": 2 * 3}
			if diff := cmp.Diff(want, l.counts); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOperation(t *testing.T) {
	for url, want := range map[string]string{
		"https://auth.docker.io/token?service=registry.docker.io&scope=repository:library/nginx:pull": "token",
		"https://harbor.example.com/service/token?account=robot&service=harbor-registry":              "token",
		"https://ghcr.io/token":                              "token",
		"https://harbor.example.com/v2/":                     "other",
		"https://harbor.example.com/v2/a/tags/list?n=1000":   "tags",
		"https://harbor.example.com/v2/a/manifests/1":        "manifest",
		"https://harbor.example.com/v2/a/referrers/sha256:1": "manifest",
		"https://harbor.example.com/v2/a/blobs/uploads/":     "blob",
		"https://harbor.example.com/api/v2.0/projects":       "api",
		"https://storage.example.com/blobs/x":                "other",
	} {
		r, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := registry.Operation(r); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}
