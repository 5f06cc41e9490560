package version

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
)

func TestAfter(t *testing.T) {
	for _, tt := range []struct {
		name    string
		scheme  Scheme
		tags    string
		bump    Bump
		pre     string
		commits []string
		want    string // TAG (PREVIOUS): WHY
	}{
		{"patch", Scheme{}, "v1.2.3 v1.10.0 v1.9.9 latest v2 v1.10", Patch, "", nil, "v1.10.1 (v1.10.0): patch after 1.10.0"},
		{"minor", Scheme{}, "v1.2.3", Minor, "", nil, "v1.3.0 (v1.2.3): minor after 1.2.3"},
		{"major", Scheme{}, "v1.2.3", Major, "", nil, "v2.0.0 (v1.2.3): major after 1.2.3"},
		{"without v", Scheme{}, "1.2.3 1.2.2", Patch, "", nil, "1.2.4 (1.2.3): patch after 1.2.3"},
		{"the first", Scheme{Initial: "0.1.0"}, "release-1 app/v1.0.0", Patch, "", nil, "v0.1.0 (): the first: no tag v1.2.3 yet"},
		{"monorepo", Scheme{Prefix: "app/"}, "v9.0.0 app/v1.0.0 application/v3.0.0 app/x/v4.0.0", Patch, "", nil, "app/v1.0.1 (app/v1.0.0): patch after 1.0.0"},
		{"the first of several", Scheme{Prefix: "api/", Initial: "v1.0.0"}, "app/v1.0.0", Minor, "", nil, "api/v1.0.0 (): the first: no tag api/v1.2.3 yet"},
		{"a pre-release is no release", Scheme{}, "v1.2.3 v1.3.0-rc.1", Minor, "", nil, "v1.3.0 (v1.2.3): minor after 1.2.3"},
		{"pre-release", Scheme{}, "v1.2.3", Minor, "rc", nil, "v1.3.0-rc.1 (v1.2.3): minor after 1.2.3"},
		{"the tenth", Scheme{}, "v1.2.3 v1.3.0-rc.9 v1.3.0-rc.10 v1.3.0-beta.12 v1.4.0-rc.3", Minor, "rc", nil, "v1.3.0-rc.11 (v1.2.3): minor after 1.2.3"},
		{"the v in the prefix", Scheme{Prefix: "v"}, "v1.2.3", Patch, "", nil, "v1.2.4 (v1.2.3): patch after 1.2.3"},
		{"the first with it", Scheme{Prefix: "app-v", Initial: "0.1.0"}, "", Patch, "", nil, "app-v0.1.0 (): the first: no tag app-v1.2.3 yet"},
		{"a prefix that ends in v", Scheme{Prefix: "dev", Initial: "0.1.0"}, "", Patch, "", nil, "devv0.1.0 (): the first: no tag devv1.2.3 yet"},
		{"feat", Scheme{}, "v1.2.3", Auto, "", []string{"fix: a", "feat(api): b\n\nbody", "fix: c"}, `v1.3.0 (v1.2.3): 3 commits since 1.2.3, the greatest of which is "feat(api): b"`},
		{"breaking", Scheme{}, "v1.2.3", Auto, "", []string{"feat: a", "refactor(x)!: b"}, `v2.0.0 (v1.2.3): 2 commits since 1.2.3, the greatest of which is "refactor(x)!: b"`},
		{"footer", Scheme{}, "v1.2.3", Auto, "", []string{"fix: a\n\nBREAKING CHANGE: gone"}, `v2.0.0 (v1.2.3): 1 commit since 1.2.3, the greatest of which is "fix: a"`},
		{"breaking before 1.0.0", Scheme{}, "v0.2.3", Auto, "", []string{"feat!: a"}, `v0.3.0 (v0.2.3): 1 commit since 0.2.3, the greatest of which is "feat!: a": a breaking change before 1.0.0`},
		{"unconventional", Scheme{}, "v1.2.3", Auto, "", []string{"Feature: no", "feat:no space", "update"}, `v1.2.4 (v1.2.3): 3 commits since 1.2.3, the greatest of which is "Feature: no"`},
		{"nothing said", Scheme{}, "v1.2.3", Auto, "", []string{"feat:no space", "update"}, "v1.2.4 (v1.2.3): 2 commits since 1.2.3, none of which says feat or fix"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tags := strings.Fields(tt.tags)
			for range 3 {
				rand.Shuffle(len(tags), func(i, j int) { tags[i], tags[j] = tags[j], tags[i] })
				n, err := tt.scheme.After(tags, tt.bump, tt.pre, tt.commits)
				if got := n.Tag + " (" + n.Previous + "): " + n.Why; err != nil || got != tt.want {
					t.Errorf("%s, %v, want %s", got, err, tt.want)
				}
				if (n.Bump == "") != (n.Previous == "") || n.Bump == Auto {
					t.Errorf("bump %q", n.Bump)
				}
				if n.Tag != tt.scheme.Prefix+"v"+n.Version && n.Tag != tt.scheme.Prefix+n.Version {
					t.Errorf("tag %s, version %s", n.Tag, n.Version)
				}
			}
		})
	}
}

func TestAfterRefuses(t *testing.T) {
	for name, call := range map[string]func() (Next, error){
		"initial":     func() (Next, error) { return Scheme{Initial: "one"}.After(nil, Patch, "", nil) },
		"pre-release": func() (Next, error) { return Scheme{}.After([]string{"v1.0.0"}, Patch, "r_c", nil) },
	} {
		if _, err := call(); fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A commit that was released keeps its version, so that running a workflow again gives the same.
func TestHere(t *testing.T) {
	tags := []string{"v1.3.0-rc.2", "v1.3.0", "stable", "app/v7.0.0"}
	all := append([]string{"v1.4.0", "v1.2.9", "v1.3.0-rc.1", "v1.2.10"}, tags...)
	for pre, want := range map[string]string{"": "1.3.0", "rc": "1.3.0-rc.2", "beta": "1.3.0"} {
		if n, found := (Scheme{}).Here(tags, all, pre); n.Version != want || !found || !n.Tagged || n.Previous != "v1.2.10" {
			t.Errorf("%q: %+v, %v", pre, n, found)
		}
	}
	for _, tags := range [][]string{nil, {"stable", "app/v7.0.0"}, {"v1.3.0-rc.2"}} {
		if n, found := (Scheme{}).Here(tags, tags, ""); found {
			t.Errorf("%q: %+v", tags, n)
		}
	}
}

func TestOf(t *testing.T) {
	app := Scheme{Prefix: "app/"}
	if n, found := app.Of("app/v1.2.0-rc.1"); !found || n.Version != "1.2.0-rc.1" || n.Release() {
		t.Errorf("%+v, %v", n, found)
	}
	for _, tag := range []string{"v1.2.0", "app/nightly", "app/v1.2"} {
		if n, found := app.Of(tag); found {
			t.Errorf("%s: %+v", tag, n)
		}
	}
}

func TestRelease(t *testing.T) {
	for version, want := range map[string]bool{"1.2.3": true, "1.2.3-rc.1": false, "pr-7-3f2a1bc": false, "": false} {
		if got := (Next{Version: version}).Release(); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}

func TestPullRequest(t *testing.T) {
	if n := PullRequest(7, "3f2a1bc9d0"); n.Version != "pr-7-3f2a1bc" || n.Tag != "" {
		t.Errorf("%+v", n)
	}
}
