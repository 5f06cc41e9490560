package githubtest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/githubtest"
	"github.com/ksera524/imgbump/internal/gittest"
)

// ask sends a request by a token to the API of acme/gitops, whose main has a commit, and returns the answer.
func ask(t *testing.T, s *githubtest.Server, method, path, body string, header ...string) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer good")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var answer map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &answer)
	return w, answer
}

func serve(t *testing.T) (*githubtest.Server, string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := gittest.Git("", "init", "--quiet", "--bare", dir); err != nil {
		t.Fatal(err)
	}
	tip, err := (&gittest.Repository{Dir: dir}).Commit("main", "start", fstest.MapFS{"a.yaml": {Data: []byte("a: 1\n")}})
	if err != nil {
		t.Fatal(err)
	}
	s := githubtest.New()
	s.Add("acme/gitops", dir)
	s.Allow("good", githubtest.Grant{})
	return s, tip
}

// Each answer is the one that GitHub documents for the request.
func TestAnswers(t *testing.T) {
	s, tip := serve(t)
	s.Allow("reader", githubtest.Grant{Permissions: []string{"none"}})
	const repo = "/repos/acme/gitops"
	for _, tt := range []struct {
		method, path, body string
		header             []string
		status             int
		message            string
	}{
		{"GET", repo + "/git/ref/heads/main", "", nil, 200, ""},
		{"GET", "/api/v3" + repo + "/git/ref/heads/main", "", nil, 200, ""},
		{"GET", repo + "/git/ref/heads/gone", "", nil, 404, "Not Found"},
		{"GET", "/repos/acme/hidden/git/ref/heads/main", "", nil, 404, "Not Found"},
		{"GET", repo + "/git/ref/heads/main", "", []string{"Authorization", "Bearer bad"}, 401, "Bad credentials"},
		{"PATCH", repo + "/git/refs/heads/main", `{"sha":"` + tip + `"}`, []string{"Authorization", "Bearer reader"}, 403, "Resource not accessible by integration"},
		{"PATCH", repo + "/git/refs/heads/gone", `{"sha":"` + tip + `"}`, nil, 422, "Reference does not exist"},
		{"PATCH", repo + "/git/refs/heads/main", `{"sha":"` + strings.Repeat("0", 40) + `"}`, nil, 422, "Update is not a fast forward"},
		{"POST", repo + "/git/refs", `{"ref":"refs/heads/main","sha":"` + tip + `"}`, nil, 422, "Reference already exists"},
		{"DELETE", repo + "/git/refs/heads/gone", "", nil, 422, "Reference does not exist"},
		{"POST", repo + "/git/trees", `{"base_tree":"` + tip + `","tree":[{"path":"../x","mode":"100644","content":""}]}`, nil, 422, "tree.path contains a malformed path component"},
		{"POST", repo + "/pulls", `{"head":"main","base":"gone"}`, nil, 422, "Validation Failed"},
	} {
		w, answer := ask(t, s, tt.method, tt.path, tt.body, tt.header...)
		message, _ := answer["message"].(string)
		if w.Code != tt.status || message != tt.message {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.path, w.Code, message, tt.status, tt.message)
		}
		if w.Code >= 400 && answer["documentation_url"] == nil {
			t.Errorf("%s %s: an error without its page", tt.method, tt.path)
		}
	}
}

func TestETag(t *testing.T) {
	s, _ := serve(t)
	const path = "/repos/acme/gitops/git/ref/heads/main"
	w, _ := ask(t, s, http.MethodGet, path, "")
	tag := w.Header().Get("ETag")
	if w, _ := ask(t, s, http.MethodGet, path, "", "If-None-Match", tag); tag == "" || w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("%q: %d", tag, w.Code)
	}
}

// A signature is GitHub's own, so that naming an author loses it.
func TestVerified(t *testing.T) {
	s, tip := serve(t)
	_, commit := ask(t, s, http.MethodGet, "/repos/acme/gitops/git/commits/"+tip, "")
	tree := commit["tree"].(map[string]any)["sha"].(string)
	for extra, want := range map[string]bool{"": true, `,"author":{"name":"a","email":"a@example.com"}`: false} {
		_, made := ask(t, s, http.MethodPost, "/repos/acme/gitops/git/commits", `{"message":"m","tree":"`+tree+`","parents":["`+tip+`"]`+extra+`}`)
		if got := made["verification"].(map[string]any)["verified"]; got != want {
			t.Errorf("%q: verified %v", extra, got)
		}
	}
}
