package registry

import (
	"net/http"
	"strings"
	"time"
)

// observed tells of each request that goes out: a redirect and a repeated one are their own.
type observed struct {
	inner http.RoundTripper
	tell  func(host, operation string, status int, took time.Duration)
}

func (o observed) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := o.inner.RoundTrip(r)
	status := 0
	if err == nil {
		status = resp.StatusCode
	}
	o.tell(r.URL.Host, operation(r), status, time.Since(began))
	return resp, err
}

// operation is what a request is for, by its path (distribution specification) and, for a token, by its query.
func operation(r *http.Request) string {
	path := r.URL.Path
	switch {
	case r.URL.Query().Has("service") || strings.HasSuffix(path, "/token"):
		return "token"
	case strings.HasPrefix(path, "/api/"):
		return "api"
	case !strings.HasPrefix(path, "/v2/"):
		return "other" // where a redirect leads
	case strings.HasSuffix(path, "/tags/list"):
		return "tags"
	case strings.Contains(path, "/manifests/"), strings.Contains(path, "/referrers/"):
		return "manifest"
	case strings.Contains(path, "/blobs/"):
		return "blob"
	}
	return "other"
}
