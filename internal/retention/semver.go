package retention

import (
	"strings"

	"github.com/Masterminds/semver/v3"
)

// highest is the artifact with the highest version among its tags, and that tag. Pre-releases count only where there is
// no release. A version has three numbers, and a "v" before them at most: 20260101 is a date.
func (j *judgement) highest() (digest, tag string) {
	if !j.rules.Semver {
		return "", ""
	}
	var best *semver.Version
	for _, a := range j.artifacts {
		for _, t := range a.Tags {
			v, err := semver.StrictNewVersion(strings.TrimPrefix(t.Name, "v"))
			if err != nil || best != nil && !higher(v, best) {
				continue
			}
			best, digest, tag = v, a.Digest, t.Name
		}
	}
	return digest, tag
}

// higher reports whether v goes before best: a release before any pre-release.
func higher(v, best *semver.Version) bool {
	if release := v.Prerelease() == ""; release != (best.Prerelease() == "") {
		return release
	}
	return v.GreaterThan(best)
}
