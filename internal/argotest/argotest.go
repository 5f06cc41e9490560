// Package argotest is an Argo CD in the same process: its own API and its cluster's, with applications that change as a real
// one was seen to change them.
package argotest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ksera524/imgbump/internal/rollout"
)

// Namespace is where the applications are.
const Namespace = "argocd"

// Server is an http.Handler. Nothing changes by itself: the next write comes when somebody listens to a stream, or else asks.
type Server struct {
	Token   string // that it takes
	NoPatch bool   // the account may read, and not ask for a refresh
	Silent  bool   // streams end at once
	Windows string // what is said of sync windows, "" for nothing
	Secret  string // of the webhook, "" for none

	Answers map[string]string // what is said at further paths; who asks for another path has no right to

	down         atomic.Bool
	mu           sync.Mutex
	applications map[string]*application
	requests     []string
	changed      chan struct{} // closed when something has changed
}

// application is one, as it is, as it will be, and what a refresh sets off.
type application struct {
	now, gone       *rollout.Application
	next, onRefresh []*rollout.Application
	listeners       int
}

// Put makes an application be so.
func (s *Server) Put(a *rollout.Application) {
	s.edit(func() { s.applications[a.Metadata.Name] = &application{now: a} })
}

// OnRefresh says what Argo CD writes when it is asked to compare an application anew, the first time. The request is answered
// when the annotation that asks for it is gone.
func (s *Server) OnRefresh(name string, writes ...*rollout.Application) {
	s.edit(func() { s.applications[name].onRefresh = writes })
}

// Delete takes an application away.
func (s *Server) Delete(name string) {
	s.edit(func() {
		a := s.applications[name]
		a.gone, a.now = a.now, nil
	})
}

// Down ends every connection from now on without an answer.
func (s *Server) Down() { s.down.Store(true) }

// Requests are those that there were, as METHOD PATH?QUERY.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Await waits for a request that holds a text, and reports whether there was one before the context ended.
func (s *Server) Await(ctx context.Context, text string) bool {
	for {
		s.edit(func() {}) // so that there is a channel
		s.mu.Lock()
		changed := s.changed
		found := slices.ContainsFunc(s.requests, func(r string) bool { return strings.Contains(r, text) })
		s.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

func (s *Server) edit(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.applications == nil {
		s.applications, s.changed = map[string]*application{}, make(chan struct{})
	}
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// advance goes on to the next write.
func (a *application) advance() {
	if len(a.next) > 0 {
		a.now, a.next = a.next[0], a.next[1:]
	}
}

// refresh begins what a refresh sets off, up to the end of the comparison.
func (a *application) refresh() {
	a.next, a.onRefresh = append(a.next, a.onRefresh...), nil
	for a.advance(); len(a.now.Metadata.Annotations) > 0 && len(a.next) > 0; {
		a.advance()
	}
}

const (
	own     = "/api/v1/applications/"
	streams = "/api/v1/stream/applications"
	objects = "/apis/argoproj.io/v1alpha1/namespaces/" + Namespace + "/applications"
)

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.down.Load() {
		panic(http.ErrAbortHandler)
	}
	s.edit(func() { s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI()) })
	query := r.URL.Query()
	answer, answered := s.Answers[r.URL.Path]
	name, isObject := strings.CutPrefix(r.URL.Path, objects+"/")
	selected, _ := strings.CutPrefix(query.Get("fieldSelector"), "metadata.name=")
	switch {
	case r.URL.Path == webhook:
		s.webhook(w, r)
	case r.Header.Get("Authorization") != "Bearer "+s.Token:
		refuse(w, r, http.StatusUnauthorized, 16, "invalid session: token is expired", "")
	case answered:
		fmt.Fprint(w, answer)
	case strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/"), strings.Contains(r.URL.Path, "/rollouts/"):
		refuse(w, r, http.StatusForbidden, 0, fmt.Sprintf(`%s is forbidden: User "ci" cannot do that`, path.Base(r.URL.Path)), "")
	case r.URL.Path == streams:
		s.stream(w, r, query.Get("name"), func(kind string, a *rollout.Application) any {
			return map[string]any{"result": map[string]any{"type": kind, "application": a}}
		})
	case r.URL.Path == objects && query.Get("watch") == "1":
		s.stream(w, r, selected, func(kind string, a *rollout.Application) any { return map[string]any{"type": kind, "object": a} })
	case isObject && r.Method == http.MethodPatch && s.NoPatch:
		refuse(w, r, http.StatusForbidden, 0, fmt.Sprintf(`applications.argoproj.io %q is forbidden: User "ci" cannot patch resource "applications"`, name), name)
	case isObject:
		s.one(w, r, name, r.Method == http.MethodPatch)
	case strings.HasSuffix(r.URL.Path, "/syncwindows"):
		fmt.Fprint(w, s.Windows)
	case strings.HasPrefix(r.URL.Path, own):
		s.one(w, r, strings.TrimPrefix(r.URL.Path, own), query.Get("refresh") != "")
	default:
		http.NotFound(w, r)
	}
}

// one answers with an application.
func (s *Server) one(w http.ResponseWriter, r *http.Request, name string, refresh bool) {
	var now *rollout.Application
	s.edit(func() {
		a := s.applications[name]
		switch {
		case a == nil || a.now == nil:
			return
		case refresh:
			a.refresh()
		case a.listeners == 0:
			a.advance()
		}
		now = a.now
	})
	switch {
	case now != nil:
		json.NewEncoder(w).Encode(now)
	case strings.HasPrefix(r.URL.Path, objects):
		refuse(w, r, http.StatusNotFound, 0, fmt.Sprintf("applications.argoproj.io %q not found", name), name)
	default:
		refuse(w, r, http.StatusForbidden, 7, "permission denied", name)
	}
}

// stream tells of an application, and of each write. Argo CD is silent about one that is not there.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, name string, event func(string, *rollout.Application) any) {
	if s.Silent {
		return
	}
	tell := func(kind string, a *rollout.Application) {
		json.NewEncoder(w).Encode(event(kind, a))
		w.(http.Flusher).Flush()
	}
	s.listen(name, 1)
	defer s.listen(name, -1)
	kind := "ADDED"
	for last := (*rollout.Application)(nil); ; kind = "MODIFIED" {
		s.mu.Lock()
		a, changed := s.applications[name], s.changed
		var now, gone *rollout.Application
		if a != nil {
			if a.now == last && a.now != nil {
				a.advance()
			}
			now, gone = a.now, a.gone
		}
		s.mu.Unlock()
		switch {
		case now == nil && gone != nil:
			tell("DELETED", gone)
			return
		case now != last && now != nil:
			tell(kind, now)
			last = now
			continue
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		}
	}
}

func (s *Server) listen(name string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.applications[name]; a != nil {
		a.listeners += n
	}
}

// refuse answers as Argo CD does, or the API server.
func refuse(w http.ResponseWriter, r *http.Request, status, code int, message, name string) {
	answer := map[string]any{"error": message, "code": code, "message": message}
	if !strings.HasPrefix(r.URL.Path, own) && r.URL.Path != streams {
		answer = map[string]any{"kind": "Status", "message": message, "code": status}
		if name != "" {
			maps.Copy(answer, map[string]any{"details": map[string]any{"name": name}})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer)
}
