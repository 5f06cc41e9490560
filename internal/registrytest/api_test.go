package registrytest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/registrytest"
)

const admin = "admin"

func digest(n int) string { return fmt.Sprintf("sha256:%064d", n) }

func withAPI(t *testing.T, change func(*registrytest.Config)) *registrytest.Server {
	t.Helper()
	config := registrytest.Config{
		Projects: []string{"sandbox"},
		Robots: []registrytest.Robot{{Name: ci, Secret: secret, Project: "sandbox", Push: true},
			{Name: admin, Secret: secret, Admin: true}},
		Immutable: []string{"sandbox/*:rel-*"},
		Artifacts: []registrytest.Artifact{
			{Repository: "sandbox/x", Digest: digest(1), Tags: []string{"latest", "v1.0.0"}, Pushed: time.Unix(1, 0)},
			{Repository: "sandbox/x", Digest: digest(2), Tags: []string{"multi"}, Children: []string{digest(1), digest(3)}, Pushed: time.Unix(2, 0)},
			{Repository: "sandbox/x", Digest: digest(3), Pushed: time.Unix(3, 0)},
			{Repository: "sandbox/x", Digest: digest(4), Subject: digest(1), Pushed: time.Unix(4, 0)},
			{Repository: "sandbox/imm", Digest: digest(5), Tags: []string{"rel-9"}},
			{Repository: "sandbox/sub/dir/app", Digest: digest(6), Tags: []string{"1"}},
		},
	}
	if change != nil {
		change(&config)
	}
	return registrytest.Start(t, config)
}

func call(t *testing.T, s *registrytest.Server, user, method, path, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, s.URL+"/api/v2.0"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		name, password, _ := strings.Cut(user, ":")
		req.SetBasicAuth(name, password)
	}
	return req
}

// TestAPIAnswersAreHarbors compares with the recordings whatever does not depend on numbers and times.
func TestAPIAnswersAreHarbors(t *testing.T) {
	none := func(s *registrytest.Config) {}
	scanner := func(s *registrytest.Config) { s.Scanner = &registrytest.Scanner{Vulnerabilities: "[]", Asks: 3} }
	const root, robot = admin + ":" + secret, ci + ":" + secret
	const x = "/projects/sandbox/repositories/x/artifacts"
	for transcript, tt := range map[string]struct {
		user, method, path, body string
		before                   string
		config                   func(*registrytest.Config)
	}{
		"05-project-create":               {user: root, method: "POST", path: "/projects", body: `{"project_name":"other"}`},
		"06-project-create-again":         {user: root, method: "POST", path: "/projects", body: `{"project_name":"sandbox"}`},
		"184-project-badname":             {user: root, method: "POST", path: "/projects", body: `{"project_name":"Bad_NAME!"}`},
		"54-artifacts-pagesize-toobig":    {user: robot, method: "GET", path: x + "?page_size=101"},
		"56-artifact-missing":             {user: robot, method: "GET", path: x + "/nosuch"},
		"57-repo-missing":                 {user: robot, method: "GET", path: "/projects/sandbox/repositories/nosuch/artifacts"},
		"58-project-missing":              {user: robot, method: "GET", path: "/projects/nosuch/repositories/x/artifacts"},
		"63-api-anon":                     {method: "GET", path: x},
		"64-api-badpass":                  {user: ci + ":wrong", method: "GET", path: x},
		"110-scan-no-scanner":             {user: root, method: "POST", path: x + "/latest/scan"},
		"111-scan-robot-forbidden":        {user: robot, method: "POST", path: x + "/latest/scan", config: scanner},
		"112-vulns-no-scanner":            {user: root, method: "GET", path: x + "/latest/additions/vulnerabilities"},
		"120-delete-artifact-in-index":    {user: root, method: "DELETE", path: x + "/latest"},
		"122-delete-artifact-immutable2":  {user: root, method: "DELETE", path: "/projects/sandbox/repositories/imm/artifacts/rel-9"},
		"124-delete-artifact":             {user: root, method: "DELETE", path: x + "/multi"},
		"130-gc-robot-forbidden":          {user: robot, method: "POST", path: "/system/gc/schedule"},
		"131-gc-start":                    {user: root, method: "POST", path: "/system/gc/schedule"},
		"142-nginx-nested-single-encoded": {user: robot, method: "GET", path: "/projects/sandbox/repositories/sub%2Fdir%2Fapp/artifacts"},
		"231-scan":                        {user: root, method: "POST", path: x + "/latest/scan", config: scanner},
		"232-scan-again-at-once":          {user: root, method: "POST", path: x + "/latest/scan", config: scanner, before: x + "/latest/scan"},
	} {
		t.Run(transcript, func(t *testing.T) {
			if tt.config == nil {
				tt.config = none
			}
			s := withAPI(t, tt.config)
			if tt.before != "" {
				do(t, call(t, s, tt.user, tt.method, tt.before, ""))
			}
			if diff := cmp.Diff(recorded(t, transcript, s.Host), do(t, call(t, s, tt.user, tt.method, tt.path, tt.body))); diff != "" {
				t.Errorf("Harbor and we differ (-Harbor +ours):\n%s", diff)
			}
		})
	}
}

// TestAPIShapesAreHarbors holds that what we answer, the recordings hold too, with values of the same kind.
func TestAPIShapesAreHarbors(t *testing.T) {
	const root = admin + ":" + secret
	const x = "/projects/sandbox/repositories/x/artifacts"
	scanner := func(c *registrytest.Config) {
		c.Scanner = &registrytest.Scanner{Vulnerabilities: `[{"id":"CVE-1","package":"p","version":"1","fix_version":"2","severity":"Low","description":"d","links":["l"],"preferred_cvss":{"score_v3":null}}]`}
	}
	for transcript, tt := range map[string]struct{ path, before string }{
		"03-systeminfo-admin":    {path: "/systeminfo"},
		"07-project-get":         {path: "/projects/sandbox"},
		"104-project-summary":    {path: "/projects/sandbox/summary"},
		"61-repos-list":          {path: "/projects/sandbox/repositories?page_size=1"},
		"147-nginx-page":         {path: x + "?page=1&page_size=1"},
		"55-artifact-by-tag":     {path: x + "/latest"},
		"240-multiarch-artifact": {path: x + "/multi"},
		"233-scan-overview":      {path: x + "/latest?with_scan_overview=true", before: x + "/latest/scan"},
		"234-vulns":              {path: x + "/latest/additions/vulnerabilities"},
		"227-gc0-detail":         {path: "/system/gc/17", before: "/system/gc/schedule"},
	} {
		t.Run(transcript, func(t *testing.T) {
			s := withAPI(t, scanner)
			if tt.before != "" {
				do(t, call(t, s, root, "POST", tt.before, ""))
			}
			want, got := recorded(t, transcript, s.Host), do(t, call(t, s, root, "GET", tt.path, ""))
			var wanted, gotten any
			if err := json.Unmarshal([]byte(want.Body), &wanted); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(got.Body), &gotten); err != nil || got.Status != want.Status {
				t.Fatalf("%+v: %v", got, err)
			}
			within(t, "", wanted, gotten)
		})
	}
}

// within reports what got has and want has not. What is null or empty may be anything.
func within(t *testing.T, at string, want, got any) {
	t.Helper()
	if want == nil || got == nil {
		return
	}
	if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
		t.Errorf("%s: Harbor has %v, we have %v", at, want, got)
		return
	}
	switch got := got.(type) {
	case map[string]any:
		for key, value := range got {
			theirs, ok := want.(map[string]any)[key]
			if !ok {
				t.Errorf("%s.%s is not in Harbor's answer", at, key)
			}
			within(t, at+"."+key, theirs, value)
		}
	case []any:
		if theirs := want.([]any); len(theirs) > 0 {
			for _, value := range got {
				within(t, at+"[]", theirs[0], value)
			}
		}
	}
}

// TestPages reads the headers that say how a list goes on.
func TestPages(t *testing.T) {
	s := withAPI(t, nil)
	const path = "/projects/sandbox/repositories"
	for page, want := range map[int]string{
		1: `</api/v2.0` + path + `?page=2&page_size=1>; rel="next"`,
		2: `</api/v2.0` + path + `?page=1&page_size=1>; rel="prev" , </api/v2.0` + path + `?page=3&page_size=1>; rel="next"`,
		3: `</api/v2.0` + path + `?page=2&page_size=1>; rel="prev"`,
	} {
		resp, err := http.DefaultClient.Do(call(t, s, admin+":"+secret, "GET", fmt.Sprintf("%s?page=%d&page_size=1", path, page), ""))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Link"); got != want || resp.Header.Get("X-Total-Count") != "3" {
			t.Errorf("page %d: Link %s, X-Total-Count %s; want %s", page, got, resp.Header.Get("X-Total-Count"), want)
		}
	}
}

// TestListedAndDeleted holds Harbor's rules about indexes: children without tags are not listed and go with their index.
func TestListedAndDeleted(t *testing.T) {
	s := withAPI(t, nil)
	const root = admin + ":" + secret
	var listed []struct{ Digest string }
	got := do(t, call(t, s, root, "GET", "/projects/sandbox/repositories/x/artifacts", ""))
	if err := json.Unmarshal([]byte(got.Body), &listed); err != nil || len(listed) != 2 || listed[0].Digest != digest(2) || listed[1].Digest != digest(1) {
		t.Fatalf("%+v, %v", listed, err)
	}
	if got := do(t, call(t, s, root, "DELETE", "/projects/sandbox/repositories/x/artifacts/"+digest(2), "")); got.Status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	has := func(n int) bool {
		return slices.ContainsFunc(s.Artifacts(), func(a registrytest.Artifact) bool { return a.Digest == digest(n) })
	}
	if !has(1) || has(2) || has(3) || !has(4) {
		t.Errorf("left: %+v", s.Artifacts())
	}
}
