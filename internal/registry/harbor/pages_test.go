package harbor_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestPages has lists whose length is told, told wrongly, or not told.
func TestPages(t *testing.T) {
	for name, tt := range map[string]struct {
		n, size  int // elements there are, and to a page
		total    string
		link     bool
		requests int
		err      string
	}{
		"none":                      {n: 0, size: 100, total: "0", requests: 1},
		"one page":                  {n: 100, size: 100, total: "100", requests: 1},
		"several":                   {n: 950, size: 100, total: "950", requests: 10},
		"no total":                  {n: 250, size: 100, requests: 3},
		"no total, full pages":      {n: 200, size: 100, requests: 3},
		"a link":                    {n: 120, size: 50, link: true, requests: 3},
		"short pages":               {n: 120, size: 50, total: "120", requests: 3},
		"fewer than it says":        {n: 100, size: 100, total: "150", requests: 2},
		"more than anybody can use": {n: 100, size: 100, total: "1000000", requests: 1, err: "lists more than 100000 elements"},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/artifacts") {
					return false
				}
				page, _ := strconv.Atoi(r.URL.Query().Get("page"))
				all := []map[string]any{}
				for i := (page - 1) * tt.size; i < min(page*tt.size, tt.n); i++ {
					all = append(all, map[string]any{"digest": fmt.Sprint(i)})
				}
				if tt.total != "" {
					w.Header().Set("X-Total-Count", tt.total)
				}
				if tt.link && page*tt.size < tt.n {
					w.Header().Set("Link", `</api/v2.0/x>; rel="next"`)
				}
				json.NewEncoder(w).Encode(all)
				return true
			}})
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			all, err := harbor.New(registry.New(registry.Options{}), s.Host).Artifacts(t.Context(), "team/app")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil || len(all) != tt.n || s.Count("GET", "/artifacts") != tt.requests {
				t.Errorf("%d elements of %d in %d requests, %v", len(all), tt.n, s.Count("GET", "/artifacts"), err)
			}
			for i, a := range all {
				if a.Digest != fmt.Sprint(i) {
					t.Fatalf("%s at %d", a.Digest, i)
				}
			}
		})
	}
}

// TestPagesRefuse has pages with more than was asked for, and elements that are too large together.
func TestPagesRefuse(t *testing.T) {
	element := map[string]any{"digest": strings.Repeat("a", 10_000), "extra_attrs": []int{1}}
	n := 0
	s := registrytest.Start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/artifacts") {
			return false
		}
		all := []any{}
		for range n {
			all = append(all, element)
		}
		w.Header().Set("Link", `</api/v2.0/x>; rel="next"`)
		json.NewEncoder(w).Encode(all)
		return true
	}})
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for size, part := range map[int]string{101: "101 elements where 100 were asked for", 50: "lists more than 3 MiB"} {
		n = size
		c := harbor.New(registry.New(registry.Options{}), s.Host)
		harbor.SetMost(c, 3<<20)
		_, err := c.Artifacts(t.Context(), "team/app")
		check(t, err, fault.Failed, part, "")
	}
	if got := s.Count("GET", "/artifacts"); got != 1+7 {
		t.Errorf("%d requests", got)
	}
}
