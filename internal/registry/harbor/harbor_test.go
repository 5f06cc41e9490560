package harbor_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
	"github.com/ksera524/imgbump/internal/registrytest"
)

const (
	robot  = "robot$team+ci"
	admin  = "admin"
	secret = "S3cretOfTheRobot"
)

func digest(name string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))) }

func start(t *testing.T, config registrytest.Config) *registrytest.Server {
	t.Helper()
	config.Projects = []string{"team"}
	config.Robots = []registrytest.Robot{{Name: robot, Secret: secret, Project: "team", Push: true}, {Name: admin, Secret: secret, Admin: true}}
	return registrytest.Start(t, config)
}

func client(s *registrytest.Server, user string) *harbor.Client {
	return harbor.New(registry.New(registry.Options{Credential: registry.Credential{Host: s.Host, Username: user, Password: secret}}), s.Host)
}

// check compares an error's kind, cause and hint, and holds that it tells no secret.
func check(t *testing.T, err error, kind fault.Kind, part, hint string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(err.Error(), part) || !strings.Contains(fault.HintOf(err), hint) {
		t.Errorf("kind %d, %v, hint %q; want kind %d, %q, %q", fault.KindOf(err), err, fault.HintOf(err), kind, part, hint)
	}
	if err != nil && strings.Contains(err.Error()+fault.HintOf(err), secret) {
		t.Errorf("%v tells the password", err)
	}
}

func TestRefusals(t *testing.T) {
	page := func(status int, header ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/api/") {
				return false
			}
			w.Header().Set("Content-Type", "text/html")
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			fmt.Fprintln(w, "<html>")
			return true
		}
	}
	read := func(ctx context.Context, c *harbor.Client) error { _, err := c.Project(ctx, "team"); return err }
	create := func(ctx context.Context, c *harbor.Client) error { return c.CreateProject(ctx, "new", false) }
	for name, tt := range map[string]struct {
		config     registrytest.Config
		user       string
		do         func(context.Context, *harbor.Client) error
		kind       fault.Kind
		part, hint string
		is         error
	}{
		"wrong login": {user: "nobody", do: read, kind: fault.Denied, part: "nobody", hint: "HARBOR_PASSWORD"},
		"no project": {user: admin, do: func(ctx context.Context, c *harbor.Client) error { _, err := c.Project(ctx, "nosuch"); return err },
			kind: fault.Failed, part: "project nosuch does not exist", hint: "spelling", is: harbor.ErrMissing},
		"other project": {user: robot, do: func(ctx context.Context, c *harbor.Client) error { _, err := c.Project(ctx, "nosuch"); return err },
			kind: fault.Denied, part: "403 FORBIDDEN", hint: "project nosuch", is: harbor.ErrForbidden},
		"may not create": {user: robot, do: create, kind: fault.Denied, part: "may not create projects", hint: "administrator", is: harbor.ErrForbidden},
		"twice":          {user: admin, do: func(ctx context.Context, c *harbor.Client) error { return c.CreateProject(ctx, "team", true) }, part: "already exists", is: harbor.ErrConflict},
		"bad name":       {user: admin, do: func(ctx context.Context, c *harbor.Client) error { return c.CreateProject(ctx, "A!", true) }, part: "illegal characters"},
		"read-only":      {user: admin, config: registrytest.Config{ReadOnly: true}, do: create, kind: fault.Denied, part: "read only", hint: "System Settings"},
		"may not collect": {user: robot, do: func(ctx context.Context, c *harbor.Client) error { _, err := c.Collect(ctx); return err },
			kind: fault.Denied, part: "may not collect garbage", hint: "administrator"},
		"core down": {user: admin, config: registrytest.Config{Instead: page(http.StatusBadGateway)}, do: read, part: "502 Bad Gateway", hint: "pods"},
		"limited":   {user: admin, config: registrytest.Config{Instead: page(http.StatusTooManyRequests)}, do: read, part: "429 Too Many Requests", hint: "try again later"},
		"portal":    {user: admin, config: registrytest.Config{Instead: page(http.StatusOK)}, do: read, part: "not answer as Harbor", hint: "a Harbor?"},
		"no API":    {user: admin, config: registrytest.Config{Instead: page(http.StatusNotFound)}, do: read, part: "not answer as Harbor", hint: "a Harbor?"},
		"moved":     {user: admin, config: registrytest.Config{Instead: page(http.StatusPermanentRedirect, "Location", "https://other.test/")}, do: read, part: "elsewhere", hint: "https"},
		"no artifact": {user: admin, do: func(ctx context.Context, c *harbor.Client) error {
			_, err := c.Artifact(ctx, "team/app", "1")
			return err
		}, part: "find team/app:1: no such image", is: harbor.ErrMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(start(t, tt.config), tt.user)
			harbor.Hurry(c)
			err := tt.do(t.Context(), c)
			check(t, err, tt.kind, tt.part, tt.hint)
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
		})
	}
}

func TestProject(t *testing.T) {
	s := start(t, registrytest.Config{Quota: map[string]int64{"team": 1 << 20}})
	c := client(s, admin)
	ctx := t.Context()
	if err := c.CreateProject(ctx, "new", true); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateProject(ctx, "private", false); err != nil {
		t.Fatal(err)
	}
	for name, public := range map[string]bool{"new": true, "private": false} {
		if p, err := c.Project(ctx, name); err != nil || p.Name != name || p.ID == 0 {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		resp, err := http.Get(s.URL + "/api/v2.0/projects/" + name)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if (resp.StatusCode == http.StatusOK) != public {
			t.Errorf("%s: anybody gets %d", name, resp.StatusCode)
		}
	}
	for name, limit := range map[string]int64{"new": -1, "team": 1 << 20} {
		if q, err := c.Quota(ctx, name); err != nil || q.Limit != limit {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	if system, err := c.System(ctx); err != nil || !strings.HasPrefix(system.Version, "v2.16.0") || system.ExternalURL != s.URL {
		t.Errorf("%+v, %v", system, err)
	}
}

// TestLists reads long lists, and repositories with slashes in their names.
func TestLists(t *testing.T) {
	config := registrytest.Config{Immutable: []string{"team/sub/dir/*:rel-*"}}
	for i := range 250 {
		n := strconv.Itoa(i)
		config.Artifacts = append(config.Artifacts, registrytest.Artifact{Repository: "team/app", Digest: digest(n), Tags: []string{n}, Pushed: time.Unix(int64(i), 0)},
			registrytest.Artifact{Repository: "team/many" + n, Digest: digest(n)})
	}
	config.Artifacts = append(config.Artifacts,
		registrytest.Artifact{Repository: "team/sub/dir/app", Digest: digest("index"), Tags: []string{"rel-1"}, Children: []string{digest("child")}, Pushed: time.Unix(7, 0), Size: 9},
		registrytest.Artifact{Repository: "team/sub/dir/app", Digest: digest("child")},
		registrytest.Artifact{Repository: "team/sub/dir/app", Digest: digest("signature"), Subject: digest("index")})
	s := start(t, config)
	c := client(s, robot)
	all, err := c.Artifacts(t.Context(), "team/app")
	if err != nil || len(all) != 250 || all[0].Tags[0].Name != "249" || all[249].Tags[0].Name != "0" || s.Count("GET", "/artifacts") != 3 {
		t.Errorf("%d artifacts in %d requests, %v", len(all), s.Count("GET", "/artifacts"), err)
	}
	if names, err := c.Repositories(t.Context(), "team"); err != nil || len(names) != 252 {
		t.Errorf("%d repositories, %v", len(names), err)
	}
	nested, err := c.Artifacts(t.Context(), "team/sub/dir/app")
	want := []harbor.Artifact{{Repository: "team/sub/dir/app", ProjectID: 2, Digest: digest("index"), Pushed: time.Unix(7, 0).UTC(), Size: 9,
		Tags:     []harbor.Tag{{Name: "rel-1", Pushed: time.Unix(7, 0).UTC(), Immutable: true}},
		Children: []string{digest("child")}, Accessories: []string{digest("signature")}}}
	if diff := cmp.Diff(want, nested); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if none, err := c.Artifacts(t.Context(), "team/nosuch"); err != nil || len(none) != 0 {
		t.Errorf("%v, %v", none, err)
	}
	if got, want := harbor.ArtifactURL("https://h.test", nested[0]), "https://h.test/harbor/projects/2/repositories/sub%2Fdir%2Fapp/artifacts-tab/artifacts/"+digest("index"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestDelete(t *testing.T) {
	s := start(t, registrytest.Config{Immutable: []string{"team/*:rel-*"}, Artifacts: []registrytest.Artifact{
		{Repository: "team/app", Digest: digest("index"), Children: []string{digest("child")}},
		{Repository: "team/app", Digest: digest("child"), Tags: []string{"1"}},
		{Repository: "team/app", Digest: digest("kept"), Tags: []string{"rel-1"}},
	}})
	c := client(s, admin)
	check(t, client(s, robot).Delete(t.Context(), "team/app", digest("index")), fault.Denied, "403 FORBIDDEN", "project team")
	check(t, c.Delete(t.Context(), "team/app", digest("kept")), fault.Failed, "immutable", "rule")
	err := c.Delete(t.Context(), "team/app", digest("child"))
	check(t, err, fault.Failed, "an index refers to it", "index first")
	if !errors.Is(err, harbor.ErrReferenced) {
		t.Error("not ErrReferenced")
	}
	for _, name := range []string{"index", "child"} {
		if err := c.Delete(t.Context(), "team/app", digest(name)); err != nil {
			t.Error(err)
		}
	}
	if err := c.Delete(t.Context(), "team/app", digest("child")); !errors.Is(err, harbor.ErrMissing) {
		t.Error(err)
	}
}

func TestLabel(t *testing.T) {
	s := start(t, registrytest.Config{Artifacts: []registrytest.Artifact{{Repository: "team/app", Digest: digest("a"), Tags: []string{"1"}}}})
	c := client(s, admin)
	for range 2 { // the second finds all done
		if err := c.Label(t.Context(), "team/app", "1", []string{"commit-12", "commit-123"}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"commit-12", "commit-123"}, s.Artifacts()[0].Labels); diff != "" {
		t.Error(diff)
	}
	if err := c.Label(t.Context(), "team/app", "1", []string{strings.Repeat("x", 127) + "é"}); err != nil || s.Artifacts()[0].Labels[2] != strings.Repeat("x", 127) {
		t.Errorf("a label that is cut: %q, %v", s.Artifacts()[0].Labels, err)
	}
	check(t, client(s, robot).Label(t.Context(), "team/app", "1", []string{"new"}), fault.Denied, "create label", "right")
	for _, description := range []string{"from here", "from there"} { // the first stays
		if err := c.Describe(t.Context(), "team/app", description); err != nil || s.Description("team/app") != "from here" {
			t.Errorf("%q, %v", s.Description("team/app"), err)
		}
	}
}

func TestCollect(t *testing.T) {
	s := start(t, registrytest.Config{Artifacts: []registrytest.Artifact{{Repository: "team/app", Digest: digest("untagged")}}})
	c := client(s, admin)
	harbor.Hurry(c)
	got, err := c.Collect(t.Context())
	if len(s.Artifacts()) != 1 {
		t.Error("what has no tag was collected")
	}
	if want := (harbor.Collection{ID: "17", Freed: 6002844, Blobs: 2, Manifests: 1}); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

const findings = `[{"id":"CVE-1","package":"zlib","version":"1","fix_version":"","severity":"Low","description":"d","links":null,"preferred_cvss":{"score_v3":3.1}},
{"id":"CVE-2","package":"openssl","version":"3.0","fix_version":"3.1","severity":"Critical","description":"e","links":["https://l.test"],"preferred_cvss":{"score_v3":null}}]`

func TestScan(t *testing.T) {
	image := []registrytest.Artifact{{Repository: "team/sub/app", Digest: digest("a"), Tags: []string{"1"}}}
	s := start(t, registrytest.Config{Artifacts: image, Scanner: &registrytest.Scanner{Vulnerabilities: findings, Asks: 3}})
	c := client(s, admin)
	harbor.Hurry(c)
	var states []string
	got, err := c.Scan(t.Context(), "team/sub/app", "1", func(status string) { states = append(states, status) })
	want := harbor.Report{Scanner: "FakeScan 1.0", Generated: time.Date(2026, 11, 23, 2, 17, 23, 0, time.UTC), Vulnerabilities: []harbor.Vulnerability{
		{ID: "CVE-2", Package: "openssl", Version: "3.0", Fixed: "3.1", Severity: "Critical", Description: "e", Links: []string{"https://l.test"}},
		{ID: "CVE-1", Package: "zlib", Version: "1", Severity: "Low", Description: "d", Score: 3.1},
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"Pending", "Running", "Success"}, states); diff != "" {
		t.Error(diff)
	}

	failing := client(start(t, registrytest.Config{Artifacts: image, Scanner: &registrytest.Scanner{Fails: true}}), admin)
	_, err = failing.Scan(t.Context(), "team/sub/app", "1", func(string) {})
	check(t, err, fault.Failed, "ended with Error", "log")
	_, err = client(start(t, registrytest.Config{Artifacts: image}), admin).Scan(t.Context(), "team/sub/app", "1", func(string) {})
	check(t, err, fault.Failed, "project team has no scanner", "--with-trivy")
	_, err = c.Scan(t.Context(), "team/sub/app", "2", func(string) {})
	check(t, err, fault.Failed, "no such image", "push it first")
}

// TestScanGoingOn waits for a scan that another started.
func TestScanGoingOn(t *testing.T) {
	s := start(t, registrytest.Config{Artifacts: []registrytest.Artifact{{Repository: "team/app", Digest: digest("a"), Tags: []string{"1"}}},
		Scanner: &registrytest.Scanner{Vulnerabilities: "[]", Asks: 9}})
	c := client(s, admin)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := c.Scan(ctx, "team/app", "1", func(string) { cancel() }); err == nil {
		t.Fatal("the context's end did not end the waiting")
	}
	harbor.Hurry(c)
	if _, err := c.Scan(t.Context(), "team/app", "1", func(string) {}); err != nil {
		t.Error(err)
	}
	if n := s.Count("POST", "/scan"); n != 2 {
		t.Errorf("%d scans were started", n)
	}
}

// TestRepeats makes calls again after answers that pass, and no POST that may have been heard.
func TestRepeats(t *testing.T) {
	for name, tt := range map[string]struct {
		status   int
		after    string // Retry-After
		times    int32
		post     bool
		requests int32
		fails    bool
	}{
		"busy":            {status: 429, times: 2, requests: 3},
		"busy until 2100": {status: 429, after: "Fri, 01 Jan 2100 00:00:00 GMT", times: 2, requests: 1, fails: true},
		"ill":             {status: 503, times: 1, requests: 2},
		"too long":        {status: 503, times: 9, requests: 3, fails: true},
		"POST, ill":       {status: 503, times: 1, post: true, requests: 1, fails: true},
		"POST, busy":      {status: 429, times: 1, post: true, requests: 2},
		"refused is not":  {status: 403, times: 9, requests: 1, fails: true},
		"broken":          {status: 0, times: 1, requests: 2},
		"POST, broken":    {status: 0, times: 1, post: true, requests: 1, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			s := start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/api/v2.0/projects") {
					return false
				}
				if asked.Add(1) > tt.times {
					return false
				}
				if tt.status == 0 {
					panic(http.ErrAbortHandler)
				}
				if tt.after != "" {
					w.Header().Set("Retry-After", tt.after)
				}
				w.WriteHeader(tt.status)
				return true
			}})
			c := client(s, admin)
			harbor.Hurry(c)
			var err error
			if tt.post {
				err = c.CreateProject(t.Context(), "new", false)
			} else {
				_, err = c.Project(t.Context(), "team")
			}
			if (err != nil) != tt.fails || asked.Load() != tt.requests {
				t.Errorf("%d requests, %v", asked.Load(), err)
			}
		})
	}
}

func TestParseSeverity(t *testing.T) {
	for typed, want := range map[string]harbor.Severity{"critical": "Critical", "HIGH": "High", "Unknown": "Unknown"} {
		if got, err := harbor.ParseSeverity(typed); err != nil || got != want {
			t.Errorf("%s: %s, %v", typed, got, err)
		}
	}
	for _, typed := range []string{"none", "", "grave"} {
		if got, err := harbor.ParseSeverity(typed); err == nil || !strings.HasSuffix(err.Error(), ": critical, high, medium, low, negligible, unknown are") {
			t.Errorf("%q: %s, %v", typed, got, err)
		}
	}
}

// TestCredentialStaysHome follows no redirect, with or without the login, and keeps no cookie.
func TestCredentialStaysHome(t *testing.T) {
	other := registrytest.Start(t, registrytest.Config{})
	s := start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if _, err := r.Cookie("sid"); err == nil {
			t.Error("the cookie came back")
		}
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: "1"})
		if strings.HasSuffix(r.URL.Path, "/projects/team") {
			http.Redirect(w, r, other.URL+"/api/v2.0/projects/team", http.StatusTemporaryRedirect)
			return true
		}
		return false
	}})
	c := client(s, admin)
	if _, err := c.System(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := c.Project(t.Context(), "team")
	check(t, err, fault.Failed, "elsewhere", "")
	if n := len(other.Requests()); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}
