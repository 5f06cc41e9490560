package policy

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// kindred is a version with a suffix, as tags of container images have them: numbers, perhaps what makes it a
// pre-release (rc1), and after a hyphen what kind of image it is (alpine). The rules are those of Renovate's versioning
// "docker": another kind, or more or fewer numbers, is another image.
type kindred struct {
	numbers numbers
	pre     string
	kind    string
}

var (
	kindredVersion = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)*)(\w*)$`)
	commit         = regexp.MustCompile(`^[0-9a-f]{7,40}$`)
)

func readKindred(tag string) (k kindred, ok bool) {
	if commit.MatchString(tag) && !isDigits(tag) {
		return k, false
	}
	head, kind, _ := strings.Cut(strings.TrimPrefix(tag, "v"), "-")
	found := kindredVersion.FindStringSubmatch(head)
	if found == nil {
		return k, false
	}
	return kindred{strings.Split(found[1], "."), found[2], kind}, true
}

func (k kindred) compare(v version) int {
	other := v.(kindred)
	switch c := k.numbers.compareTo(other.numbers); {
	case c != 0:
		return c
	case k.pre == "" || other.pre == "": // a release goes before its pre-releases
		return cmp.Compare(len(other.pre), len(k.pre))
	}
	return natural(k.pre, other.pre)
}

// suffixReader reads versions of the same kind as the current one, and not below it.
func suffixReader(r Rules) (reader, error) {
	current, ok := readKindred(r.Constraint)
	if !ok {
		return reader{}, fault.Usagef("for example: 1.27-alpine", "strategy suffix needs the current tag, and %q is no version", r.Constraint)
	}
	return reader{"version like " + r.Constraint, func(value string) (version, verdict) {
		k, ok := readKindred(value)
		switch {
		case !ok || k.kind != current.kind || len(k.numbers) != len(current.numbers):
			return nil, unread
		case k.compare(current) < 0:
			return nil, outside
		case k.pre != "" && current.pre == "" && !r.PreReleases:
			return nil, preRelease
		}
		return k, admitted
	}}, nil
}

var runs = regexp.MustCompile(`[0-9]+|[^0-9]+`)

// natural compares text with the numbers in it taken as numbers: rc9 goes before rc10.
func natural(a, b string) int {
	as, bs := runs.FindAllString(a, -1), runs.FindAllString(b, -1)
	for i := range min(len(as), len(bs)) {
		c := strings.Compare(as[i], bs[i])
		if isDigits(as[i]) && isDigits(bs[i]) {
			c = compareDigits(as[i], bs[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}
