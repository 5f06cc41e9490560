package bump

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
)

// Outdated is a site with what a registry has in place of what it names. Allowed is what its policy chooses, without a
// version where it has none or no tag fits. Newest is what would be chosen if the policy had no bounds; of a site without a
// policy, the newest version of the same kind. By names the policy.
type Outdated struct {
	Listed
	Allowed, Newest imageref.Ref
	By              string
}

// Outdated finds the sites for which a registry has something newer, by their policy or at all. The listing has them too.
func (j Job) Outdated(ctx context.Context, files Files, u *Updates) (Listing, []Outdated, error) {
	l, err := j.List(ctx, files)
	if err != nil {
		return l, nil, err
	}
	policies, err := j.Policies(ctx, files)
	if err != nil {
		return l, nil, err
	}
	l.Failures, l.Warnings = append(l.Failures, policies.Failures...), append(l.Warnings, policies.Warnings...)
	l.Sites = append(l.Sites, policies.written(l.Sites)...)
	slices.SortStableFunc(l.Sites, func(a, b Listed) int { return slices.Compare(strings.Split(a.File, "/"), strings.Split(b.File, "/")) })
	questions := u.comparisons(l.Sites, policies.byPlace())
	var asked []Choice
	for _, q := range questions {
		asked = append(asked, q.choices()...)
	}
	src, err := j.source(files)
	if err == nil {
		err = u.open(src, policies.logins())
	}
	if err != nil {
		return l, nil, err
	}
	if err := u.ask(ctx, asked); err != nil {
		return l, nil, err
	}
	told := map[*answer]bool{}
	var all []Outdated
	l.Sites = nil
	for _, q := range questions {
		for _, c := range q.choices() {
			if err := c.answer.err; err != nil && !told[c.answer] {
				told[c.answer] = true
				l.Failures = append(l.Failures, c.failure(c.Image.Name(), err))
			}
		}
		if o := q.outdated(); o.Allowed.Versioned() && o.Allowed != o.Ref || o.Newest.Versioned() && o.Newest != o.Ref {
			all, l.Sites = append(all, o), append(l.Sites, q.site)
		}
	}
	return l, all, nil
}

// byPlace are the policies by the places that they are for.
func (p Policies) byPlace() map[place]config.Found {
	all := map[place]config.Found{}
	for _, g := range p.Governed {
		for _, s := range g.Sites {
			all[place{s.File, s.Start}] = g.Found
		}
	}
	return all
}

// written are the places that policies are written back to, where an image is already, without those that are known.
func (p Policies) written(known []Listed) (more []Listed) {
	met := map[place]bool{}
	for _, s := range known {
		met[place{s.File, s.Start}] = true
	}
	for _, g := range p.Governed {
		for _, s := range g.Sites {
			if g.WriteBack != nil && s.Line > 0 && !met[place{s.File, s.Start}] {
				more = append(more, Listed{Site: s})
			}
		}
	}
	return more
}

// comparison is what is asked about a site: what its policy allows, nil without one, and what there is at all.
type comparison struct {
	site            Listed
	allowed, newest *Choice
}

// comparisons are the questions about the sites that name a tag which counts.
func (u *Updates) comparisons(sites []Listed, policies map[place]config.Found) []comparison {
	ask := func(f config.Found, rules policy.Rules, s Listed) *Choice {
		f.Rules = rules
		return &Choice{Found: f, answer: u.answer(f.Image, rules), pinned: rules.Strategy != policy.Digest && s.Ref.Digest != ""}
	}
	var all []comparison
	for _, s := range sites {
		if !s.counts() || s.Ref.Tag == "" {
			continue
		}
		q := comparison{site: s}
		found, governed := policies[place{s.File, s.Start}]
		if governed {
			rules := found.Rules.For(s.Ref.Tag)
			q.allowed, q.newest = ask(found, rules, s), ask(found, unbounded(rules, s.Ref.Tag), s)
		} else if rules := (policy.Rules{Strategy: policy.Suffix, Constraint: s.Ref.Tag}); valid(rules) {
			q.newest = ask(config.Found{Image: s.Ref.Bare()}, rules, s)
		}
		if q.newest != nil {
			all = append(all, q)
		}
	}
	return all
}

func valid(rules policy.Rules) bool {
	_, err := policy.New(rules)
	return err == nil
}

// unbounded is rules without what keeps newer versions out of a place that names tag.
func unbounded(r policy.Rules, tag string) policy.Rules {
	r.MinAge = 0
	if r.Extract == "" {
		r.AllowTags = ""
	}
	switch {
	case r.Strategy == policy.Semver && r.Constraint != "":
		r.Constraint = believable(tag)
	case r.Strategy == policy.FluxSemver:
		r.Constraint = ">=0.0.0"
	}
	return r
}

// believable is the range of versions that may be meant beside tag: a number that is much longer is a date or a build.
func believable(tag string) string {
	major, _, _ := strings.Cut(strings.TrimPrefix(tag, "v"), ".")
	if _, err := strconv.ParseUint(major, 10, 64); err != nil {
		major = "1234" // a year
	}
	return "<1" + strings.Repeat("0", len(major)+1)
}

func (q comparison) choices() []Choice {
	all := []Choice{*q.newest}
	if q.allowed != nil {
		all = append(all, *q.allowed)
	}
	return all
}

// outdated is what there is in place of what the site names.
func (q comparison) outdated() Outdated {
	o := Outdated{Listed: q.site, Newest: q.newest.found(q.site.Ref)}
	if q.allowed != nil {
		o.By, o.Allowed = q.allowed.Found.String(), q.allowed.found(q.site.Ref)
	}
	return o
}

// found is what was chosen in place of ref: with a digest where ref has one, and ref itself where it is newer.
func (c Choice) found(ref imageref.Ref) imageref.Ref {
	d := c.answer.decision
	if c.answer.err != nil || d.Tag == "" {
		return ref.Bare()
	}
	if d.Below(ref.Tag) {
		return ref
	}
	tag, digest := d.Tag, d.Digest
	if digest == "" {
		digest = c.answer.digest
	}
	if ref.Digest == "" && c.Rules.Strategy != policy.Digest {
		digest = ""
	}
	return ref.With(imageref.Ref{Tag: tag, Digest: digest})
}
