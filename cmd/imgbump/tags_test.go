package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// harborOf is a Harbor with the project team.
func harborOf(t *testing.T, config registrytest.Config) *registrytest.Server {
	t.Helper()
	config.Projects = []string{"team"}
	config.Robots = []registrytest.Robot{{Name: robot, Secret: robotPassword, Project: "team", Push: true, Scan: true}}
	return registrytest.Start(t, config)
}

// chooseTag runs tags with that login, and returns its document and what it said.
func chooseTag(t *testing.T, s *registrytest.Server, args ...string) (d tagsDocument, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	env := map[string]string{"HARBOR_USERNAME": robot, "HARBOR_PASSWORD": robotPassword, "XDG_CACHE_HOME": t.TempDir()}
	code = run(append([]string{"tags", "--format", "json", s.Host + "/team/app"}, args...),
		cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(key string) string { return env[key] }})
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatalf("%v: %s%s", err, &out, &errs)
	}
	if strings.Contains(out.String()+errs.String(), robotPassword) {
		t.Errorf("the password is told: %s%s", &out, &errs)
	}
	return d, errs.String(), code
}

func said(s *string) string {
	if s == nil {
		return "none"
	}
	return *s
}

// putTag pushes an image or an index.
func putTag(t *testing.T, s *registrytest.Server, tag string, what remote.Taggable) {
	t.Helper()
	ref, err := name.ParseReference(s.Host + "/team/app:" + tag)
	if err != nil {
		t.Fatal(err)
	}
	login := remote.WithAuth(&authn.Basic{Username: robot, Password: robotPassword})
	switch what := what.(type) {
	case v1.Image:
		err = remote.Write(ref, what, login)
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, what, login)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func imageOf(t *testing.T, arch string, day int) v1.Image {
	t.Helper()
	arch, variant, _ := strings.Cut(arch, "/")
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: arch, Variant: variant, Created: v1.Time{Time: time.Date(2020, 1, day, 0, 0, 0, 0, time.UTC)}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func indexOf(images map[string]v1.Image) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for arch, img := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return index
}

// TestTagsCost counts requests: a page of Harbor's list for each hundred images, a list where names decide, a head for a digest.
func TestTagsCost(t *testing.T) {
	var artifacts []registrytest.Artifact
	for i := range 500 {
		artifacts = append(artifacts, registrytest.Artifact{Repository: "team/app", Digest: fmt.Sprintf("sha256:%064d", i), Tags: []string{fmt.Sprintf("b%d", i)},
			Pushed: time.Unix(int64(1600000000+i), 0), Created: time.Unix(int64(1600000000-i), 0), OS: "linux", Arch: "amd64"})
	}
	artifacts[77].Created = time.Time{}
	s := harborOf(t, registrytest.Config{Artifacts: artifacts})
	d, stderr, code := chooseTag(t, s, "--strategy", "newest-build", "--platform", "linux/amd64")
	if code != 0 || said(d.Tag) != "b77" || said(d.Digest) != artifacts[77].Digest || d.Considered != 500 || len(d.Candidates) != 500 ||
		!strings.Contains(d.Why, "pushed 2020-09-13T12:27:57Z (its configuration has no date)") || said(d.Candidates[0].DateOf) != "push" || said(d.Candidates[1].DateOf) != "build" {
		t.Errorf("exit %d, %s %s (%s) of %d, %d candidates; %s", code, said(d.Tag), said(d.Digest), d.Why, d.Considered, len(d.Candidates), stderr)
	}
	if lists, all := s.Count("GET", "/artifacts"), len(s.Requests()); lists != 5 || all != 7 { // a greeting, and a question whether the login is right
		t.Errorf("%d pages, %d requests", lists, all)
	}
	d, stderr, code = chooseTag(t, s, "--strategy", "newest-build", "--platform", "linux/arm64")
	if code != 0 || d.Tag != nil || d.Why != "none of 500 tags fits: 500 not for linux/arm64" {
		t.Errorf("exit %d, %s (%s) %s", code, said(d.Tag), d.Why, stderr)
	}

	putTag(t, s, "1.0.0", imageOf(t, "amd64", 1))
	putTag(t, s, "1.1.0", imageOf(t, "amd64", 2))
	for _, tt := range []struct {
		args  []string
		count [4]int // heads and gets of manifests, lists, calls of Harbor's API
		want  string
	}{
		{nil, [4]int{0, 0, 1, 0}, "1.1.0"},
		{[]string{"--strategy", "digest", "--constraint", "1.0.0"}, [4]int{1, 0, 0, 0}, "1.0.0"},
		{[]string{"--min-age", "1h"}, [4]int{0, 0, 1, 2}, "none"}, // both were pushed just now
	} {
		s.Forget()
		d, stderr, code := chooseTag(t, s, tt.args...)
		got := [4]int{s.Count("HEAD", "/manifests/"), s.Count("GET", "/manifests/"), s.Count("GET", "/tags/list"), s.Count("GET", "/api/")}
		if code != 0 || said(d.Tag) != tt.want || got != tt.count {
			t.Errorf("%q: exit %d, %s (%s), %v requests, want %v; %s", tt.args, code, said(d.Tag), d.Why, got, tt.count, stderr)
		}
	}
}

// TestTagsIndex has indexes on Harbor, whose list tells nothing of their images, and a Harbor that does not let us list.
func TestTagsIndex(t *testing.T) {
	forbidden := false
	s := harborOf(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if forbidden && strings.HasPrefix(r.URL.Path, "/api/") {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintln(w, `{"errors":[{"code":"FORBIDDEN","message":"forbidden"}]}`)
			return true
		}
		return false
	}})
	old, both := imageOf(t, "amd64", 3), indexOf(map[string]v1.Image{"amd64": imageOf(t, "amd64", 1), "arm64": imageOf(t, "arm64", 9)})
	putTag(t, s, "old", old)
	putTag(t, s, "both", both)
	putTag(t, s, "small", imageOf(t, "arm/v7", 4))
	putTag(t, s, "smaller", imageOf(t, "arm/v6", 5))
	digests := map[string]v1.Hash{}
	digests["old"], _ = old.Digest()
	digests["both"], _ = both.Digest()
	digests["small"], _ = imageOf(t, "arm/v7", 4).Digest()
	for _, forbidden = range []bool{false, true} {
		for platform, want := range map[string]string{"linux/amd64": "old", "linux/arm64": "both", "linux/arm/v7": "small"} {
			d, stderr, code := chooseTag(t, s, "--strategy", "newest-build", "--platform", platform)
			if code != 0 || said(d.Tag) != want || said(d.Digest) != digests[want].String() {
				t.Errorf("%s, forbidden %v: exit %d, %s (%s) %s", platform, forbidden, code, said(d.Tag), d.Why, stderr)
			}
			if warned := strings.Contains(stderr, "warning: each tag's image is read, which takes longer"); warned != forbidden {
				t.Errorf("forbidden %v: %s", forbidden, stderr)
			}
		}
	}
	d, stderr, _ := chooseTag(t, s, "--strategy", "digest", "--constraint", "both")
	if said(d.Tag) != "both" || said(d.Digest) != digests["both"].String() {
		t.Errorf("%s %s, want the index's own digest; %s", said(d.Tag), said(d.Digest), stderr)
	}
	d, stderr, _ = chooseTag(t, s, "--strategy", "digest", "--constraint", "both", "--platform", "linux/s390x")
	if d.Tag != nil || !strings.Contains(d.Why, "not for linux/s390x") {
		t.Errorf("%s (%s) %s", said(d.Tag), d.Why, stderr)
	}
}

// TestTagsSpoiled has tags that cannot be read: a few are left out, many are the registry's fault.
func TestTagsSpoiled(t *testing.T) {
	broken := "nosuch"
	s := registrytest.Start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/"+broken) || r.Method == http.MethodPut {
			return false
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		fmt.Fprint(w, "{")
		return true
	}})
	for i := range 20 {
		putTag(t, s, fmt.Sprintf("b%d", i), imageOf(t, "amd64", i+1))
	}
	broken = "b19"
	d, stderr, code := chooseTag(t, s, "--strategy", "newest-build")
	if code != 0 || said(d.Tag) != "b18" || d.Considered != 19 || len(d.Failures) != 1 || !strings.HasSuffix(d.Failures[0].Image, "/team/app:b19") ||
		!strings.Contains(stderr, "warning: tag b19 is left out: read ") {
		t.Errorf("exit %d, %s (%s) of %d, %+v; %s", code, said(d.Tag), d.Why, d.Considered, d.Failures, stderr)
	}
	broken = "b"
	s.Forget()
	d, _, code = chooseTag(t, s, "--strategy", "newest-build", "--allow-tags", "regexp:^x")
	if n := s.Count("GET", "/manifests/"); code != 0 || d.Tag != nil || n != 0 {
		t.Errorf("exit %d, %s (%s), and %d tags were read that are not allowed", code, said(d.Tag), d.Why, n)
	}
	d, stderr, code = chooseTag(t, s, "--strategy", "newest-build")
	if code != 1 || d.Tag != nil || len(d.Failures) != 1 {
		t.Errorf("exit %d, %s (%s) %+v; %s", code, said(d.Tag), d.Why, d.Failures, stderr)
	}
}

// TestTagsHostile has names that are no tags.
func TestTagsHostile(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/tags/list") {
			json.NewEncoder(w).Encode(map[string]any{"tags": []string{"1.0.0", "\x1b[31m9.0.0", "9.0.0\n::error::x", "$(id)", "9.0.0@sha256:" + strings.Repeat("0", 64), "9.0.0 ", strings.Repeat("9", 200)}})
			return true
		}
		return false
	}})
	d, stderr, code := chooseTag(t, s)
	if code != 0 || said(d.Tag) != "1.0.0" || d.Considered != 1 || !strings.Contains(stderr, "lists 6 names that are no tags") {
		t.Errorf("exit %d, %s (%s) of %d; %s", code, said(d.Tag), d.Why, d.Considered, stderr)
	}
}
