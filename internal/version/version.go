// Package version computes the next version of what a repository releases, from the tags that it has and the commits
// since the last of them.
package version

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/ksera524/imgbump/internal/fault"
)

// Bump is the part of a version that the next one raises. Auto lets the commits decide.
type Bump string

const (
	Patch Bump = "patch"
	Minor Bump = "minor"
	Major Bump = "major"
	Auto  Bump = "auto"
)

// Bumps are all there are.
var Bumps = []Bump{Patch, Minor, Major, Auto}

// Scheme is how the releases of one application are tagged: Prefix, v or not, and a semantic version. A repository of one
// application has no prefix; of several, each has its own, such as app/.
type Scheme struct {
	Prefix  string
	Initial string // the first version
}

// Check refuses a first version that is none.
func (s Scheme) Check() error {
	_, err := s.first()
	return err
}

func (s Scheme) first() (*semver.Version, error) {
	first, err := semver.StrictNewVersion(strings.TrimPrefix(s.Initial, "v"))
	if err != nil || first.Prerelease()+first.Metadata() != "" {
		return nil, fault.Usagef("for example: 0.1.0", "%q is no version to begin with", s.Initial)
	}
	return first, nil
}

// release is a tag that names a version.
type release struct {
	tag     string
	version *semver.Version
}

// read takes a tag apart; ok is false when it is none of the scheme.
func (s Scheme) read(tag string) (release, bool) {
	rest, ok := strings.CutPrefix(tag, s.Prefix)
	if !ok {
		return release{}, false
	}
	v, err := semver.StrictNewVersion(strings.TrimPrefix(rest, "v"))
	return release{tag, v}, err == nil
}

// releases are the tags of the scheme, the highest version first; of equal ones the shorter tag.
func (s Scheme) releases(tags []string) []release {
	var found []release
	for _, tag := range tags {
		if r, ok := s.read(tag); ok {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b release) int {
		return cmp.Or(b.version.Compare(a.version), cmp.Compare(len(a.tag), len(b.tag)), cmp.Compare(a.tag, b.tag))
	})
	return found
}

// Latest is the tag of the highest release, not counting pre-releases, or "".
func (s Scheme) Latest(tags []string) string {
	for _, r := range s.releases(tags) {
		if r.version.Prerelease() == "" {
			return r.tag
		}
	}
	return ""
}

// Next is a version with the tag that names it. Previous is the tag of the release that it follows, "" for the first.
// Tagged says that the commit has the tag already.
type Next struct {
	Version, Tag, Previous string
	Bump                   Bump
	Why                    string
	Tagged                 bool
}

// Release reports whether it is a version to be released: neither a pre-release nor a pull request's.
func (n Next) Release() bool {
	v, err := semver.StrictNewVersion(n.Version)
	return err == nil && v.Prerelease() == ""
}

// Here is the version that a commit has been given, whose tags are some of all: the highest pre-release of the kind where
// one is wanted, else the highest release. It is not found when none of its tags is that.
func (s Scheme) Here(tags, all []string, pre string) (next Next, found bool) {
	for _, kind := range slices.Compact([]string{pre, ""}) {
		for _, r := range s.releases(tags) {
			if k, _, _ := strings.Cut(r.version.Prerelease(), "."); k == kind {
				n := r.next()
				n.Previous = s.before(all, r.version)
				return n, true
			}
		}
	}
	return Next{}, false
}

// before is the tag of the highest release below a version, or "".
func (s Scheme) before(tags []string, version *semver.Version) string {
	for _, r := range s.releases(tags) {
		if r.version.Prerelease() == "" && r.version.LessThan(version) {
			return r.tag
		}
	}
	return ""
}

// Of is the version that a tag names, without the one before; found is false when it is none of the scheme's.
func (s Scheme) Of(tag string) (next Next, found bool) {
	r, found := s.read(tag)
	if !found {
		return Next{}, false
	}
	return r.next(), true
}

// next is the version of a commit that has the tag.
func (r release) next() Next {
	return Next{Version: r.version.String(), Tag: r.tag, Why: "the commit is tagged " + r.tag, Tagged: true}
}

// After is the version after the highest release among tags. Commits, the messages since then, are what Auto goes by. With
// pre, "rc" for example, it is the next pre-release of that version: 1.3.0-rc.1, then 1.3.0-rc.2.
func (s Scheme) After(tags []string, bump Bump, pre string, commits []string) (Next, error) {
	releases := s.releases(tags)
	n := Next{Previous: s.Latest(tags)}
	var version semver.Version
	if n.Previous == "" {
		first, err := s.first()
		if err != nil {
			return Next{}, err
		}
		version, n.Why = *first, "the first: no tag "+s.Prefix+s.letter(nil)+"1.2.3 yet"
	} else {
		last, _ := s.read(n.Previous)
		n.Bump, n.Why = decide(bump, last.version, commits)
		version = raise(*last.version, n.Bump)
	}
	if pre != "" {
		number := 1 + lastPre(releases, version, pre)
		with, err := version.SetPrerelease(pre + "." + strconv.FormatUint(number, 10))
		if err != nil {
			return Next{}, fault.Usagef("for example: rc", "%q cannot name a pre-release", pre)
		}
		version = with
	}
	n.Version = version.String()
	n.Tag = s.Prefix + s.letter(releases) + n.Version
	return n, nil
}

// prefixV is a prefix that has the v in front of the versions already.
var prefixV = regexp.MustCompile(`(^|[^A-Za-z])v$`)

// letter is the v in front of the versions, unless the tags have none there.
func (s Scheme) letter(releases []release) string {
	if len(releases) > 0 && !strings.HasPrefix(releases[0].tag, s.Prefix+"v") || len(releases) == 0 && prefixV.MatchString(s.Prefix) {
		return ""
	}
	return "v"
}

func raise(v semver.Version, bump Bump) semver.Version {
	switch bump {
	case Major:
		return v.IncMajor()
	case Minor:
		return v.IncMinor()
	}
	return v.IncPatch()
}

// lastPre is the highest number of the version's pre-releases of a kind, 0 without any.
func lastPre(releases []release, version semver.Version, pre string) uint64 {
	var last uint64
	for _, r := range releases {
		core, _ := r.version.SetPrerelease("")
		kind, number, _ := strings.Cut(r.version.Prerelease(), ".")
		if n, err := strconv.ParseUint(number, 10, 64); err == nil && kind == pre && core.Equal(&version) {
			last = max(last, n)
		}
	}
	return last
}

// PullRequest is the version of a pull request's build: pr-7-3f2a1bc.
func PullRequest(number int, commit string) Next {
	short := commit[:min(7, len(commit))]
	return Next{Version: fmt.Sprintf("pr-%d-%s", number, short), Why: fmt.Sprintf("pull request %d at %s", number, short)}
}
