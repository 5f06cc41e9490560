package policy

import (
	"cmp"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/ksera524/imgbump/internal/fault"
)

// reader is how a strategy reads tags.
type reader struct {
	unread string // what a tag that cannot be read is not
	read   func(value string) (version, verdict)
}

// version is what a strategy compares; only versions that one reader read are compared with each other.
type version interface{ compare(version) int }

func readerOf(r Rules) (reader, error) {
	switch r.Strategy {
	case Semver, FluxSemver:
		return semverReader(r)
	case Suffix:
		return suffixReader(r)
	case Calver:
		return calverReader(r.Constraint)
	case Numerical:
		return reader{"number", readDecimal}, nil
	case Digest:
		if r.Constraint == "" {
			return reader{}, fault.Usagef("for example: latest", "strategy digest needs the tag to look at")
		}
		return reader{"tag", func(value string) (version, verdict) {
			if value != r.Constraint {
				return nil, outside
			}
			return name(""), admitted
		}}, nil
	case NewestBuild:
		return reader{"tag", func(string) (version, verdict) { return name(""), admitted }}, nil
	}
	return reader{"name", func(value string) (version, verdict) { return name(value), admitted }}, nil
}

// name is compared byte by byte.
type name string

func (n name) compare(other version) int { return strings.Compare(string(n), string(other.(name))) }

// semantic is a semantic version; build metadata does not count (semver.org, 10).
type semantic struct{ *semver.Version }

func (s semantic) compare(other version) int { return s.Compare(other.(semantic).Version) }

// semverReader reads versions loosely, as both tools do: "1", "v1.2" and "1.02.3" are versions. Flux takes those of three
// parts with dots between them only (fluxcd/pkg/version). A pre-release in a bound admits pre-releases to all bounds that are
// joined with it.
func semverReader(r Rules) (reader, error) {
	if r.Strategy == FluxSemver && r.Constraint == "" {
		return reader{}, fault.Usagef("for example: >=0.0.0", "strategy flux-semver needs a range of versions")
	}
	in, err := semver.NewConstraint(cmp.Or(r.Constraint, "*"))
	if err != nil {
		return reader{}, fault.Usagef("for example: ^1.2, ~1.2.3, >=1.2 <2, 1.x || 3.x; with pre-releases: ^1.2-0", "constraint %q: %w", r.Constraint, err)
	}
	all := *in
	all.IncludePrerelease = true
	if r.PreReleases {
		in = &all
	}
	return reader{"version", func(value string) (version, verdict) {
		v, err := semver.NewVersion(value)
		switch {
		case err != nil || r.Strategy == FluxSemver && strings.Count(value, ".") < 2:
			return nil, unread
		case in.Check(v):
			return semantic{v}, admitted
		case v.Prerelease() != "" && all.Check(v):
			return nil, preRelease
		}
		return nil, outside
	}}, nil
}

// decimal is a number of any size: its digits before the point, without zeros at the start, and after it, without zeros
// at the end.
type decimal struct {
	negative        bool
	whole, fraction string
}

func readDecimal(value string) (version, verdict) {
	digits, negative := strings.CutPrefix(value, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if !isDigits(whole) || point && !isDigits(fraction) {
		return nil, unread
	}
	d := decimal{negative, strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")}
	d.negative = negative && d.whole+d.fraction != ""
	return d, admitted
}

func (d decimal) compare(v version) int {
	other := v.(decimal)
	switch {
	case d.negative && other.negative:
		return -d.magnitude(other)
	case d.negative:
		return -1
	case other.negative:
		return 1
	}
	return d.magnitude(other)
}

func (d decimal) magnitude(other decimal) int {
	return cmp.Or(compareDigits(d.whole, other.whole), strings.Compare(d.fraction, other.fraction))
}

// compareDigits compares whole numbers of any size.
func compareDigits(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// numbers are compared one after the other; where all are the same, more of them are more.
type numbers []string

func (n numbers) compareTo(other numbers) int {
	for i := range min(len(n), len(other)) {
		if c := compareDigits(n[i], other[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(n), len(other))
}
