package catalog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/catalog"
	"github.com/ksera524/imgbump/internal/registrytest"
)

const (
	robot  = "robot$team+ci"
	secret = "S3cretOfTheRobot"
)

// harborOf is a Harbor with the project team.
func harborOf(t *testing.T, config registrytest.Config) *registrytest.Server {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	config.Projects = []string{"team"}
	config.Robots = []registrytest.Robot{{Name: robot, Secret: secret, Project: "team", Push: true, Scan: true}}
	return registrytest.Start(t, config)
}

func client(s *registrytest.Server, settings ...registry.Setting) *registry.Client {
	return registry.New(registry.Options{Credential: registry.Credential{Host: s.Host, Username: robot, Password: secret}, Settings: settings})
}

// listener is a catalog, and what it warned of.
type listener struct {
	*catalog.Catalog
	mu   sync.Mutex
	told []string
}

func listen(c *registry.Client) *listener {
	l := &listener{}
	l.Catalog = catalog.New(c, func(text string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.told = append(l.told, text)
	})
	return l
}

// app is the repository that is asked about.
func app(s *registrytest.Server) imageref.Ref {
	return imageref.Ref{Registry: s.Host, Repository: "team/app"}
}

// put pushes an image under a tag of app.
func put(t *testing.T, s *registrytest.Server, tag string, what image.Artifact) {
	t.Helper()
	ref := app(s)
	ref.Tag = tag
	if _, err := client(s).Push(t.Context(), what, []imageref.Ref{ref}); err != nil {
		t.Fatal(err)
	}
}

// made is an image for an architecture, of a day in 2020.
func made(t *testing.T, arch string, day int) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: arch, Created: v1.Time{Time: time.Date(2020, 1, day, 0, 0, 0, 0, time.UTC)}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// lists answers lists of tags with those.
func lists(tags ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		json.NewEncoder(w).Encode(map[string]any{"tags": tags})
		return true
	}
}

// Several policies for one repository cost one list; names that are no tags are told of once.
func TestNames(t *testing.T) {
	s := harborOf(t, registrytest.Config{Instead: lists("1.0.0", "1.2.0", "2.0.0", "\x1b[31m", "a b")})
	c := listen(client(s))
	if err := c.Prepare(t.Context(), []imageref.Ref{app(s), {Registry: s.Host, Repository: "team/other"}}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for constraint, want := range map[string]string{"^1": "1.2.0", "": "2.0.0", "^3": ""} {
		group.Go(func() {
			d, err := c.Choose(t.Context(), app(s), policy.Rules{Strategy: policy.Semver, Constraint: constraint})
			if err != nil || d.Tag != want || d.Considered != 3 {
				t.Errorf("%q: %q of %d (%s), %v; want %q", constraint, d.Tag, d.Considered, d.Why, err, want)
			}
		})
	}
	group.Wait()
	if n := s.Count("GET", "/tags/list"); n != 1 || s.Count("GET", "/service/token") != 2 {
		t.Errorf("%d lists, %d tokens", n, s.Count("GET", "/service/token"))
	}
	if want := []string{app(s).String() + " lists 2 names that are no tags, left out"}; !slices.Equal(c.told, want) {
		t.Errorf("told %q", c.told)
	}
	if _, err := c.Choose(t.Context(), app(s), policy.Rules{Strategy: "best"}); fault.KindOf(err) != fault.Usage {
		t.Errorf("error %v", err)
	}
}

// Where dates decide, Harbor's list tells them but for the images of an index. Without the right to it each image is read, and
// that is told; a registry that is no Harbor is asked in that way at once.
func TestDates(t *testing.T) {
	forbidden := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/api/") {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintln(w, `{"errors":[{"code":"FORBIDDEN","message":"forbidden"}]}`)
		return true
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for name, tt := range map[string]struct {
		server *registrytest.Server
		calls  int // of Harbor's API
		gets   int // of manifests and configurations
		told   string
	}{
		"Harbor":                   {harborOf(t, registrytest.Config{}), 1, 5, ""},
		"Harbor without the right": {harborOf(t, registrytest.Config{Instead: forbidden}), 1, 9, "each tag's image is read, which takes longer: "},
		"another registry":         {registrytest.Start(t, registrytest.Config{}), 0, 9, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := tt.server
			put(t, s, "a", made(t, "amd64", 3))
			put(t, s, "b", made(t, "amd64", 1))
			put(t, s, "both", mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
				mutate.IndexAddendum{Add: made(t, "amd64", 2), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
				mutate.IndexAddendum{Add: made(t, "arm64", 4), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}}))
			s.Forget()
			c := listen(client(s))
			d, err := c.Choose(t.Context(), app(s), policy.Rules{Strategy: policy.NewestBuild})
			if err != nil || d.Tag != "both" || d.Digest == "" || !strings.Contains(d.Why, "made 2020-01-04") {
				t.Errorf("%q %s (%s), %v", d.Tag, d.Digest, d.Why, err)
			}
			calls, gets := s.Count("GET", "/api/"), s.Count("GET", "/manifests/")+s.Count("GET", "/blobs/")
			if calls != tt.calls || gets != tt.gets {
				t.Errorf("%d calls of Harbor's API, %d gets; want %d, %d", calls, gets, tt.calls, tt.gets)
			}
			if told := strings.Join(c.told, "\n"); tt.told == "" && told != "" || !strings.HasPrefix(told, tt.told) {
				t.Errorf("told %q", told)
			}
			d, err = c.Choose(t.Context(), app(s), policy.Rules{Strategy: policy.NewestBuild, Platforms: []string{"linux/amd64"}})
			if err != nil || d.Tag != "a" || s.Count("GET", "/api/") != tt.calls {
				t.Errorf("for amd64: %q (%s), %v; %d calls", d.Tag, d.Why, err, s.Count("GET", "/api/"))
			}
		})
	}
}

// A digest of Harbor's list that is none goes no further.
func TestNoDigest(t *testing.T) {
	for _, digest := range []string{"sha256:abc\nevil: true # ", "", "sha256:abc"} {
		s := harborOf(t, registrytest.Config{Artifacts: []registrytest.Artifact{{Repository: "team/app", Digest: digest, Tags: []string{"1"}, Pushed: time.Now(), OS: "linux", Arch: "amd64"}}})
		if d, err := listen(client(s)).Choose(t.Context(), app(s), policy.Rules{Strategy: policy.NewestBuild}); err != nil || d.Tag != "1" || d.Digest != "" {
			t.Errorf("%q: %q %q, %v", digest, d.Tag, d.Digest, err)
		}
	}
}

// A few tags that cannot be read are left out; many of them, or a right that is missing, are the registry's fault.
func TestBad(t *testing.T) {
	for name, tt := range map[string]struct {
		bad    int
		status int
		kind   fault.Kind
		part   string // of the error, "" for none
	}{
		"ten":        {10, http.StatusNotFound, 0, ""},
		"eleven":     {11, http.StatusNotFound, fault.Failed, "no such image"},
		"one denied": {1, http.StatusForbidden, fault.Denied, "403"},
	} {
		t.Run(name, func(t *testing.T) {
			names := []string{"good"}
			for i := range tt.bad {
				names = append(names, fmt.Sprintf("bad%d", i))
			}
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			s := registrytest.Start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "/manifests/bad") {
					w.WriteHeader(tt.status)
					return true
				}
				return lists(names...)(w, r)
			}})
			put(t, s, "good", made(t, "amd64", 1))
			d, err := listen(client(s)).Choose(t.Context(), app(s), policy.Rules{Strategy: policy.NewestBuild})
			switch {
			case tt.part != "":
				if fault.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.part) {
					t.Errorf("error %v", err)
				}
			case err != nil || d.Tag != "good" || len(d.Bad) != tt.bad || d.Bad[0].Tag != "bad0":
				t.Errorf("%q, bad %v, %v", d.Tag, d.Bad, err)
			}
		})
	}
}

// For the age of what names choose, as few images are looked at as decide it. On Harbor the push counts.
func TestAge(t *testing.T) {
	now := time.Now()
	old, young := now.Add(-48*time.Hour), now.Add(-time.Hour)
	of := func(tag string, pushed, made time.Time) registrytest.Artifact {
		return registrytest.Artifact{Repository: "team/app", Digest: fmt.Sprintf("sha256:%064s", tag), Tags: []string{tag}, Pushed: pushed, Created: made, OS: "linux", Arch: "amd64"}
	}
	s := harborOf(t, registrytest.Config{Instead: lists("1", "2", "3", "4", "5"), Artifacts: []registrytest.Artifact{
		of("1", old, old), of("2", old, old), of("3", young, old), of("4", old, young)}})
	d, err := listen(client(s)).Choose(t.Context(), app(s), policy.Rules{Strategy: policy.Semver, MinAge: 24 * time.Hour})
	if err != nil || d.Tag != "2" || len(d.Bad) != 1 || d.Bad[0].Tag != "5" { // which Harbor does not know
		t.Errorf("%q (%s), bad %v, %v", d.Tag, d.Why, d.Bad, err)
	}
	if n := s.Count("GET", "/artifacts/"); n != 4 {
		t.Errorf("%d looks", n)
	}
}

// The strategy digest wants one tag. That it is missing is no error where the repository is there.
func TestDigest(t *testing.T) {
	s := harborOf(t, registrytest.Config{})
	img := made(t, "amd64", 1)
	put(t, s, "main", img)
	want, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	c := listen(client(s))
	rules := policy.Rules{Strategy: policy.Digest, Constraint: "main"}
	if d, err := c.Choose(t.Context(), app(s), rules); err != nil || d.Tag != "main" || d.Digest != want.String() {
		t.Errorf("%q %s, %v", d.Tag, d.Digest, err)
	}
	rules.Platforms = []string{"linux/arm64"}
	if d, err := c.Choose(t.Context(), app(s), rules); err != nil || d.Tag != "" || !strings.Contains(d.Why, "not for linux/arm64") {
		t.Errorf("%q (%s), %v", d.Tag, d.Why, err)
	}
	rules.Constraint = "next"
	if d, err := c.Choose(t.Context(), app(s), rules); err != nil || d.Why != "there is no tag next" {
		t.Errorf("%q (%s), %v", d.Tag, d.Why, err)
	}
	for repository, down := range map[string]bool{"team/nosuch": false, "nosuch/app": false} {
		_, err := c.Choose(t.Context(), imageref.Ref{Registry: s.Host, Repository: repository}, rules)
		if err == nil || c.Down(err) != down {
			t.Errorf("%s: error %v, down %v", repository, err, c.Down(err))
		}
	}
	page := registrytest.Start(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/manifests/") {
			fmt.Fprintln(w, "<html>")
			return true
		}
		return false
	}})
	if _, err := listen(client(page)).Choose(t.Context(), app(page), rules); err == nil || !c.Down(err) {
		t.Errorf("a web page: %v", err)
	}
}

// A registry has a namespace for repositories without one.
func TestNamespace(t *testing.T) {
	s := harborOf(t, registrytest.Config{})
	put(t, s, "1.0.0", made(t, "amd64", 1))
	c := listen(client(s, registry.Setting{Host: s.Host, Namespace: "team"}))
	ref := imageref.Ref{Registry: s.Host, Repository: "app"}
	if d, err := c.Choose(t.Context(), ref, policy.Rules{Strategy: policy.Semver}); err != nil || d.Tag != "1.0.0" {
		t.Errorf("%q, %v", d.Tag, err)
	}
	ref.Tag = "1.0.0"
	if _, err := c.Digest(t.Context(), ref); err != nil {
		t.Error(err)
	}
	if err := c.Verify(t.Context(), ref, catalog.Demands{}); err != nil {
		t.Error(err)
	}
	if ref.Tag = "2.0.0"; !errors.Is(c.Verify(t.Context(), ref, catalog.Demands{}), registry.ErrNotFound) {
		t.Error("what is missing meets the demands")
	}
	// Whoever is no Harbor scans nothing.
	other := registrytest.Start(t, registrytest.Config{})
	put(t, other, "1", made(t, "amd64", 1))
	ref = app(other)
	ref.Tag = "1"
	if err := listen(client(other)).Verify(t.Context(), ref, catalog.Demands{MaxSeverity: "High"}); fault.KindOf(err) != fault.Gate || !strings.Contains(err.Error(), "only Harbor scans") {
		t.Errorf("error %v", err)
	}
}
