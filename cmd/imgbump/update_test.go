package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// runUpdate runs update on a tree of these files, with the robot's login for Harbor.
func runUpdate(t *testing.T, s *registrytest.Server, files map[string]string, args ...string) (d setDocument, stderr string, code int) {
	t.Helper()
	return runUpdateIn(t, map[string]string{"HARBOR_URL": s.URL, "HARBOR_USERNAME": robot, "HARBOR_PASSWORD": robotPassword}, files, args...)
}

// runUpdateIn runs update with an environment, and returns its document and what it said.
func runUpdateIn(t *testing.T, env, files map[string]string, args ...string) (d setDocument, stderr string, code int) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	env = maps.Clone(env)
	env["XDG_CACHE_HOME"] = t.TempDir()
	var out, errs bytes.Buffer
	code = run(append([]string{"update", "--root", dir, "--format", "json"}, args...),
		cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(key string) string { return env[key] }})
	if err := json.Unmarshal(out.Bytes(), &d); err != nil && code != 2 {
		t.Fatalf("exit %d, %v: %s%s", code, err, &out, &errs)
	}
	if strings.Contains(out.String()+errs.String(), robotPassword) {
		t.Errorf("the password is told: %s%s", &out, &errs)
	}
	return d, errs.String(), code
}

// policed is a tree that names n images of which each has a policy.
func policed(host string, n int, policy string) map[string]string {
	var config, manifests strings.Builder
	config.WriteString("version: 1\nimages:\n")
	for i := range n {
		fmt.Fprintf(&config, "  - {name: %s/team/app%d, policy: {%s}}\n", host, i, policy)
		fmt.Fprintf(&manifests, "app%d: {image: %s/team/app%d:1.0.0}\n", i, host, i)
	}
	return map[string]string{"imgbump.yaml": config.String(), "values.yaml": manifests.String()}
}

// lists answers the lists of tags with those.
func lists(tags ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		json.NewEncoder(w).Encode(map[string]any{"tags": tags})
		return true
	}
}

// TestUpdateCost counts requests: where names decide, one list for each image and a token for each score of them.
func TestUpdateCost(t *testing.T) {
	s := harborOf(t, registrytest.Config{Instead: lists("1.0.0", "1.1.0", "2.0.0")})
	d, stderr, code := runUpdate(t, s, policed(s.Host, 60, "constraint: ^1"))
	if code != 0 || len(d.Changes) != 60 || len(d.Decisions) != 60 || !strings.HasSuffix(d.Changes[0].To, "app0:1.1.0") {
		t.Fatalf("exit %d, %d changes, %+v; %s", code, len(d.Changes), d.Failures, stderr)
	}
	got := [4]int{s.Count("GET", "/tags/list"), s.Count("GET", "/service/token"), s.Count("GET", "/v2/") - s.Count("GET", "/tags/list"), len(s.Requests())}
	if want := [4]int{60, 1 + 3, 1, 65}; got != want { // a greeting, and a question whether the login is right
		t.Errorf("lists, tokens, greetings, all: %v, want %v", got, want)
	}
}

// TestUpdateOnHarbor has dates decide: Harbor's list of images has them, a hundred at once, whatever policies ask.
func TestUpdateOnHarbor(t *testing.T) {
	var artifacts []registrytest.Artifact
	for i := range 500 {
		artifacts = append(artifacts, registrytest.Artifact{Repository: "team/app0", Digest: fmt.Sprintf("sha256:%064d", i), Tags: []string{fmt.Sprintf("b%d", i)},
			Pushed: time.Unix(int64(1600000000+i), 0), Created: time.Unix(int64(1600000000-i), 0), OS: "linux", Arch: "amd64"})
	}
	s := harborOf(t, registrytest.Config{Artifacts: artifacts})
	files := policed(s.Host, 1, "strategy: newest-build")
	files["b.yaml"] = fmt.Sprintf("image: %s/team/app0:b400 # imgbump: newest-build allow-tags=regexp:[1-9]$\n", s.Host)
	d, stderr, code := runUpdate(t, s, files, "--pin", "both")
	if code != 0 || len(d.Changes) != 2 || !strings.HasSuffix(d.Changes[0].To, "app0:b1@"+artifacts[1].Digest) || !strings.HasSuffix(d.Changes[1].To, "app0:b0@"+artifacts[0].Digest) {
		t.Fatalf("exit %d, %+v, %+v; %s", code, d.Changes, d.Failures, stderr)
	}
	if n, all := s.Count("GET", "/artifacts"), len(s.Requests()); n != 5 || all > 6+1 {
		t.Errorf("%d pages, %d requests: %+v", n, all, s.Requests())
	}
}

// TestUpdateRefused has a registry that is down for good: it is not asked for everything, and the rest goes on.
func TestUpdateRefused(t *testing.T) {
	refusing := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintln(w, "<html>no</html>")
		return true
	}
	s, other := harborOf(t, registrytest.Config{Instead: refusing}), registrytest.Start(t, registrytest.Config{Instead: lists("1.0.0", "1.1.0")})
	files := policed(s.Host, 100, "constraint: ^1")
	files["b.yaml"] = fmt.Sprintf("image: %s/team/app:1.0.0 # imgbump: semver\n", other.Host)
	d, stderr, code := runUpdate(t, s, files)
	if code != 3 || len(d.Changes) != 1 || len(d.Failures) != 100 {
		t.Errorf("exit %d, %+v, %d failures; %s", code, d.Changes, len(d.Failures), stderr)
	}
	if n := s.Count("GET", "/tags/list"); n > 32 {
		t.Errorf("%d lists were asked for", n)
	}
	delete(files, "b.yaml")
	if d, stderr, code = runUpdate(t, s, files); code != 1 || len(d.Failures) != 100 || strings.Count(stderr, "\n") > 105 {
		t.Errorf("exit %d, %d failures; %s", code, len(d.Failures), stderr)
	}
}

// TestUpdateMissing has repositories that are not there, more than a registry that is down would be asked for, and one that is.
func TestUpdateMissing(t *testing.T) {
	s := harborOf(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasPrefix(r.URL.Path, "/v2/team/app39/") && lists("1.0.0", "1.1.0")(w, r)
	}})
	d, stderr, code := runUpdate(t, s, policed(s.Host, 40, "constraint: ^1"))
	if code != 3 || len(d.Changes) != 1 || len(d.Failures) != 39 || !strings.HasSuffix(d.Changes[0].To, "app39:1.1.0") {
		t.Errorf("exit %d, %+v, %d failures; %s", code, d.Changes, len(d.Failures), stderr)
	}
	if f := d.Failures[0]; f.File != "imgbump.yaml" || f.Line != 3 || !strings.Contains(stderr, "team/app0: no such image (for imgbump.yaml:3)") {
		t.Errorf("%+v; %s", f, stderr)
	}
}
