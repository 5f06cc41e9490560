package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/ignore"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
	"github.com/ksera524/imgbump/internal/timespan"
)

// found is the policy of an entry of images.
func (i image) found(ref imageref.Ref) Found {
	rules, _ := i.Policy.rules()
	var paths ignore.Rules
	if len(i.Paths) > 0 {
		paths = patterns(i.Paths)
	}
	return Found{Image: ref, Rules: rules, Origin: FromFile, File: Name, Line: i.Policy.Line, Scope: Scope{Paths: paths}}
}

// rules are what the choice says. An error is about the first value that makes no sense by itself.
func (c choice) rules() (policy.Rules, error) {
	r := policy.Rules{
		Strategy: policy.Strategy(cmp.Or(strings.ToLower(c.Strategy.value), string(policy.Semver))), Constraint: c.Constraint.value, Extract: c.Extract.value,
		IgnoreTags: values(c.IgnoreTags), Platforms: values(c.Platforms), PreReleases: c.PreRelease.value,
	}
	r.AllowTags = policy.Allow(values(c.AllowTags))
	err := order(&r, cmp.Or(c.Order.value, "asc"))
	if err == nil && c.MinAge.value != "" {
		r.MinAge, err = timespan.Parse(c.MinAge.value)
	}
	return r, err
}

func values(texts []text) (all []string) {
	for _, t := range texts {
		all = append(all, t.value)
	}
	return all
}

func order(r *policy.Rules, word string) error {
	r.Descending = word == "desc"
	if word != "asc" && word != "desc" {
		return fault.Usagef("write order: desc, or leave it away", "order %q: it is asc or desc", word)
	}
	return nil
}

// check refuses what policy.New does. What depends on the tag that a site names is not known yet.
func (c choice) check(r *reader, at string) {
	if c.Line == 0 {
		return
	}
	rules, err := c.rules()
	var p policy.Policy
	if err == nil {
		p, err = policy.New(Sample(rules))
	}
	if err == nil {
		for _, name := range p.Ineffective() {
			r.unused = append(r.unused, Problem{Line: c.Line, Text: fmt.Sprintf("%s: %s means nothing to strategy %s", at, name, rules.Strategy)})
		}
		return
	}
	line := c.Line
	for _, t := range append([]text{c.Strategy, c.Constraint, c.Order, c.MinAge}, slices.Concat(c.AllowTags, c.IgnoreTags, c.Platforms)...) {
		if t.value != "" && strings.Contains(err.Error(), t.value) {
			line = t.line
		}
	}
	r.problem(line, fault.HintOf(err), "%s: %v", at, err)
}

// Sample is rules that can be checked before it is known what a site names: its tag is the constraint of some strategies.
func Sample(rules policy.Rules) policy.Rules {
	if rules.TakesTag() {
		rules.Constraint = "1.2.3"
	}
	return rules
}

// option is a word KEY=VALUE of a comment; any other word is a part of the constraint.
var option = regexp.MustCompile(`^(allow-tags|ignore-tags|extract|platform|order|min-age)=(.+)$`)

// commentExample is shown wherever a comment cannot be understood.
const commentExample = "for example: # imgbump: semver ^1.2; or # imgbump: newest-build allow-tags=regexp:^main- min-age=24h"

// Comment is the policy of a site's comment "# imgbump: STRATEGY [CONSTRAINT] [OPTION]...", nil without one. What makes no
// sense is an error of kind Usage.
func Comment(site manifest.Site) (*Found, error) {
	words := strings.Fields(site.Rule)
	if len(words) == 0 {
		return nil, nil
	}
	f := &Found{
		Image: site.Ref.Bare(), Origin: FromComment, File: site.File, Line: site.RuleLine,
		Scope: Scope{Site: &Place{File: site.File, Field: site.Field, Line: site.Line}}, Rules: policy.Rules{Strategy: policy.Strategy(words[0])},
	}
	var constraint, allow []string
	for _, word := range words[1:] {
		m := option.FindStringSubmatch(word)
		switch {
		case word == "pre-release":
			f.Rules.PreReleases = true
		case m == nil:
			constraint = append(constraint, word)
		case m[1] == "allow-tags":
			allow = append(allow, m[2])
		default:
			if err := f.set(m[1], m[2]); err != nil {
				return nil, f.misread(err)
			}
		}
	}
	f.Rules.Constraint, f.Rules.AllowTags = strings.Join(constraint, " "), policy.Allow(allow)
	if _, err := policy.New(Sample(f.Rules)); err != nil {
		return nil, f.misread(err)
	}
	return f, nil
}

// set takes an option of a comment.
func (f *Found) set(key, value string) (err error) {
	switch r := &f.Rules; key {
	case "ignore-tags":
		r.IgnoreTags = append(r.IgnoreTags, strings.Split(value, ",")...)
	case "extract":
		r.Extract = value
	case "platform":
		r.Platforms = append(r.Platforms, value)
	case "order":
		err = order(r, value)
	case "min-age":
		r.MinAge, err = timespan.Parse(value)
	}
	return err
}

func (f *Found) misread(err error) error {
	return &fault.Error{Kind: fault.Usage, What: "comment", Where: f.Where(), Hint: cmp.Or(fault.HintOf(err), commentExample), Err: err}
}
