package policy

import (
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// TakesTag reports whether the rules lack the tag that they start from, which is then that of the place they are for.
func (r Rules) TakesTag() bool {
	return r.Constraint == "" && (r.Strategy == Digest || r.Strategy == Suffix)
}

// For is the rules for a place that names tag.
func (r Rules) For(tag string) Rules {
	if r.TakesTag() {
		r.Constraint = tag
	}
	return r
}

// Below reports whether the decision goes back behind current, a tag of the same repository: to a lower version, or to an
// image that was made before. Where that cannot be told, it does not.
func (d Decision) Below(current string) bool {
	if d.Tag == "" || d.Tag == current || d.ranking == nil {
		return false
	}
	best, p := d.Candidates[0], d.ranking.policy
	if p.rules.Strategy == NewestBuild {
		return d.ranking.made[current].After(best.Made)
	}
	there, ok := p.versionOf(current, best.version)
	if !ok {
		return false
	}
	c := best.version.compare(there)
	if p.rules.Descending {
		c = -c
	}
	return c < 0
}

// versionOf is what the tag of a place is to the strategy, whether or not the rules admit it. A tag that may be anything
// else is none: a number may be a date or a commit, and to compare names says nothing of those that were never meant.
func (p Policy) versionOf(tag string, best version) (version, bool) {
	value, v := p.value(tag)
	ordered := p.rules.Strategy == Alphabetical || p.rules.Strategy == Numerical || p.rules.Extract != ""
	if v != admitted && ordered {
		return nil, false
	}
	if !ordered {
		value = tag
	}
	if b, ok := best.(semantic); ok {
		return semanticOf(value, b)
	}
	there, v := p.read(value)
	return there, v == admitted
}

// semanticOf is the version that value is beside best. One without a dot has a number that is at most a digit longer than
// that of best: 17 beside 16.1 is one, 20240105 is not.
func semanticOf(value string, best semantic) (version, bool) {
	there, err := semver.NewVersion(value)
	if err != nil || !strings.Contains(value, ".") && digits(there.Major()) > digits(best.Major())+1 {
		return nil, false
	}
	return semantic{there}, true
}

func digits(n uint64) int { return len(strconv.FormatUint(n, 10)) }
