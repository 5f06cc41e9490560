package github_test

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/githubtest"
	"github.com/ksera524/imgbump/internal/gitops/github"
	"github.com/ksera524/imgbump/internal/gittest"
)

const token = "ghs_0123456789secret"

// quiet drops what a server says of a client that does not trust it.
var quiet = log.New(io.Discard, "", 0)

// server is GitHub with one repository, acme/gitops: its branch main has a manifest, and imgbump/api is a commit ahead.
type server struct {
	*githubtest.Server
	web  *httptest.Server
	URL  string
	repo *githubtest.Repository
	git  *gittest.Repository
}

func start(t *testing.T) *server {
	t.Helper()
	s := unstarted(t)
	s.web.Start()
	s.URL = s.web.URL
	return s
}

func unstarted(t *testing.T) *server {
	t.Helper()
	s := &server{Server: githubtest.New(), git: bare(t)}
	if _, err := s.git.Commit("main", "start", fstest.MapFS{
		"api/deployment.yaml": {Data: []byte("image: registry.example.com/api:1.4.1\n")},
		"run.sh":              {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
	}); err != nil {
		t.Fatal(err)
	}
	s.branch(t, "imgbump/api", "main")
	if _, err := s.git.Commit("imgbump/api", "bump\n\nImgbump: v1", fstest.MapFS{"api/deployment.yaml": {Data: []byte("image: registry.example.com/api:1.4.2\n")}}); err != nil {
		t.Fatal(err)
	}
	s.repo = s.Add("acme/gitops", s.git.Dir)
	s.Allow(token, githubtest.Grant{Login: "imgbump[bot]"})
	s.web = httptest.NewUnstartedServer(s)
	s.web.Config.ErrorLog = quiet
	t.Cleanup(s.web.Close)
	return s
}

func bare(t *testing.T) *gittest.Repository {
	t.Helper()
	dir := t.TempDir()
	if _, err := gittest.Git("", "init", "--quiet", "--bare", dir); err != nil {
		t.Fatal(err)
	}
	return &gittest.Repository{Dir: dir}
}

// branch makes a branch at where another is.
func (s *server) branch(t *testing.T, name, at string) {
	t.Helper()
	if _, err := gittest.Git(s.git.Dir, "update-ref", "refs/heads/"+name, "refs/heads/"+at); err != nil {
		t.Fatal(err)
	}
}

func (s *server) client(t *testing.T) *github.Client {
	t.Helper()
	c, err := github.New(github.Options{APIURL: s.URL + "/api/v3", Token: token, TokenName: "GITHUB_TOKEN", UserAgent: "imgbump/test"})
	if err != nil {
		t.Fatal(err)
	}
	c.Pauses()
	return c
}

// add is a pull request that is open already, of acme or of somebody's fork.
func (s *server) add(head, base, title, body, owner string, labels ...string) {
	s.repo.Open(githubtest.Pull{Head: head, Base: base, Title: title, Body: body, HeadOwner: owner, Labels: labels})
}

// on sets what comes before the answers of the server.
func (s *server) on(intercept func(w http.ResponseWriter, r *http.Request) bool) {
	s.Before = intercept
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
