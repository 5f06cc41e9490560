package bump

import (
	"slices"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
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
		return c.To.Name()
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
	groups := p.groups(by)
	for i := range groups {
		var err error
		if groups[i].Rewrites, err = p.rewrites(groups[i].Changes); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

// steps parts the plan into groups as split does, but the rewrites of each go on from those before it.
func (p Plan) steps(by Grouping) ([]group, error) {
	groups := p.groups(by)
	if len(groups) == 1 {
		groups[0].Rewrites = p.Rewrites
		return groups, nil
	}
	var until []Change
	for i := range groups {
		until = append(until, groups[i].Changes...)
		rewrites, err := p.rewrites(until)
		if err != nil {
			return nil, err
		}
		groups[i].Rewrites = slices.DeleteFunc(rewrites, func(r Rewrite) bool {
			return !slices.ContainsFunc(groups[i].Changes, func(c Change) bool { return c.Site.File == r.Path })
		})
	}
	return groups, nil
}

func (p Plan) groups(by Grouping) []group {
	var groups []group
	at := map[string]int{}
	for _, c := range p.Changes {
		name := by.of(c)
		i, known := at[name]
		if !known {
			i = len(groups)
			at[name] = i
			groups = append(groups, group{name: name})
		}
		groups[i].Changes = append(groups[i].Changes, c)
	}
	return groups
}

// rewrites are the files in which only the given changes are made.
func (p Plan) rewrites(changes []Change) ([]Rewrite, error) {
	byFile := map[string][]Change{}
	for _, c := range changes {
		byFile[c.Site.File] = append(byFile[c.Site.File], c)
	}
	var some []Rewrite
	for _, r := range p.Rewrites {
		if len(byFile[r.Path]) == 0 {
			continue
		}
		var err error
		if r.After, err = rewritten(r, byFile[r.Path]); err != nil {
			return nil, err
		}
		some = append(some, r)
	}
	return some, nil
}

// rewritten is the file's content with the given changes to it.
func rewritten(r Rewrite, changes []Change) ([]byte, error) {
	var edits []manifest.Edit
	for _, c := range changes {
		edits = append(edits, c.edits...)
	}
	data, err := manifest.Apply(r.Before, edits)
	for _, c := range changes {
		if err == nil && c.addition != nil {
			data, _, err = c.addition.to(r.Path, data)
		}
	}
	return data, err
}
