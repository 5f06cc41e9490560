package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// registry holds made-up images: as many tags in every repository, each of one platform. It answers after a while, as a
// registry that is not on this machine does.
type registry struct {
	host     string
	tags     int
	latency  time.Duration
	harbor   bool // with Harbor's token service and API
	requests atomic.Int64
	lists    atomic.Int64
}

// serve starts a registry that runs as long as we do.
func serve(r *registry) (*registry, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r.host = listener.Addr().String()
	go http.Serve(listener, r)
	return r, nil
}

func (r *registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.requests.Add(1)
	time.Sleep(r.latency)
	path := q.URL.Path
	switch {
	case path == "/v2/" && r.harbor:
		w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/service/token",service="harbor-registry"`, r.host))
		w.WriteHeader(http.StatusUnauthorized)
	case path == "/v2/":
	case path == "/service/token":
		write(w, "application/json", map[string]any{"token": "none", "expires_in": 1800})
	case strings.HasSuffix(path, "/tags/list"):
		r.lists.Add(1)
		write(w, "application/json", map[string]any{"tags": r.names(0, r.tags)})
	case strings.HasPrefix(path, "/api/v2.0/"):
		r.artifacts(w, q)
	case strings.Contains(path, "/manifests/"):
		raw, _ := manifest(path[strings.LastIndexByte(path, '/')+1:])
		send(w, "application/vnd.oci.image.manifest.v1+json", raw)
	case strings.Contains(path, "/blobs/"):
		send(w, "application/octet-stream", config)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (r *registry) names(from, to int) []string {
	names := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		names = append(names, "1.0."+strconv.Itoa(i))
	}
	return names
}

// config is every image's, so that what it costs is to ask for it.
var config = []byte(`{"os":"linux","architecture":"amd64","created":"2026-01-01T00:00:00Z","rootfs":{"type":"layers","diff_ids":[]}}`)

// manifest is that of a tag; a digest is taken for one.
func manifest(tag string) (raw []byte, digest string) {
	raw = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%x","size":%d},"layers":[],"annotations":{"tag":%q}}`,
		sha256.Sum256(config), len(config), tag)
	return raw, fmt.Sprintf("sha256:%x", sha256.Sum256(raw))
}

// artifacts is a page of Harbor's list.
func (r *registry) artifacts(w http.ResponseWriter, q *http.Request) {
	page, _ := strconv.Atoi(q.URL.Query().Get("page"))
	size, _ := strconv.Atoi(q.URL.Query().Get("page_size"))
	var all []map[string]any
	for i := (page - 1) * size; i < min(page*size, r.tags); i++ {
		name := "1.0." + strconv.Itoa(i)
		_, digest := manifest(name)
		all = append(all, map[string]any{
			"digest": digest, "push_time": "2026-01-01T00:00:00.000Z", "type": "IMAGE", "tags": []map[string]any{{"name": name}},
			"extra_attrs": map[string]any{"created": time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC), "os": "linux", "architecture": "amd64"},
		})
	}
	w.Header().Set("X-Total-Count", strconv.Itoa(r.tags))
	write(w, "application/json", all)
}

func write(w http.ResponseWriter, contentType string, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	send(w, contentType, raw)
}

func send(w http.ResponseWriter, contentType string, raw []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256(raw)))
	w.Write(raw)
}
