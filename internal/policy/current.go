package policy

import (
	"slices"
	"strings"
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
		at := slices.IndexFunc(d.ranking.admitted, func(c Candidate) bool { return c.Name == current })
		return at >= 0 && d.ranking.admitted[at].Made.After(best.Made)
	}
	there, ok := p.versionOf(current)
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
func (p Policy) versionOf(tag string) (version, bool) {
	value, v := p.value(tag)
	ordered := p.rules.Strategy == Alphabetical || p.rules.Strategy == Numerical || p.rules.Extract != ""
	if v != admitted && ordered {
		return nil, false
	}
	if !ordered {
		value = tag
	}
	r := p.reader
	if p.rules.Strategy == Semver || p.rules.Strategy == FluxSemver {
		if !strings.Contains(value, ".") {
			return nil, false
		}
		unbounded := p.rules
		unbounded.Constraint, unbounded.PreReleases = ">=0.0.0-0", true
		r, _ = semverReader(unbounded) // of a range that is right
	}
	there, v := r.read(value)
	return there, v == admitted
}
