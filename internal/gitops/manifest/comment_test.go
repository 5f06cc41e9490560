package manifest_test

import (
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// TestRule has comments that ask for something, beside what is held and beside each other.
func TestRule(t *testing.T) {
	type want struct {
		rule string
		line int
		hold string
	}
	for in, want := range map[string]want{
		"image: app:1 # imgbump: semver ^1.2":                                      {"semver ^1.2", 1, ""},
		"image: app:1 # imgbump:semver\r\n":                                        {"semver", 1, ""},
		"image: app:1 # because. # imgbump: newest-build min-age=24h \t":           {"newest-build min-age=24h", 1, ""},
		"# imgbump: semver >=1 <2\n\n# b\nimage: app:1":                            {"semver >=1 <2", 1, ""},
		"# imgbump: semver\n- name: a\n  image: app:1":                             {"semver", 1, ""},
		"# imgbump: semver\n# imgbump: hold it\nimage: app:1":                      {"semver", 1, "it"},
		"# imgbump: hold it\nimage: app:1 # imgbump: semver":                       {"semver", 2, "it"},
		"# imgbump: calver\nimage: app:1 # imgbump: semver":                        {"semver", 2, ""},
		"image: app:1 # imgbump: hold":                                             {"", 0, "hold"},
		"image: app:1 # imgbump: holder":                                           {"holder", 1, ""},
		"image: app:1 # imgbump: 1.2":                                              {"", 0, ""},
		"image: app:1 # imgbump:":                                                  {"", 0, ""},
		"image: app:1 # see imgbump: semver":                                       {"", 0, ""},
		"image: app:1\nb: 2 # imgbump: semver":                                     {"", 0, ""},
		"image:\n  repository: app\n  tag: 1 # imgbump: digest":                    {"digest", 3, ""},
		"apiVersion: v1\nkind: A\npatch: |\n  image: app:1 # imgbump: semver\n":    {"semver", 4, ""},
		"image: &x app:1\nb:\n  image: *x # imgbump: semver":                       {"", 0, ""},
		"apiVersion: v1\nkind: A\npatch: |\n  # imgbump: semver\n  image: app:1\n": {"semver", 4, ""},
	} {
		found, err := manifest.Find("a.yaml", []byte(in), manifest.Rules{})
		if err != nil || len(found) != 1 {
			t.Fatalf("%q: %+v, %v", in, found, err)
		}
		if s := found[0]; s.Rule != want.rule || s.RuleLine != want.line || s.Hold != want.hold {
			t.Errorf("%q: %q in line %d, hold %q", in, s.Rule, s.RuleLine, s.Hold)
		}
	}
}

// TestMarker has values that Flux' comments mark.
func TestMarker(t *testing.T) {
	for in, want := range map[string]string{
		"image: app:1 # {\"$imagepolicy\": \"flux-system:app\"}":                                   "flux-system:app",
		"image: {repository: app, tag: 1}":                                                         "",
		"image:\n  repository: app\n  tag: 1 # {\"$imagepolicy\": \"flux-system:app:tag\"}":        "flux-system:app",
		"image:\n  repository: app # {\"$imagepolicy\": \"flux-system:app:name\"}\n  tag: 1.2.3\n": "flux-system:app",
	} {
		found, err := manifest.Find("a.yaml", []byte(in), manifest.Rules{})
		if err != nil || len(found) != 1 || found[0].Marker != want {
			t.Errorf("%q: %+v, %v", in, found, err)
		}
	}
}

// TestSpelledHold has holds as people write them, and what is none.
func TestSpelledHold(t *testing.T) {
	for comment, want := range map[string]string{
		"# imgbump: hold":                 "hold",
		"#imgbump:hold":                   "hold",
		"# imgbump: Hold until Monday":    "until Monday",
		"# imgbump: HOLD":                 "hold",
		"# imgbump: hold: until Monday":   "until Monday",
		"# imgbump: hold, until Monday":   "until Monday",
		"# imgbump: hold - until Monday":  "- until Monday",
		"# imgbump: hold—until Monday":    "—until Monday",
		"# imgbump: hold-until-monday":    "-until-monday",
		"# imgbump: hold (until Monday)":  "(until Monday)",
		"# imgbump: hold(until Monday)":   "(until Monday)",
		"# imgbump: hold.":                ".",
		"# imgbump: hold　移行待ち":            "移行待ち",
		"# imgbump: hold：移行待ち":            "移行待ち",
		"# imgbump: hold、移行待ち":            "移行待ち",
		"# imgbump: hold（移行待ち）":           "（移行待ち）",
		"# imgbump: hold移行待ち":             "移行待ち",
		"# why # imgbump: Hold it":        "it",
		"# imgbump: holding":              "",
		"# imgbump: hold2":                "",
		"# imgbump: hold_it":              "",
		"# imgbump: Households need this": "",
		"# imgbump: on hold":              "",
	} {
		in := "image: app:1"
		found, err := manifest.Find("a.yaml", []byte(in+" "+comment+"\n"), manifest.Rules{})
		if err != nil || len(found) != 1 || found[0].Hold != want {
			t.Errorf("%q: %+v, %v, not %q", comment, found, err, want)
		}
	}
}
