package github_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/githubtest"
	"github.com/ksera524/imgbump/internal/gitops/github"
)

// impatient is a context whose end leaves d.
func impatient(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestLimitsAreWaitedOut(t *testing.T) {
	date := time.Date(2026, 11, 23, 3, 30, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		refuse func(w http.ResponseWriter)
		times  int
		want   []time.Duration
	}{
		{"secondary", func(w http.ResponseWriter) { githubtest.SecondaryLimit(w, 90*time.Second) }, 2, []time.Duration{90 * time.Second, 90 * time.Second}},
		{"secondary without a time", func(w http.ResponseWriter) { githubtest.SecondaryLimit(w, 0) }, 3, []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute}},
		{"primary", func(w http.ResponseWriter) {
			w.Header().Set("Date", date.Format(http.TimeFormat))
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", fmt.Sprint(date.Add(20*time.Minute).Unix()))
			answer(w, http.StatusForbidden, map[string]any{"message": "API rate limit exceeded for installation ID 1."})
		}, 1, []time.Duration{20 * time.Minute}},
		{"a reset that is over", func(w http.ResponseWriter) {
			w.Header().Set("Date", date.Format(http.TimeFormat))
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", fmt.Sprint(date.Add(-time.Hour).Unix()))
			answer(w, http.StatusTooManyRequests, map[string]any{"message": "API rate limit exceeded"})
		}, 1, []time.Duration{time.Second}},
		{"a date to try again", func(w http.ResponseWriter) {
			w.Header().Set("Date", date.Format(http.TimeFormat))
			w.Header().Set("Retry-After", date.Add(40*time.Second).Format(http.TimeFormat))
			answer(w, http.StatusTooManyRequests, map[string]any{"message": "slow down"})
		}, 1, []time.Duration{40 * time.Second}},
		{"graphql", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "30")
			answer(w, http.StatusOK, map[string]any{"errors": []any{map[string]any{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}}})
		}, 1, []time.Duration{30 * time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			refused := 0
			s.on(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet || refused == tt.times {
					return false
				}
				refused++
				tt.refuse(w)
				return true
			})
			var told []string
			c, err := github.New(github.Options{APIURL: s.URL, Token: token, TokenName: "GITHUB_TOKEN",
				Wait: func(d time.Duration, why string) { told = append(told, d.String()+" "+why) }})
			if err != nil {
				t.Fatal(err)
			}
			pauses := c.Pauses()
			commits, err := c.Publish(impatient(t, time.Hour), s.series(t, "main"))
			if err != nil {
				t.Fatal(err)
			}
			if now, _ := s.git.Tip("main"); now != commits[0] {
				t.Errorf("main is at %s, want %s", now, commits[0])
			}
			if diff := cmp.Diff(tt.want, *pauses); diff != "" {
				t.Errorf("pauses (-want +got):\n%s", diff)
			}
			if len(told) != len(tt.want) || !strings.HasPrefix(told[0], tt.want[0].String()+" 127.0.0.1:") || strings.Contains(told[0], "0123456789") {
				t.Errorf("told %q", told)
			}
		})
	}
}

// A limit that is not over in time is no reason to wait at all.
func TestLimitsBeyondTheDeadline(t *testing.T) {
	for _, tt := range []struct {
		limit string // seconds
		left  time.Duration
		waits int
	}{
		{"600", 5 * time.Minute, 0},
		{"10", 5 * time.Minute, 8}, // for ever: at some point it is enough
		{"100", 5 * time.Minute, 2},
		{"12345678900", 5 * time.Minute, 0}, // longer than a time.Duration
	} {
		s := start(t)
		s.on(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", tt.limit)
			githubtest.SecondaryLimit(w, 0)
			return true
		})
		c := s.client(t)
		pauses := c.Pauses()
		_, _, err := c.Open(impatient(t, tt.left), wanted)
		if err == nil || !strings.Contains(err.Error(), "takes no more requests with GITHUB_TOKEN: its rate limit is reached") || !strings.HasPrefix(fault.HintOf(err), "try again in ") {
			t.Errorf("%s: %v (%s)", tt.limit, err, fault.HintOf(err))
		}
		if len(*pauses) != tt.waits {
			t.Errorf("%s: waited %d times, want %d", tt.limit, len(*pauses), tt.waits)
		}
	}
}

// The last request of the hour succeeds; the next waits for the hour to end.
func TestLimitIsReached(t *testing.T) {
	s := start(t)
	s.Limit(1, time.Now().Add(10*time.Minute))
	c := s.client(t)
	pauses := c.Pauses()
	s.on(func(http.ResponseWriter, *http.Request) bool {
		if len(*pauses) > 0 {
			s.Limit(5000, time.Now().Add(time.Hour))
		}
		return false
	})
	if _, created, err := c.Open(impatient(t, time.Hour), wanted); err != nil || !created {
		t.Fatalf("%v, %v", created, err)
	}
	if len(*pauses) != 1 || (*pauses)[0].Round(time.Minute) != 10*time.Minute {
		t.Errorf("pauses %v", *pauses)
	}
}

func TestTroubleIsRepeated(t *testing.T) {
	for name, trouble := range map[string]func(w http.ResponseWriter){
		"502":          func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"503":          func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"no answer":    func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"half of one":  func(w http.ResponseWriter) { w.Header().Set("Content-Length", "100"); fmt.Fprint(w, `{"ref`) },
		"an empty 500": func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			seen := map[string]int{}
			s.on(func(w http.ResponseWriter, r *http.Request) bool {
				request := r.Method + " " + r.URL.Path
				if seen[request]++; seen[request] > 2 {
					return false
				}
				trouble(w)
				return true
			})
			c := s.client(t)
			if _, created, err := c.Open(t.Context(), wanted); err != nil || !created {
				t.Fatalf("%v, %v", created, err)
			}
			retitled := wanted
			retitled.Title = "another"
			if _, created, err := c.Open(t.Context(), retitled); err != nil || created {
				t.Fatalf("%v, %v", created, err)
			}
			s.pull(t)
			if _, err := c.Publish(t.Context(), s.series(t, "main")); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Propose(t.Context(), s.series(t, "imgbump/api")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A comment is for people: it is not made twice.
func TestCommentsAreNotRepeated(t *testing.T) {
	s := start(t)
	s.add("imgbump/api", "main", "", "", "acme")
	s.Lose = func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/comments") }
	urls, err := s.client(t).Close(t.Context(), "acme", "gitops", "main", "imgbump/api", "superseded")
	if err == nil || len(urls) != 1 || len(s.repo.Pulls()[0].Comments) != 1 {
		t.Errorf("%q, %v, comments %q", urls, err, s.repo.Pulls()[0].Comments)
	}
}

func TestEndlessAnswer(t *testing.T) {
	s := start(t)
	s.on(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.CopyN(w, zeros{}, 40<<20)
		return true
	})
	if _, _, err := s.client(t).Open(t.Context(), wanted); err == nil || !strings.Contains(err.Error(), "the answer is longer than 32 MiB") {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// The token travels through a proxy to the API's host, and only there. net/http reads the environment once, so that
// another process is asked.
func TestProxy(t *testing.T) {
	if address := os.Getenv("GITHUBTEST_API"); address != "" {
		c, err := github.New(github.Options{APIURL: address, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = c.Open(t.Context(), wanted)
		fmt.Println("opened:", err)
		return
	}
	s := start(t)
	var seen []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Host)
		r.URL.Path = "/" + strings.TrimPrefix(r.URL.Path, "/")
		s.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	u, _ := url.Parse(proxy.URL)
	cmd := exec.Command(os.Args[0], "-test.run=^TestProxy$")
	cmd.Env = append(os.Environ(), "GITHUBTEST_API=http://api.example.com", "HTTP_PROXY=http://"+u.Host, "http_proxy=", "NO_PROXY=", "no_proxy=")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "opened: <nil>") {
		t.Fatalf("%v: %s", err, out)
	}
	if diff := cmp.Diff([]string{"api.example.com", "api.example.com"}, seen); diff != "" {
		t.Errorf("the proxy saw (-want +got):\n%s", diff)
	}
}
