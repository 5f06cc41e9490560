// Package githubtest is a stand-in for GitHub's API, REST and GraphQL, over real git repositories: what is committed
// through it is there for git to judge.
//
// Its answers are those of docs.github.com/rest and docs.github.com/graphql, cut down to what a client may rely on.
package githubtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server is the API of one GitHub server; it answers below / as api.github.com does, and below /api as a GitHub Enterprise
// Server. Set its fields before the first request.
type Server struct {
	// Before is asked first, about each request, one at a time: true is that it has answered itself. It may push, so that
	// what follows loses its race.
	Before func(w http.ResponseWriter, r *http.Request) bool
	// Lose is asked after each request was carried out: true drops the connection instead of answering.
	Lose func(r *http.Request) bool
	// Clock is the server's, for App tokens; nil is this machine's.
	Clock func() time.Time

	hooks        sync.Mutex // held while Before and Lose run
	mu           sync.Mutex
	routes       *http.ServeMux
	repositories map[string]*Repository
	grants       map[string]Grant
	apps         []App
	log          []string
	remaining    int
	reset        time.Time
}

// Grant is what a token may do. Permissions are "contents" and "pull_requests", to write; without any it may do all.
type Grant struct {
	Login        string
	Permissions  []string
	Repositories []string // "owner/name"; without any: all
}

// New is a server without repositories that knows nobody.
func New() *Server {
	s := &Server{repositories: map[string]*Repository{}, grants: map[string]Grant{}, routes: http.NewServeMux(), remaining: 5000}
	s.reset = time.Now().Add(time.Hour)
	s.route()
	return s
}

// Allow makes the server know a token.
func (s *Server) Allow(token string, grant Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grants[token] = grant
}

// Limit sets how many requests are left until reset; the one after them is refused.
func (s *Server) Limit(remaining int, reset time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remaining, s.reset = remaining, reset
}

// Requests are those since the last call: "METHOD URI body", in order.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	s.log = append(s.log, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+strings.TrimSpace(string(body))))
	s.mu.Unlock()
	if s.Before != nil && s.hook(func() bool { return s.Before(w, r) }) {
		return
	}
	answer := httptest.NewRecorder()
	s.mu.Lock()
	s.serve(answer, r)
	s.mu.Unlock()
	if s.Lose != nil && s.hook(func() bool { return s.Lose(r) }) {
		panic(http.ErrAbortHandler)
	}
	copyAnswer(w, r, answer)
}

// hook runs one of the server's hooks at a time.
func (s *Server) hook(run func() bool) bool {
	s.hooks.Lock()
	defer s.hooks.Unlock()
	return run()
}

// copyAnswer sends an answer with its ETag, or 304 to who has it already.
func copyAnswer(w http.ResponseWriter, r *http.Request, answer *httptest.ResponseRecorder) {
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	if r.Method == http.MethodGet && answer.Code == http.StatusOK {
		tag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(answer.Body.Bytes()))
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.WriteHeader(answer.Code)
	_, _ = answer.Body.WriteTo(w) // a client that is gone is its own business
}

// serve answers a request of somebody who is known and within the limit.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-RateLimit-Limit", "5000")
	w.Header().Set("X-RateLimit-Reset", fmt.Sprint(s.reset.Unix()))
	if s.remaining == 0 {
		w.Header().Set("X-RateLimit-Remaining", "0")
		refuse(w, http.StatusForbidden, "API rate limit exceeded for user ID 1.", "rest/using-the-rest-api/rate-limits-for-the-rest-api")
		return
	}
	s.remaining--
	w.Header().Set("X-RateLimit-Remaining", fmt.Sprint(s.remaining))
	for _, prefix := range []string{"/api/v3", "/api"} {
		if rest, ok := strings.CutPrefix(r.URL.Path, prefix+"/"); ok {
			r.URL.Path, r.URL.RawPath = "/"+rest, strings.TrimPrefix(r.URL.RawPath, prefix)
			break
		}
	}
	if strings.HasSuffix(r.URL.Path, "/installation") || strings.HasPrefix(r.URL.Path, "/app/") {
		s.routes.ServeHTTP(w, r) // by an App itself
		return
	}
	if _, known := s.grants[token(r)]; !known {
		refuse(w, http.StatusUnauthorized, "Bad credentials", "rest")
		return
	}
	s.routes.ServeHTTP(w, r)
}

func token(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

// may reports whether the request's token has a permission for a repository, "" for to read it.
func (s *Server) may(r *http.Request, name, permission string) bool {
	g := s.grants[token(r)]
	return (len(g.Repositories) == 0 || slices.Contains(g.Repositories, name)) &&
		(permission == "" || len(g.Permissions) == 0 || slices.Contains(g.Permissions, permission))
}

// handler answers a request about a repository; sent is its body.
type handler func(w http.ResponseWriter, r *http.Request, repo *Repository, sent object)

type object = map[string]any

// on routes requests about a repository, for which a token needs a permission.
func (s *Server) on(pattern, permission string, handle handler) {
	method, path, _ := strings.Cut(pattern, " ")
	s.routes.HandleFunc(method+" /repos/{owner}/{name}"+path, func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("owner") + "/" + r.PathValue("name")
		repo := s.repositories[name]
		if repo == nil || !s.may(r, name, "") {
			notFound(w)
			return
		}
		if permission != "" {
			w.Header().Set("X-Accepted-GitHub-Permissions", permission+"=write")
		}
		if !s.may(r, name, permission) {
			refuse(w, http.StatusForbidden, "Resource not accessible by integration", "rest")
			return
		}
		handle(w, r, repo, read(r))
	})
}

// read is the body of a request. A bare list is one of labels, which GitHub takes both ways.
func read(r *http.Request) object {
	var body any
	_ = json.NewDecoder(r.Body).Decode(&body) // no body is an empty one
	if labels, ok := body.([]any); ok {
		return object{"labels": labels}
	}
	sent, _ := body.(object)
	return sent
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body)
	}
}

// refuse answers with an error as GitHub writes it.
func refuse(w http.ResponseWriter, status int, message, page string, errors ...object) {
	body := object{"message": message, "documentation_url": "https://docs.github.com/" + page, "status": fmt.Sprint(status)}
	if len(errors) > 0 {
		body["errors"] = errors
	}
	reply(w, status, body)
}

func notFound(w http.ResponseWriter) { refuse(w, http.StatusNotFound, "Not Found", "rest") }

// SecondaryLimit answers that there were too many requests in a short time; after is what Retry-After says, none if 0.
func SecondaryLimit(w http.ResponseWriter, after time.Duration) {
	if after > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(after.Seconds())))
	}
	refuse(w, http.StatusForbidden, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
		"free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits")
}
