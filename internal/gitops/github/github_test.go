package github_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/github"
)

const (
	list   = "GET /api/v3/repos/acme/gitops/pulls?base=main&head=acme%3Aimgbump%2Fapi&per_page=100&state=open"
	create = `POST /api/v3/repos/acme/gitops/pulls {"title":"Bump api to 1.4.2","head":"imgbump/api","base":"main","body":"api: 1.4.1 -> 1.4.2"}`
	edit   = `PATCH /api/v3/repos/acme/gitops/pulls/1 {"title":"Bump api to 1.4.2","body":"api: 1.4.1 -> 1.4.2"}`
	url1   = "https://github.example.com/acme/gitops/pull/1"
	url3   = "https://github.example.com/acme/gitops/pull/3"
)

var wanted = github.PullRequest{
	Owner: "acme", Repository: "gitops", Base: "main", Head: "imgbump/api",
	Title: "Bump api to 1.4.2", Body: "api: 1.4.1 -> 1.4.2",
}

func TestOpen(t *testing.T) {
	labelled := wanted
	labelled.Labels = []string{"deploy", "bot"}
	for _, tt := range []struct {
		name    string
		given   func(s *server)
		ask     github.PullRequest
		url     string
		created bool
		want    []string
	}{
		{"none is open", func(*server) {}, wanted, url1, true, []string{list, create}},
		{"the same is open", func(s *server) { s.add(wanted.Head, "main", wanted.Title, wanted.Body, "acme") }, wanted, url1, false, []string{list}},
		{"an older one is open", func(s *server) { s.add(wanted.Head, "main", "Bump api to 1.4.1", wanted.Body, "acme") }, wanted, url1, false, []string{list, edit}},
		{"its text is another", func(s *server) { s.add(wanted.Head, "main", wanted.Title, "", "acme") }, wanted, url1, false, []string{list, edit}},
		{"labels for a new one", func(*server) {}, labelled, url1, true,
			[]string{list, create, `POST /api/v3/repos/acme/gitops/issues/1/labels ["deploy","bot"]`}},
		{"labels that are missing", func(s *server) { s.add(wanted.Head, "main", wanted.Title, wanted.Body, "acme", "Deploy", "prod") }, labelled, url1, false,
			[]string{list, `POST /api/v3/repos/acme/gitops/issues/1/labels ["bot"]`}},
		{"labels that are there", func(s *server) { s.add(wanted.Head, "main", wanted.Title, wanted.Body, "acme", "bot", "deploy") }, labelled, url1, false, []string{list}},
		{"others are open", func(s *server) {
			s.repo.Unfiltered = true
			s.add(wanted.Head, "main", "from a fork", "", "somebody")
			s.add(wanted.Head, "release", "to another base", "", "acme")
		}, wanted, url3, true, []string{list, create}},
		{"ours is behind another branch's", func(s *server) {
			s.repo.Unfiltered = true
			s.add("feature", "main", "of a person", "", "acme")
			s.add(wanted.Head, "staging", "", "", "acme")
			s.add(wanted.Head, "main", wanted.Title, wanted.Body, "acme")
		}, wanted, url3, false, []string{list}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			tt.given(s)
			c := s.client(t)
			for _, again := range []bool{false, true} {
				url, created, err := c.Open(t.Context(), tt.ask)
				if err != nil || url != tt.url || created != (tt.created && !again) {
					t.Fatalf("Open = %q, %v, %v", url, created, err)
				}
				if diff := cmp.Diff(tt.want, s.Requests()); diff != "" && !again {
					t.Fatalf("requests (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// Two runs look, find nothing, and both create: the second takes the first's.
func TestOpenLosesTheRaceToCreate(t *testing.T) {
	s := start(t)
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			s.add(wanted.Head, "main", "Bump api to 1.4.1", "", "acme")
		}
		return false
	})
	url, created, err := s.client(t).Open(t.Context(), wanted)
	if err != nil || url != url1 || created {
		t.Fatalf("Open = %q, %v, %v", url, created, err)
	}
	if diff := cmp.Diff([]string{list, create, list, edit}, s.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// What fails after there is a pull request does not hide where it is.
func TestOpenTellsTheURLWhenLabelsFail(t *testing.T) {
	s := start(t)
	s.on(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/api/v3/repos/acme/gitops/issues/1/labels" {
			return false
		}
		answer(w, http.StatusForbidden, map[string]any{"message": "Resource not accessible by integration", "status": "403"})
		return true
	})
	labelled := wanted
	labelled.Labels = []string{"deploy"}
	url, created, err := s.client(t).Open(t.Context(), labelled)
	if url != url1 || !created || fault.KindOf(err) != fault.Denied {
		t.Fatalf("Open = %q, %v, %v", url, created, err)
	}
	if want := "label " + url1 + ": "; err.Error()[:len(want)] != want {
		t.Errorf("error %q does not begin with %q", err, want)
	}
}

func TestRepository(t *testing.T) {
	for _, tt := range []struct{ remote, server, want string }{
		{"https://github.com/acme/gitops.git", "", "acme/gitops"},
		{"https://github.com/acme/gitops", "https://github.com", "acme/gitops"},
		{"https://GitHub.com/acme/gitops/", "", "acme/gitops"},
		{"https://x-access-token:secret@github.com/acme/gitops.git", "", "acme/gitops"},
		{"git@github.com:acme/gitops.git", "", "acme/gitops"},
		{"github.com:acme/gitops", "", "acme/gitops"},
		{"ssh://git@github.com:22/acme/gitops.git", "", "acme/gitops"},
		{"https://ghe.example.com:8443/acme/my.site.git", "https://ghe.example.com:8443/", "acme/my.site"},
		{"http://127.0.0.1:4001/acme_corp/gitops.git", "http://127.0.0.1:4001", "acme_corp/gitops"},
		{"git@github.com:acme/.github.git", "", "acme/.github"},

		{"https://gitlab.com/acme/gitops.git", "", ""},
		{"https://github.com.evil.example/acme/gitops.git", "", ""},
		{"https://github.com/acme/gitops.git", "https://ghe.example.com", ""},
		{"https://github.com/acme", "", ""},
		{"https://github.com/acme/team/gitops.git", "", ""},
		{"https://github.com/acme/..", "", ""},
		{"https://github.com/../gitops", "", ""},
		{"https://github.com/acme/git%3Fops", "", ""},
		{"file://github.com/acme/gitops.git", "", ""},
		{"/srv/git/gitops.git", "", ""},
		{"../gitops", "", ""},
		{"", "", ""},
	} {
		owner, name, ok := github.Repository(tt.remote, tt.server)
		got := ""
		if ok {
			got = owner + "/" + name
		}
		if got != tt.want || !ok && owner+name != "" {
			t.Errorf("Repository(%q, %q) = %q, %q, %v; want %q", tt.remote, tt.server, owner, name, ok, tt.want)
		}
	}
}
