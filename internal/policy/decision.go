package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/image"
)

// Tag is what is known of a tag: its name, and for strategies that ask for it, what it names.
type Tag struct {
	Name   string
	Digest string        // "" where it was not asked for
	Builds []image.Build // the images that it names, one for each platform
	Pushed time.Time     // zero where the registry does not tell
}

// made is when the newest wanted image of the tag was made; where its configuration does not tell, pushed is true and
// it is when it was pushed.
func (p Policy) made(t Tag) (at time.Time, pushed bool) {
	for _, b := range t.Builds {
		if Wants(p.rules.Platforms, b.Platform) && b.Created.After(at) {
			at = b.Created
		}
	}
	if at.IsZero() {
		return t.Pushed, !t.Pushed.IsZero()
	}
	return at, false
}

// runs reports whether the tag names an image for one of the platforms, as far as that counts.
func (p Policy) runs(t Tag) bool {
	if p.rules.Strategy != NewestBuild && p.rules.Strategy != Digest || len(p.rules.Platforms) == 0 {
		return true
	}
	return slices.ContainsFunc(t.Builds, func(b image.Build) bool { return Wants(p.rules.Platforms, b.Platform) })
}

// Candidate is a tag that the policy admits.
type Candidate struct {
	Name   string
	Digest string
	Made   time.Time // zero where it was not asked for, or nobody tells
	Pushed bool      // Made is when it was pushed

	value   string
	version version
	tag     *Tag
}

// Ranking is a repository's tags in the order of a policy.
type Ranking struct {
	policy     Policy
	considered int
	left       [verdicts]int        // how many were left out
	made       map[string]time.Time // of each tag, admitted or not, where dates decide
	candidates []Candidate          // best first; without those that are too young, once that is settled
}

// Rank orders tags. Their order, and names that come twice, do not matter.
func (p Policy) Rank(tags []Tag) *Ranking {
	r := &Ranking{policy: p, considered: len(tags), made: map[string]time.Time{}}
	for i, t := range tags {
		if p.rules.Strategy == NewestBuild && p.runs(t) {
			r.made[t.Name], _ = p.made(t)
		}
		c := Candidate{Name: t.Name, Digest: t.Digest, tag: &tags[i]}
		v := admitted
		if c.value, v = p.value(t.Name); v == admitted {
			c.version, v = p.read(c.value)
		}
		if v == admitted && !p.runs(t) {
			v = otherPlatform
		}
		if v != admitted {
			r.left[v]++
			continue
		}
		c.Made, c.Pushed = p.made(t)
		r.candidates = append(r.candidates, c)
	}
	slices.SortFunc(r.candidates, p.order)
	r.candidates = slices.CompactFunc(r.candidates, func(a, b Candidate) bool { return a.Name == b.Name })
	return r
}

// order puts the better one first. What is equal goes by its spelling, the last first; with Flux the first.
func (p Policy) order(a, b Candidate) int {
	c := b.version.compare(a.version)
	if p.rules.Strategy == NewestBuild {
		c = b.Made.Compare(a.Made)
	}
	if p.rules.Descending {
		c = -c
	}
	spelling := cmp.Compare(b.value, a.value)
	if p.rules.Strategy == FluxSemver {
		spelling = -spelling
	}
	return cmp.Or(c, spelling, cmp.Compare(b.Name, a.Name))
}

// Settle passes over what is younger than the policy wants, or of unknown age. Look tells of one tag what was not asked
// for before, and is called for as few as decide it.
func (r *Ranking) Settle(now time.Time, look func(name string) (Tag, error)) error {
	for r.policy.rules.MinAge > 0 && len(r.candidates) > 0 {
		best := &r.candidates[0]
		if len(best.tag.Builds) == 0 && best.tag.Pushed.IsZero() {
			seen, err := look(best.Name)
			if err != nil {
				return err
			}
			best.tag = &seen
			best.Made, best.Pushed = r.policy.made(seen)
		}
		since := best.Made
		if best.tag.Pushed.After(since) { // what was made long ago may be new here
			since = best.tag.Pushed
		}
		switch {
		case since.IsZero():
			r.left[ageless]++
		case now.Sub(since) < r.policy.rules.MinAge:
			r.left[tooYoung]++
		default:
			return nil
		}
		r.candidates = r.candidates[1:]
	}
	return nil
}

// Decision is the tag that a policy chooses.
type Decision struct {
	Tag        string // "" when none fits
	Digest     string // of what it names; "" where it was not asked for
	Why        string // for people: "newest of 14 tags within >=1.2 <2; 3 pre-releases ignored"
	Considered int    // tags that were looked at
	Candidates []Candidate
	Bad        []Bad // tags that could not be read, and were left out before

	ranking *Ranking
}

// Bad is a tag that could not be read.
type Bad struct {
	Tag string
	Err error
}

// Decide chooses. Now is only told apart from dates in the future, which come from a wrong clock.
func (r *Ranking) Decide(now time.Time) Decision {
	d := Decision{Considered: r.considered, Candidates: r.candidates, ranking: r}
	var apart []string
	for v := notAllowed; v < verdicts; v++ {
		if n := r.left[v]; n > 0 {
			apart = append(apart, r.policy.words(v, n))
		}
	}
	switch n := len(r.candidates); {
	case n > 0:
		d.Tag, d.Digest = r.candidates[0].Name, r.candidates[0].Digest
		d.Why = strings.Join(append([]string{r.chosen(now)}, apart...), "; ")
	case r.considered == 0:
		d.Why = "there are no tags"
		if r.policy.rules.Strategy == Digest {
			d.Why = "there is no tag " + r.policy.rules.Constraint
		}
	default:
		d.Why = fmt.Sprintf("none of %s fits: %s", count(r.considered), strings.Join(apart, ", "))
	}
	return d
}

// chosen says in which way the first candidate is the best.
func (r *Ranking) chosen(now time.Time) string {
	best, rules := r.candidates[0], r.policy.rules
	all := count(len(r.candidates))
	switch rules.Strategy {
	case Digest:
		return "what " + best.Name + " names now"
	case NewestBuild:
		return "newest build of " + all + r.dated(now)
	case Alphabetical, Numerical:
		if rules.Descending {
			return "first of " + all + " in " + string(rules.Strategy) + " order"
		}
		return "last of " + all + " in " + string(rules.Strategy) + " order"
	}
	switch {
	case rules.Constraint == "":
		return "newest of " + all
	case rules.Strategy == Suffix, rules.Strategy == Calver:
		return "newest of " + all + " like " + rules.Constraint
	}
	return "newest of " + all + " within " + rules.Constraint
}

func (r *Ranking) dated(now time.Time) string {
	best := r.candidates[0]
	at := best.Made.UTC().Format(time.RFC3339)
	switch {
	case best.Made.IsZero():
		return ", by name: none tells when it was made"
	case best.Pushed:
		return ", pushed " + at + " (its configuration has no date)"
	case best.Made.After(now):
		return ", made " + at + " (in the future: the clock of its builder was wrong)"
	}
	return ", made " + at
}

func count(n int) string {
	if n == 1 {
		return "1 tag"
	}
	return fmt.Sprintf("%d tags", n)
}
