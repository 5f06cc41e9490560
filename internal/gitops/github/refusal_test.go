package github_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/github"
)

// noSecret fails when the token, or a part of it, is in what a person would see.
func noSecret(t *testing.T, err error) {
	t.Helper()
	if text := err.Error() + fault.HintOf(err); strings.Contains(text, "0123456789") {
		t.Errorf("the token is in %q", text)
	}
}

// refusal is an answer to each request; a 422 only to the one that creates.
type refusal struct {
	status int
	header map[string]string
	body   string
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer refusal
		kind   fault.Kind
		err    string // HOST stands for the server's
		hint   string // a part of it
	}{
		{"bad token", refusal{401, nil, `{"message":"Bad credentials","documentation_url":"https://docs.github.com/rest","status":"401"}`},
			fault.Denied, "HOST does not accept GITHUB_TOKEN", "expired"},
		{"no right", refusal{403, map[string]string{"X-Accepted-GitHub-Permissions": "pull_requests=write"}, `{"message":"Resource not accessible by integration","status":"403"}`},
			fault.Denied, "HOST answers 403 Forbidden: Resource not accessible by integration", "permissions: pull-requests: write"},
		{"Actions may not", refusal{403, nil, `{"message":"GitHub Actions is not permitted to create or approve pull requests.","documentation_url":"https://docs.github.com/rest/pulls/pulls#create-a-pull-request","status":"403"}`},
			fault.Denied, "HOST answers 403 Forbidden: GitHub Actions is not permitted to create or approve pull requests.", `"Allow GitHub Actions to create and approve pull requests"`},
		{"primary limit", refusal{403, map[string]string{"Date": "Mon, 23 Nov 2026 03:30:00 GMT", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795410000"}, `{"message":"API rate limit exceeded for installation ID 1."}`},
			fault.Failed, "HOST takes no more requests with GITHUB_TOKEN: its rate limit is reached", "try again in 1h30m0s, after 2026-11-23 05:00:00 UTC"},
		{"primary limit by 429", refusal{429, map[string]string{"Date": "Mon, 23 Nov 2026 03:30:00 GMT", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795410000"}, `{"message":"API rate limit exceeded"}`},
			fault.Failed, "HOST takes no more requests with GITHUB_TOKEN: its rate limit is reached", "try again in 1h30m0s, after 2026-11-23 05:00:00 UTC"},
		{"secondary limit", refusal{403, map[string]string{"Retry-After": "600", "X-RateLimit-Remaining": "4987", "X-RateLimit-Reset": "1795410000"}, `{"message":"You have exceeded a secondary rate limit.","documentation_url":"https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`},
			fault.Failed, "HOST takes no more requests with GITHUB_TOKEN: its rate limit is reached", "try again in 10m0s"},
		{"secondary limit by another page", refusal{403, map[string]string{"Retry-After": "90"}, `{"message":"You have exceeded a secondary rate limit and have been temporarily blocked from content creation."}`},
			fault.Failed, "HOST takes no more requests with GITHUB_TOKEN: its rate limit is reached", "try again in 1m30s"},
		{"secondary limit without a time", refusal{429, map[string]string{"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "1795410000"}, `{"message":"You have exceeded a secondary rate limit."}`},
			fault.Failed, "HOST takes no more requests with GITHUB_TOKEN: its rate limit is reached", "try again in 2m0s"},
		{"hidden", refusal{404, nil, `{"message":"Not Found","documentation_url":"https://docs.github.com/rest/pulls/pulls#create-a-pull-request","status":"404"}`},
			fault.Failed, "HOST has no such repository, or hides it from GITHUB_TOKEN", "its own repository only"},
		{"nothing to merge", refusal{422, nil, `{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"No commits between main and imgbump/api"}],"status":"422"}`},
			fault.Failed, "HOST answers 422 Unprocessable Entity: Validation Failed; No commits between main and imgbump/api", "ahead of the other"},
		{"no such branch", refusal{422, nil, `{"message":"Validation Failed","errors":[{"resource":"PullRequest","field":"base","code":"invalid"}],"status":"422"}`},
			fault.Failed, "HOST answers 422 Unprocessable Entity: Validation Failed; base invalid", "both branches must be there"},
		{"details are a string", refusal{422, nil, `{"message":"Validation Failed","errors":["Body is\n::error::too long"]}`},
			fault.Failed, "HOST answers 422 Unprocessable Entity: Validation Failed; Body is ::error::too long", "both branches"},
		{"archived", refusal{410, nil, `{"message":"Pull requests are disabled"}`},
			fault.Failed, "HOST answers 410 Gone: Pull requests are disabled", ""},
		{"trouble", refusal{502, nil, `<html>502</html>`}, fault.Failed, "HOST answers 502 Bad Gateway", "githubstatus"},
		{"a web page's 404", refusal{404, nil, `<html>`}, fault.Failed, "HOST answers 404, and not as GitHub's API does", "https://HOST/api/v3"},
		{"a web page", refusal{200, nil, `<html>Sign in</html>`}, fault.Failed, "HOST does not answer as GitHub's API does", "https://HOST/api/v3"},
		{"another API", refusal{200, nil, `["ok"]`}, fault.Failed, "HOST does not answer as GitHub's API does", "https://HOST/api/v3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			s.on(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet && tt.answer.status == http.StatusUnprocessableEntity {
					return false
				}
				for k, v := range tt.answer.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tt.answer.status)
				fmt.Fprint(w, tt.answer.body)
				return true
			})
			url, _, err := s.client(t).Open(t.Context(), wanted)
			if err == nil || url != "" {
				t.Fatalf("Open = %q, %v", url, err)
			}
			noSecret(t, err)
			host := strings.TrimPrefix(s.URL, "http://")
			want := "open a pull request in acme/gitops: " + strings.ReplaceAll(tt.err, "HOST", host)
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if fault.KindOf(err) != tt.kind || !strings.Contains(fault.HintOf(err), tt.hint) || tt.hint == "" && fault.HintOf(err) != "" {
				t.Errorf("kind %d, hint %q; want kind %d, hint %q", fault.KindOf(err), fault.HintOf(err), tt.kind, tt.hint)
			}
		})
	}
}

// A repository that was renamed is followed; a host that the token is not for never sees it.
func TestRedirects(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was sent to another host, with %q", r.Method, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	renamed := wanted
	renamed.Repository = "old"
	redirect := func(to string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/old/") {
				return false
			}
			http.Redirect(w, r, to+strings.Replace(r.URL.RequestURI(), "/old/", "/gitops/", 1), http.StatusTemporaryRedirect)
			return true
		}
	}
	s := start(t)
	s.on(redirect(""))
	if url, created, err := s.client(t).Open(t.Context(), renamed); err != nil || url != url1 || !created {
		t.Errorf("renamed: Open = %q, %v, %v", url, created, err)
	}
	for _, to := range []string{elsewhere.URL, strings.Replace(s.URL, "http", "https", 1)} {
		s.on(redirect(to))
		_, _, err := s.client(t).Open(t.Context(), renamed)
		want := "open a pull request in acme/old: " + strings.TrimPrefix(s.URL, "http://") + " redirects to " + to + ", which the token is not for"
		if err == nil || err.Error() != want || !strings.HasPrefix(fault.HintOf(err), "GITHUB_API_URL is") {
			t.Fatalf("%v (%s), want %s", err, fault.HintOf(err), want)
		}
		noSecret(t, err)
	}
}

func TestRedirectsThatLeadNowhere(t *testing.T) {
	for name, intercept := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"for ever": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.RequestURI(), http.StatusTemporaryRedirect)
			return true
		},
		"a POST that becomes a GET": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				http.Redirect(w, r, r.URL.RequestURI(), http.StatusFound)
			}
			return r.Method == http.MethodPost
		},
	} {
		s := start(t)
		s.on(intercept)
		if _, _, err := s.client(t).Open(t.Context(), wanted); err == nil || !strings.Contains(err.Error(), "not as GitHub does") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServerDown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	c, err := github.New(github.Options{APIURL: "http://" + address, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	pauses := c.Pauses()
	_, _, err = c.Open(t.Context(), wanted)
	if diff := cmp.Diff([]time.Duration{500 * time.Millisecond, 2 * time.Second}, *pauses); diff != "" {
		t.Errorf("pauses (-want +got):\n%s", diff)
	}
	want := "open a pull request in acme/gitops: reach " + address + ": "
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "/pulls") || !strings.Contains(fault.HintOf(err), "GITHUB_API_URL") {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
}

func TestInterrupted(t *testing.T) {
	s := start(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the time was up")
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		cancel(why)
		<-r.Context().Done()
		return true
	})
	if _, _, err := s.client(t).Open(ctx, wanted); !errors.Is(err, why) {
		t.Errorf("%v, want the reason for the interruption", err)
	}
}

func TestCertificates(t *testing.T) {
	s := unstarted(t)
	s.web.StartTLS()
	s.URL = s.web.URL
	_, _, err := s.client(t).Open(t.Context(), wanted)
	if err == nil || !strings.Contains(fault.HintOf(err), "--git-ca-file") {
		t.Errorf("unknown authority: %v (%s)", err, fault.HintOf(err))
	}
	c, err := github.New(github.Options{APIURL: s.URL + "/api/v3/", Token: token, Transport: s.web.Client().Transport, UserAgent: "imgbump/test"})
	if err != nil {
		t.Fatal(err)
	}
	if url, _, err := c.Open(t.Context(), wanted); err != nil || url != url1 {
		t.Errorf("known authority: %q, %v", url, err)
	}
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		options github.Options
		kind    fault.Kind
		want    string
	}{
		{github.Options{}, fault.Denied, "reach api.github.com: the API needs a token"},
		{github.Options{APIURL: "api.github.com", Token: token}, fault.Usage, "GITHUB_API_URL is not the address"},
		{github.Options{APIURL: "ftp://ghe.example.com", Token: token}, fault.Usage, "GITHUB_API_URL is not the address"},
		{github.Options{APIURL: "https://me:0123456789@ghe.example.com", Token: token}, fault.Usage, "GITHUB_API_URL is not the address"},
		{github.Options{APIURL: "https://me:0123456789 @ghe.example.com", Token: token}, fault.Usage, "GITHUB_API_URL is not the address"},
	} {
		_, err := github.New(tt.options)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || fault.KindOf(err) != tt.kind {
			t.Errorf("%+v: %v; want %s", tt.options, err, tt.want)
			continue
		}
		noSecret(t, err)
	}
	if _, err := github.New(github.Options{Token: token}); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
