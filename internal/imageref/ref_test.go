package imageref_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/ksera524/imgbump/internal/imageref"
)

var digest = "sha256:" + strings.Repeat("0123456789abcdef", 4)

func TestParse(t *testing.T) {
	for in, want := range map[string]imageref.Ref{
		"nginx":                            {Repository: "nginx"},
		"nginx:1.27":                       {Repository: "nginx", Tag: "1.27"},
		"nginx@" + digest:                  {Repository: "nginx", Digest: digest},
		"nginx:1.27@" + digest:             {Repository: "nginx", Tag: "1.27", Digest: digest},
		"localhost/a":                      {Registry: "localhost", Repository: "a"},
		"localhost:5000/a/b":               {Registry: "localhost:5000", Repository: "a/b"},
		"harbor.example.com/sandbox/rss:a": {Registry: "harbor.example.com", Repository: "sandbox/rss", Tag: "a"},
		"[::1]:5000/a:v1":                  {Registry: "[::1]:5000", Repository: "a", Tag: "v1"},
		"team/app__x--y.z":                 {Repository: "team/app__x--y.z"},
		"Foo/bar":                          {Registry: "Foo", Repository: "bar"},
	} {
		got, err := imageref.Parse(in)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", in, got, err, want)
		}
		if got.String() != in {
			t.Errorf("Parse(%q).String() = %q", in, got.String())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, part := range map[string]string{
		"":                                  "repository is empty",
		"nginx:":                            "tag is empty",
		"nginx:-a":                          "no tag",
		"nginx:" + strings.Repeat("a", 129): "longer than 128",
		"nginx@sha256:abc":                  "64 lower-case hex digits",
		"nginx@md5:abc":                     "no digest",
		"harbor.example.com/":               "repository is empty",
		"harbor.example.com/a//b":           "empty component",
		"harbor.example.com:x/a":            "no port",
		"a/b_-c":                            "no repository component",
		"-a.example.com/b":                  "no registry host",
		"nginx latest":                      "no repository component",
		"https://harbor.example.com/a":      "without a scheme it is harbor.example.com/a",
	} {
		if _, err := imageref.Parse(in); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Parse(%q) = %v, want %q", in, err, part)
		}
	}
	if _, err := imageref.Parse("harbor.example.com/Team/App"); !errors.Is(err, imageref.ErrUpperCase) {
		t.Errorf("upper case: %v", err)
	}
}

// A login that somebody typed is not told.
func TestParseLogin(t *testing.T) {
	for _, in := range []string{"http://u:hunter2@a.example/b:1", "u:hunter2@a.example:5000/b", "u:hun@ter/hunter2@a.example/b@" + digest} {
		_, err := imageref.Parse(in)
		if err == nil || !strings.Contains(err.Error(), `"a.example`) || !strings.Contains(err.Error(), "there is a login before it") || strings.Contains(err.Error(), "hun") {
			t.Errorf("Parse(%q) = %v", in, err)
		}
	}
}

func TestSame(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"nginx:1", "docker.io/library/nginx@" + digest, true},
		{"index.docker.io/library/nginx", "nginx", true},
		{"docker.io/team/app", "team/app", true},
		{"harbor.example.com/library/nginx", "nginx", false},
		{"myapp", "myapp-worker", false},
		{"localhost:5000/app", "localhost/app", false},
		{"harbor.example.com/nginx", "harbor.example.com/library/nginx", false},
	} {
		a, b := parse(t, tt.a), parse(t, tt.b)
		if a.Same(b) != tt.want || b.Same(a) != tt.want {
			t.Errorf("Same(%s, %s) is not %v", tt.a, tt.b, tt.want)
		}
	}
}

func parse(t *testing.T, s string) imageref.Ref {
	t.Helper()
	r, err := imageref.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// FuzzParse holds Parse against the reference implementation of the grammar.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"nginx", "a/b:c@" + digest, "localhost:5000/x", "A/b", "a__b---c", "[::1]:1/a", "a..b", "x:y:z", "a/b/", "a_.b", strings.Repeat("a", 64)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := imageref.Parse(s)
		want, wantErr := reference.ParseNormalizedNamed(s)
		if (err == nil) != (wantErr == nil) {
			if excused(s, got, wantErr) {
				return
			}
			t.Fatalf("Parse(%q) = %v, distribution/reference says %v", s, err, wantErr)
		}
		if err != nil {
			return
		}
		if got.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, got.String())
		}
		if name := want.Name(); name != got.Canonical() && !strings.EqualFold(got.Host(), reference.Domain(want)) {
			t.Errorf("Canonical of %q = %q, want %q", s, got.Canonical(), name)
		}
	})
}

// excused names where we differ on purpose: the reference implementation refuses a bare 64-digit hex string as a
// name (it could be an image ID), and counts the length limit over registry and repository together.
func excused(s string, got imageref.Ref, wantErr error) bool {
	return wantErr != nil && (len(got.Canonical()) > 255 || (len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""))
}
