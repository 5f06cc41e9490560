package buildkit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// Request is one image to build. Of Sources, what fetches and what runs is not used: the daemon does both.
type Request struct {
	Name        string // of the Dockerfile, as errors call it
	Text        []byte // of the Dockerfile
	Sources     dockerfile.Sources
	Options     dockerfile.Options
	Platforms   []string          // an image for each; none is Options.Platform, else this machine's Linux
	Compression image.Compression // of new layers

	CacheFrom []imageref.Ref // where steps are looked up
	CacheTo   []imageref.Ref // where they are put
	CacheAll  bool           // put the steps there too that the image does not show

	NoCache       bool
	NoCacheStages []string
	Pull          bool // ask the registries for what images stand for, whatever the daemon knows

	// There reports whether a layer is where the image goes: then the daemon does not hand it over, and to read it is an
	// error. It may be nil.
	There func(ctx context.Context, digest string) bool

	Logins Logins                // into registries; nil is nobody's
	Step   func(dockerfile.Step) // told of each instruction; may be nil
}

// attributes are the options of BuildKit's frontend (moby/buildkit, frontend/dockerui).
func (r Request) attributes() (map[string]string, error) {
	o := r.Options
	all := map[string]string{"filename": fileName, "target": o.Target, "hostname": o.Hostname}
	// The daemon's machine may be another kind than ours.
	all["platform"] = cmp.Or(strings.Join(r.Platforms, ","), o.Platform.String(), "linux/"+runtime.GOARCH)
	if o.ShmSize > 0 {
		all["shm-size"] = strconv.FormatInt(o.ShmSize, 10)
	}
	all["ulimit"] = strings.Join(o.Limits, ",")
	if o.Network != step.Isolated {
		all["force-network-mode"] = string(o.Network)
	}
	if r.Pull {
		all["image-resolve-mode"] = "pull"
	}
	var hosts []string
	for _, line := range o.Hosts {
		address, name, _ := strings.Cut(line, " ")
		hosts = append(hosts, name+"="+address)
	}
	all["add-hosts"] = strings.Join(hosts, ",")
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	if r.NoCache || len(r.NoCacheStages) > 0 { // all when it is empty
		all["no-cache"] = strings.Join(r.NoCacheStages, ",")
	}
	if len(r.CacheFrom) > 0 {
		raw, err := json.Marshal(r.cached(r.CacheFrom))
		if err != nil {
			return nil, err
		}
		all["cache-imports"] = string(raw)
	}
	r.named(all)
	return all, nil
}

// named are the attributes that have names of their own.
func (r Request) named(all map[string]string) {
	for key, value := range r.Options.Args {
		if key != sourceDateEpoch || value != "" {
			all["build-arg:"+key] = value
		}
	}
	for key, value := range r.Options.Origin { // which is weaker than the Dockerfile's
		if !bytes.Contains(r.Text, []byte(key)) {
			all["label:"+key] = value
		}
	}
	for key, value := range r.Options.Labels {
		all["label:"+key] = value
	}
}

const sourceDateEpoch = "SOURCE_DATE_EPOCH"

// contexts are the further build contexts.
func (r Request) contexts(all map[string]string, opened layouts) {
	for name, where := range r.Options.Contexts {
		if _, files := r.Sources.Contexts[name]; files {
			where = "local:" + name
		}
		if id := layoutName(name); opened[id].root != nil {
			where = layoutScheme + id + "@" + opened[id].digest
		}
		all["context:"+name] = where
	}
}

// cacheEntry is one of BuildKit's cache importers or exporters.
type cacheEntry struct {
	Type  string
	Attrs map[string]string
}

func (r Request) cached(refs []imageref.Ref) []cacheEntry {
	var all []cacheEntry
	for _, ref := range refs {
		all = append(all, cacheEntry{"registry", map[string]string{"ref": ref.String()}})
	}
	return all
}

// caches reports whether the build may write into a repository of a registry.
func (r Request) caches(host, repository string) bool {
	return slices.ContainsFunc(r.CacheTo, func(ref imageref.Ref) bool { return ref.Registry == host && ref.Repository == repository })
}

// names reports whether the build may have to do with a registry: its Dockerfile or its options have its name in them, or
// leave the registry out, as references to Docker Hub do.
func (r Request) names(host string) bool {
	if host == dockerHub || bytes.Contains(r.Text, []byte(host)) {
		return true
	}
	in := func(values map[string]string) bool {
		for _, value := range values {
			if strings.Contains(value, host) {
				return true
			}
		}
		return false
	}
	cache := slices.ContainsFunc(slices.Concat(r.CacheFrom, r.CacheTo), func(ref imageref.Ref) bool { return ref.Registry == host })
	return cache || in(r.Options.Args) || in(r.Options.Contexts)
}

// dockerHub is the host of Docker Hub as logins have it.
const dockerHub = "index.docker.io"

// export are the options of BuildKit's exporter of OCI layouts.
func (r Request) export() map[string]string {
	all := map[string]string{"tar": "false", "compression": string(r.Compression.Algorithm)}
	switch r.Compression.Algorithm {
	case "":
		all["compression"] = "gzip"
	case image.None:
		all["compression"] = "uncompressed"
	}
	if r.Compression.Level > 0 {
		all["compression-level"] = strconv.Itoa(r.Compression.Level)
	}
	if r.Options.Args[sourceDateEpoch] != "" {
		all["rewrite-timestamp"] = "true"
	}
	return all
}

// message is the request to build, in a session.
func (r Request) message(ref string, s *session) (message, error) {
	attributes, err := r.attributes()
	if err != nil {
		return nil, err
	}
	r.contexts(attributes, s.layouts)
	m := message{}.text(1, ref).text(5, s.id).text(6, "dockerfile.v0").pairs(7, attributes)
	m = m.text(3, "oci").pairs(4, r.export()) // what daemons before 0.13 read
	m = m.data(13, message{}.text(1, "oci").pairs(2, r.export()))
	var cache message
	for _, e := range r.cached(r.CacheTo) {
		if r.CacheAll {
			e.Attrs["mode"] = "max"
		}
		cache = cache.data(4, message{}.text(1, e.Type).pairs(2, e.Attrs))
	}
	for _, e := range r.cached(r.CacheFrom) {
		cache = cache.data(5, message{}.text(1, e.Type).pairs(2, e.Attrs))
	}
	m = m.data(8, cache)
	if r.hostNetwork() {
		m = m.text(9, "network.host")
	}
	return m, nil
}

// hostNetwork reports whether a step wants the daemon's network. To ask for it without need is an error where it is not allowed.
func (r Request) hostNetwork() bool {
	return r.Options.Network == step.Host || bytes.Contains(r.Text, []byte("--network=host"))
}

// sharedKey tells BuildKit which builds have the same context, of which it need not be sent again what has not changed.
func (r Request) sharedKey() string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(hostname()+" "+r.Name)))
}
