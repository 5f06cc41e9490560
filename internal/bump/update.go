package bump

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
)

// Choice is what a policy chose for some of its sites: those for which it comes to the same question. Rules are those that
// were followed, with the tag that they start from. Err is why nothing could be chosen, or why what was chosen is not used.
type Choice struct {
	config.Found
	policy.Decision
	Sites []manifest.Site
	Err   error

	pinned bool // one of the sites gets a digest
	answer *answer
}

// Held is a site that a policy is for, and that is held back.
type Held struct {
	config.Found
	Site manifest.Site
}

// Version is the reference that was chosen, without a version when there is none.
func (c Choice) Version() imageref.Ref {
	ref := c.Image.Bare()
	ref.Tag, ref.Digest = c.Decision.Tag, c.Decision.Digest
	return ref
}

// update makes the sites that policies govern name the versions that these choose.
func (j Job) update(ctx context.Context, src source) (Plan, error) {
	policies, err := j.policies(ctx, src)
	if err != nil {
		return Plan{}, err
	}
	u := j.Updates
	if err := policies.limit(u.Images); err != nil {
		return Plan{}, err
	}
	before := Plan{Failures: slices.Concat(policies.Failures, policies.followed()), Warnings: slices.Concat(policies.Warnings, policies.idle(j), policies.noticed())}
	before.Choices = u.questions(j.unheld(policies.Governed, &before), &before)
	if err := u.open(src, policies.logins()); err != nil {
		return Plan{}, err
	}
	if err := u.ask(ctx, before.Choices); err != nil {
		return Plan{}, err
	}
	var images []Image
	for i := range before.Choices {
		images = append(images, u.images(&before.Choices[i], &before)...)
	}
	var plan Plan
	if len(images) > 0 {
		if plan, err = j.decide(ctx, src, images); err != nil {
			return Plan{}, err
		}
	}
	plan.write(before.writings, policies.targets)
	return before.with(plan), nil
}

// with is what choosing came to, and then what is to be changed.
func (p Plan) with(changes Plan) Plan {
	changes.Choices, changes.Held = p.Choices, p.Held
	for _, f := range changes.Failures {
		known := func(other Failure) bool { return other.File == f.File && other.Err.Error() == f.Err.Error() }
		if !slices.ContainsFunc(p.Failures, known) { // a file that cannot be read is met twice
			p.Failures = append(p.Failures, f)
		}
	}
	changes.Failures = p.Failures
	changes.Warnings = slices.Concat(p.Warnings, changes.Warnings)
	changes.Skipped = slices.Concat(p.Skipped, changes.Skipped)
	changes.sortSkipped()
	for _, c := range p.Choices {
		if c.answer.err == nil && c.answer.unpinned == nil {
			changes.Named++
		}
	}
	return changes
}

// unheld are the policies with those of their sites that may change; the others are the plan's Skipped and Held.
func (j Job) unheld(all []Governed, plan *Plan) []Governed {
	for i := range all {
		all[i].Sites = slices.DeleteFunc(slices.Clone(all[i].Sites), func(s manifest.Site) bool {
			reason := heldBack(s)
			if reason == "" || j.IgnoreHold {
				return false
			}
			plan.Skipped = append(plan.Skipped, Skipped{File: s.File, Line: s.Line, Reason: reason})
			plan.Held = append(plan.Held, Held{all[i].Found, s})
			return true
		})
	}
	return all
}

// questions are the different questions that the policies come to. Those that make no sense for a place, such as the suffix
// of a tag that is no version, are the plan's Failures.
func (u *Updates) questions(all []Governed, plan *Plan) []Choice {
	var choices []Choice
	at := map[string]int{}
	for n, g := range all {
		for _, site := range g.Sites {
			rules := g.Rules.For(site.Ref.Tag)
			rules.MinAge = max(rules.MinAge, u.MinAge)
			if _, err := policy.New(rules); err != nil {
				what := &fault.Error{What: "choose a version for " + site.Ref.String(), Hint: fault.HintOf(err), Err: err}
				plan.Failures = append(plan.Failures, failureAt(site.File, site.Line, site.Ref.String(), what))
				continue
			}
			key := fmt.Sprint(n, " ", rules.Constraint)
			i, known := at[key]
			if !known {
				i = len(choices)
				at[key] = i
				choices = append(choices, Choice{Found: g.Found})
				choices[i].Rules = rules
				choices[i].answer = u.answer(g.Image, rules)
			}
			c := &choices[i]
			c.Sites = append(c.Sites, site)
			c.pinned = c.pinned || u.pin(c.Found, site) != PinTag
		}
	}
	return choices
}

// pin is which parts of a version the site gets: where nothing else is said, those that it has, and with strategy digest
// both.
func (u *Updates) pin(f config.Found, site manifest.Site) Pin {
	switch {
	case u.Pin != PinAsGiven:
		return u.Pin
	case f.Rules.Strategy == policy.Digest, f.PinDigest, site.Ref.Digest != "" && site.Ref.Tag != "":
		return PinBoth
	case site.Ref.Digest != "":
		return PinDigest
	}
	return PinTag
}

// settle takes over what came of the question.
func (c *Choice) settle() {
	c.Decision, c.Err = c.answer.decision, c.answer.err
	if c.Err == nil && c.pinned && c.Decision.Digest == "" {
		c.Decision.Digest, c.Err = c.answer.digest, c.answer.unpinned
	}
}

// target is what a site is to name once the choice is settled, false when it is to stay as it is; then for a reason, or
// because it names that already.
func (u *Updates) target(c *Choice, site manifest.Site) (want imageref.Ref, reason string, changes bool) {
	if reason := u.spares(c, site); reason != "" {
		return want, reason, false
	}
	want = u.pin(c.Found, site).of(c.Version())
	return want, "", site.Ref.With(want) != site.Ref || c.renames() && !site.Ref.Same(want)
}

// writes reports whether one of the choice's sites is to be changed.
func (u *Updates) writes(c *Choice) bool {
	c.settle()
	return c.Err == nil && slices.ContainsFunc(c.Sites, func(site manifest.Site) bool {
		_, _, changes := u.target(c, site)
		return changes
	})
}

// doubt is why what was chosen must not be used: nothing is that was not looked at, where that is asked for.
func (u *Updates) doubt(c *Choice) error {
	version, looked := c.Version(), c.answer.verified
	if u.Verify == nil || looked.Tag == version.Tag && (looked.Digest == version.Digest || version.Digest == "") {
		return c.answer.doubt
	}
	return &fault.Error{Kind: fault.Gate, What: "verify", Where: version.String(), Err: errors.New("it was not looked at")}
}

// images are what the choice's sites are to name, those left out that name it already or that must not.
func (u *Updates) images(c *Choice, plan *Plan) []Image {
	if c.settle(); c.Err != nil {
		plan.Failures = append(plan.Failures, c.failure(c.Image.Name(), c.Err))
		return nil
	}
	for _, bad := range c.Bad {
		plan.Warnings = append(plan.Warnings, Warning{File: c.File, Line: c.Line, Text: fmt.Sprintf("tag %s of %s is left out: %v", bad.Tag, c.Image.Name(), bad.Err)})
	}
	var images []Image
	for _, site := range c.Sites {
		want, reason, changes := u.target(c, site)
		if changes && u.doubt(c) != nil {
			if c.Err == nil {
				c.Err = u.doubt(c)
				plan.Failures = append(plan.Failures, c.failure(c.Version().String(), c.Err))
			}
			reason = c.Err.Error()
		}
		switch {
		case reason != "":
			plan.Skipped = append(plan.Skipped, Skipped{File: site.File, Line: site.Line, Reason: reason})
		case !changes:
		case c.WriteBack != nil:
			plan.writings = append(plan.writings, writing{c.Found, site, c.image(want, site)})
		default:
			images = append(images, c.image(want, site))
		}
	}
	return images
}

// failure is the policy's.
func (c Choice) failure(image string, err error) Failure {
	return Failure{Image: image, File: c.File, Line: c.Line, Err: err}
}

// image is what the site gets.
func (c Choice) image(want imageref.Ref, site manifest.Site) Image {
	if c.Scope.KeepsName {
		want = site.Ref.With(want)
	}
	image := Image{Ref: want, Why: c.Why + " (" + c.Found.String() + ")", Only: site}
	if c.renames() {
		image.Old, image.Rename = c.Scope.Names, true
	}
	return image
}

// renames reports whether sites of another repository get the policy's.
func (c Choice) renames() bool { return c.Scope.Names.Repository != "" && !c.Scope.KeepsName }

// spares is why a site keeps its version, "" when it does not.
func (u *Updates) spares(c *Choice, site manifest.Site) string {
	switch {
	case c.Decision.Tag == "":
		return "no tag fits: " + c.Why
	case !u.Downgrade && c.Below(site.Ref.Tag):
		return fmt.Sprintf("%s would be a downgrade from %s: --allow-downgrade makes it (%s)", c.Decision.Tag, site.Ref.Tag, c.Why)
	}
	return ""
}
