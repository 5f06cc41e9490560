package bump

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Grouping says which changes belong together, in a commit or in a pull request: those to one image, in one file, or of
// one Argo CD application.
type Grouping string

// All changes belong together.
const (
	All            Grouping = ""
	PerImage       Grouping = "image"
	PerFile        Grouping = "file"
	PerApplication Grouping = "application"
)

// of is the name of the group that a change belongs to.
func (g Grouping) of(c Change) string {
	switch g {
	case PerImage:
		return c.To.Canonical() // however files spell it
	case PerFile:
		return c.Site.File
	case PerApplication:
		return c.Application
	}
	return ""
}

// group is the part of a plan that belongs together.
type group struct {
	name string
	Plan
}

// split parts the plan into groups, in the order of their first changes. The rewrites of each are its changes alone.
func (p Plan) split(by Grouping) ([]group, error) {
	groups, _ := p.groups(by)
	for i := range groups {
		if err := p.rewrite(&groups[i], map[string][]Change{}); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

// steps parts the plan into groups as split does, but the rewrites of each go on from those before it.
func (p Plan) steps(by Grouping) ([]group, error) {
	groups, _ := p.groups(by)
	if len(groups) == 1 {
		groups[0].Rewrites = p.Rewrites
		return groups, nil
	}
	made := map[string][]Change{}
	for i := range groups {
		if err := p.rewrite(&groups[i], made); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

// place is where an edit begins.
type place struct {
	file  string
	start int
}

// groups puts the changes into groups. A value that several of them share, by an anchor, can only change at once: what uses
// it joins the group that changes it first, and is returned a second time.
func (p Plan) groups(by Grouping) (groups []group, joined []Change) {
	named, edited := map[string]int{}, map[place]int{}
	for _, c := range p.Changes {
		name := by.of(c)
		i, known := named[name]
		shared := slices.IndexFunc(c.edits, func(e manifest.Edit) bool {
			other, taken := edited[place{e.File, e.Start}]
			return taken && (!known || other != i)
		})
		switch {
		case shared >= 0:
			i = edited[place{c.edits[shared].File, c.edits[shared].Start}]
			joined = append(joined, c)
		case !known:
			i = len(groups)
			named[name] = i
			part := Plan{Hold: p.Hold, Failures: p.Failures, application: p.application}
			if by == PerApplication {
				part.application = name
			}
			groups = append(groups, group{name: name, Plan: part})
		}
		for _, e := range c.edits {
			edited[place{e.File, e.Start}] = i
		}
		groups[i].Changes = append(groups[i].Changes, c)
	}
	return groups, joined
}

// inseparable warns of changes that are not in the group that they would be in by themselves.
func (p Plan) inseparable(by ...Grouping) (warnings []Warning) {
	for _, g := range slices.Compact(by) {
		_, joined := p.groups(g)
		for _, c := range joined {
			warnings = append(warnings, Warning{File: c.Site.File, Line: c.Line,
				Text: fmt.Sprintf("%s is changed together with another %s: both use this value", c.To.Name(), g)})
		}
	}
	return warnings
}

// rewrite gives the group its files: with its changes and those that are made in them already, by file, to which its own
// are added.
func (p Plan) rewrite(g *group, made map[string][]Change) error {
	touched := map[string]bool{}
	for _, c := range g.Changes {
		touched[c.Site.File] = true
		made[c.Site.File] = append(made[c.Site.File], c)
	}
	for _, r := range p.Rewrites {
		if !touched[r.Path] {
			continue
		}
		var err error
		if r.After, err = r.with(made[r.Path]); err != nil {
			return err
		}
		g.Rewrites = append(g.Rewrites, r)
	}
	return nil
}

// identity is which change one is.
type identity struct {
	file  string
	doc   int
	field string
	start int
	to    imageref.Ref
}

func (c Change) identity() identity {
	return identity{c.Site.File, c.Site.Doc, c.Site.Field, c.Site.Start, c.To}
}

// skip takes the changes out of the plan that there is a reason against.
func (p *Plan) skip(reasons map[identity]string) error {
	var kept group
	for _, c := range p.Changes {
		if reason := reasons[c.identity()]; reason != "" {
			p.Skipped = append(p.Skipped, Skipped{File: c.Site.File, Line: c.Site.Line, Reason: reason})
		} else {
			kept.Changes = append(kept.Changes, c)
		}
	}
	if len(kept.Changes) == len(p.Changes) {
		return nil
	}
	p.sortSkipped()
	err := p.rewrite(&kept, map[string][]Change{})
	p.Changes, p.Rewrites = kept.Changes, kept.Rewrites
	return err
}

func (p *Plan) sortSkipped() {
	slices.SortStableFunc(p.Skipped, func(a, b Skipped) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}

// with is the file's content with only the given changes to it.
func (r Rewrite) with(changes []Change) (data []byte, err error) {
	var edits []manifest.Edit
	wanted := make([]imageref.Ref, len(r.sites))
	for i, site := range r.sites {
		wanted[i] = site.Ref
		for _, c := range changes {
			if c.addition == nil && c.Site.Doc == site.Doc && c.Site.Field == site.Field && c.Site.Start == site.Start {
				wanted[i] = c.To
			}
		}
	}
	for _, c := range changes {
		edits = append(edits, c.edits...)
	}
	data = r.Before
	if len(edits) > 0 {
		var failure *Failure
		if data, failure = r.edited(edits, wanted); failure != nil {
			return nil, failure.Err
		}
	}
	for _, c := range changes {
		if err == nil && c.addition != nil {
			data, _, err = c.addition.to(r.Path, data)
		}
	}
	return data, err
}
