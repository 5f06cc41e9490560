// Package registrytest is a registry in the same process that answers as Harbor does.
//
// Under it stores go-containerregistry's registry; in front of that stand Harbor's token service, projects, robot
// accounts, tag immutability, quota and read-only mode, whose answers are those recorded in testdata/harbor.
package registrytest

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	storage "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Robot is an account that has rights on one project: it may pull and read, and do what is set. Admin may do all,
// everywhere.
type Robot struct {
	Name, Secret              string
	Project                   string
	Push, Delete, Scan, Label bool
	Admin                     bool
}

// Config is what an administrator would set up. The zero value is a registry that wants no login and has every project.
type Config struct {
	Projects []string // that exist; with none and no robots, nobody needs a login
	Public   []string // projects that anybody may pull from
	Robots   []Robot
	// Immutable are patterns (path.Match) of PROJECT/NAME:TAG that are never given to another image.
	Immutable []string
	// Quota is how many bytes of blobs a project may hold.
	Quota    map[string]int64
	ReadOnly bool
	TLS      bool
	// Address is where to listen; empty is a free port of the loopback interface.
	Address string
	// Names are further host names for the certificate.
	Names []string
	// TokenLife is what the token service promises; 0 is Harbor's half an hour.
	TokenLife time.Duration
	// Artifacts are known to Harbor's API from the start; the registry has no content for them.
	Artifacts []Artifact
	// Scanner scans images; nil is a Harbor without one.
	Scanner *Scanner
	// Resumable registries tell how much of a broken upload they have; Harbor's does not.
	Resumable bool
	// NoReferrers is a registry from before the listing of referrers (distribution specification 1.1).
	NoReferrers bool
	// Faults are what goes wrong.
	Faults []*Fault
	// Instead handles a request in place of the registry when it returns true.
	Instead func(http.ResponseWriter, *http.Request) bool
}

// Request is one request as it arrived.
type Request struct {
	Method, Path, Query string
	Authorization       string
}

// Server is a running registry.
type Server struct {
	Host string // "127.0.0.1:PORT"
	URL  string // "http://127.0.0.1:PORT", or https
	CA   []byte // PEM of the certificate's authority, with TLS

	config  Config
	http    *http.Server
	inner   http.Handler
	blobs   *blobs
	tokens  *tokens
	mu      sync.Mutex
	log     []Request
	uploads map[string][]byte // by path: what was received

	apiMu      sync.Mutex
	catalog    []*Artifact
	lastID     int
	made       []Label
	described  map[string]string
	collecting int
}

// New starts a registry; it runs until Close.
func New(config Config) (*Server, error) {
	s := &Server{config: config, blobs: &blobs{repositories: map[string]map[v1.Hash][]byte{}}, tokens: &tokens{}, uploads: map[string][]byte{}}
	s.inner = storage.New(storage.WithBlobHandler(s.blobs), storage.WithReferrersSupport(!config.NoReferrers), storage.Logger(log.New(io.Discard, "", 0)))
	s.described = map[string]string{}
	for _, a := range config.Artifacts {
		s.add(&a)
	}
	address := config.Address
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s.Host = listener.Addr().String()
	s.URL = "http://" + s.Host
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	if !config.TLS {
		go s.http.Serve(listener)
		return s, nil
	}
	s.URL = "https://" + s.Host
	certificate, ca, err := selfSigned(append([]string{"127.0.0.1", "localhost"}, config.Names...))
	if err != nil {
		listener.Close()
		return nil, err
	}
	s.CA = ca
	s.http.TLSConfig = certificate
	go s.http.ServeTLS(listener, "", "")
	return s, nil
}

// Close stops the registry at once.
func (s *Server) Close() error { return s.http.Close() }

// Requests are those that arrived so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Forget empties Requests.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// Count is how many requests of that method had part in their path.
func (s *Server) Count(method, part string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Method == method && strings.Contains(r.Path, part) {
			n++
		}
	}
	return n
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.log = append(s.log, Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Authorization: r.Header.Get("Authorization")})
	s.mu.Unlock()
	if f := s.fault(r); f != nil {
		f.spoil(w, r, s.serve)
		return
	}
	s.serve(w, r)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.config.Instead != nil && s.config.Instead(w, r):
	case r.URL.Path == "/service/token":
		s.token(w, r)
	case r.URL.Path == "/v2/" || r.URL.Path == "/v2":
		s.greet(w, r)
	case strings.HasPrefix(r.URL.Path, "/v2/"):
		s.registry(w, r)
	case strings.HasPrefix(r.URL.Path, "/api/v2.0/"):
		s.api(w, r)
	default: // Harbor's portal
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintln(w, "<!doctype html><title>Harbor</title>")
	}
}

// open reports whether the registry wants no login.
func (s *Server) open() bool { return len(s.config.Robots) == 0 && len(s.projects()) == 0 }

// projects are those that exist.
func (s *Server) projects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config.Projects
}

// public reports whether anybody may pull from a project.
func (s *Server) public(project string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.config.Public, project)
}

func (s *Server) greet(w http.ResponseWriter, r *http.Request) {
	switch who := s.who(r); {
	case s.open(), who.known:
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		io.WriteString(w, "{}")
	case who.tried:
		refuse(w, unauthorized("unauthorized", basicChallenge))
	default:
		refuse(w, unauthorized("unauthorized", bearerChallenge(r, "", "")))
	}
}

// registry is what stands between a client and the storage, in the order in which Harbor asks.
func (s *Server) registry(w http.ResponseWriter, r *http.Request) {
	t := targetOf(r)
	if !s.open() {
		if refusal := s.access(r, t); refusal != nil {
			refuse(w, *refusal)
			return
		}
	}
	if refusal := s.rules(r, t); refusal != nil {
		refuse(w, *refusal)
		return
	}
	if s.mounted(w, r, t) || s.upload(w, r, t) {
		return
	}
	if t.kind == "manifests" && r.Method == http.MethodPut {
		s.take(w, r, t)
		return
	}
	s.inner.ServeHTTP(&absolute{ResponseWriter: w, base: base(r)}, r)
}

// take stores a manifest, and notes it for Harbor's API.
func (s *Server) take(w http.ResponseWriter, r *http.Request, t target) {
	raw, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(raw))
	a := &absolute{ResponseWriter: w, base: base(r)}
	s.inner.ServeHTTP(a, r)
	if a.status == http.StatusCreated {
		s.pushed(t.repository, t.name, a.Header().Get("Docker-Content-Digest"), raw)
	}
}

// base is how the client called us.
func base(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// mounted answers a mount of a blob that the other repository has.
func (s *Server) mounted(w http.ResponseWriter, r *http.Request, t target) bool {
	from, digest := r.URL.Query().Get("from"), r.URL.Query().Get("mount")
	if r.Method != http.MethodPost || t.kind != "blobs" || from == "" {
		return false
	}
	if !s.open() && !s.allowed(s.who(r), from, "pull") {
		return false
	}
	h, err := v1.NewHash(digest)
	if err != nil || !s.blobs.link(from, t.repository, h) {
		return false
	}
	w.Header().Set("Location", base(r)+path.Join("/v2", t.repository, "blobs", digest))
	w.Header().Set("Docker-Content-Digest", digest)
	w.WriteHeader(http.StatusCreated)
	return true
}

// target is what a request is about.
type target struct {
	repository, project string
	kind                string // blobs or manifests
	name                string // a tag, a digest, or uploads/ID
}

func targetOf(r *http.Request) target {
	rest := strings.TrimPrefix(r.URL.Path, "/v2/")
	var t target
	for _, kind := range []string{"blobs", "manifests", "tags", "referrers"} {
		if repository, name, found := strings.Cut(rest, "/"+kind+"/"); found {
			t = target{repository: repository, kind: kind, name: name}
		}
	}
	t.project, _, _ = strings.Cut(t.repository, "/")
	return t
}

// absolute makes Locations absolute, as Harbor's are.
type absolute struct {
	http.ResponseWriter
	base   string
	status int
}

func (a *absolute) WriteHeader(status int) {
	a.status = status
	if location := a.Header().Get("Location"); strings.HasPrefix(location, "/") {
		a.Header().Set("Location", a.base+location)
	}
	a.ResponseWriter.WriteHeader(status)
}
