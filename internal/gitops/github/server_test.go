package github_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/github"
)

const token = "ghs_0123456789secret"

// quiet drops what a server says of a client that does not trust it.
var quiet = log.New(io.Discard, "", 0)

// server stands in for GitHub: the four requests that a pull request takes, for one repository, acme/gitops with the id 1.
// Its answers are those of docs.github.com/rest, cut down to what a client may rely on.
type server struct {
	*httptest.Server
	unfiltered bool // ignores head and base, as servers that only resemble GitHub do

	mu        sync.Mutex
	intercept func(w http.ResponseWriter, r *http.Request) bool // answers in its place, or says that it does not
	pulls     []map[string]any
	log       []string // "METHOD path?query body", in order
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) client(t *testing.T) *github.Client {
	t.Helper()
	c, err := github.New(github.Options{APIURL: s.URL + "/api/v3", Token: token, TokenName: "GITHUB_TOKEN", UserAgent: "imgbump/test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// add is a pull request that is open already; repository is the id of the one that its head is in.
func (s *server) add(head, base, title, body string, repository int, labels ...string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open(head, base, title, body, repository, labels...)
}

func (s *server) open(head, base, title, body string, repository int, labels ...string) map[string]any {
	number := len(s.pulls) + 1
	tags := []map[string]any{}
	for _, name := range labels {
		tags = append(tags, map[string]any{"name": name})
	}
	pull := map[string]any{
		"number": number, "state": "open", "title": title, "body": body, "labels": tags,
		"html_url": fmt.Sprintf("https://github.example.com/acme/gitops/pull/%d", number),
		"head":     map[string]any{"ref": head, "repo": map[string]any{"id": repository}},
		"base":     map[string]any{"ref": base, "repo": map[string]any{"id": 1}},
	}
	s.pulls = append(s.pulls, pull)
	return pull
}

// on sets what comes before the answers of the server.
func (s *server) on(intercept func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = intercept
}

// requests is the log since the last call.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	s.log = append(s.log, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+strings.TrimSpace(string(body))))
	if s.intercept != nil && s.intercept(w, r) {
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+token || r.UserAgent() != "imgbump/test" {
		answer(w, http.StatusUnauthorized, map[string]any{"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"})
		return
	}
	var sent map[string]any
	_ = json.Unmarshal(body, &sent)
	path := strings.TrimPrefix(r.URL.Path, "/api/v3/repos/acme/gitops/")
	var number int
	switch {
	case r.Method == http.MethodGet && path == "pulls":
		answer(w, http.StatusOK, s.list(r.URL.Query().Get("head"), r.URL.Query().Get("base")))
	case r.Method == http.MethodPost && path == "pulls":
		s.create(w, sent)
	case r.Method == http.MethodPatch && scan(path, "pulls/%d", &number):
		s.pulls[number-1]["title"], s.pulls[number-1]["body"] = sent["title"], sent["body"]
		answer(w, http.StatusOK, s.pulls[number-1])
	case r.Method == http.MethodPost && scan(path, "issues/%d/labels", &number):
		answer(w, http.StatusOK, []any{})
	default:
		answer(w, http.StatusNotFound, map[string]any{"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"})
	}
}

func (s *server) list(head, base string) []map[string]any {
	found := []map[string]any{}
	for _, p := range s.pulls {
		owner := map[bool]string{true: "acme", false: "somebody"}[p["head"].(map[string]any)["repo"].(map[string]any)["id"] == 1]
		matches := owner+":"+p["head"].(map[string]any)["ref"].(string) == head && p["base"].(map[string]any)["ref"] == base
		if matches || s.unfiltered {
			found = append(found, p)
		}
	}
	return found
}

func (s *server) create(w http.ResponseWriter, sent map[string]any) {
	head, base := sent["head"].(string), sent["base"].(string)
	if len(s.list("acme:"+head, base)) > 0 && !s.unfiltered {
		invalid(w, map[string]any{"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for acme:" + head + "."})
		return
	}
	answer(w, http.StatusCreated, s.open(head, base, sent["title"].(string), sent["body"].(string), 1))
}

func invalid(w http.ResponseWriter, errors ...map[string]any) {
	answer(w, http.StatusUnprocessableEntity, map[string]any{"message": "Validation Failed", "errors": errors,
		"documentation_url": "https://docs.github.com/rest/pulls/pulls#create-a-pull-request", "status": "422"})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func scan(path, format string, number *int) bool {
	_, err := fmt.Sscanf(path, format, number)
	return err == nil && path == fmt.Sprintf(format, *number)
}
