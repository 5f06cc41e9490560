package bump

import (
	"slices"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/config/aiu"
	"github.com/ksera524/imgbump/internal/config/flux"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// foreign is what a tree has written for other tools that choose versions.
type foreign struct {
	updaters []aiu.Updater
	flux     flux.Objects
	notices  []config.Notice
}

func declaresPolicies(data []byte) bool { return aiu.Declares(data) || flux.Declares(data) }

func (f *foreign) add(path string, data []byte) {
	if aiu.Declares(data) {
		updaters, notices := aiu.Parse(path, data)
		f.updaters, f.notices = append(f.updaters, updaters...), append(f.notices, notices...)
	}
	if flux.Declares(data) {
		f.notices = append(f.notices, f.flux.Add(path, data)...)
	}
}

// foreign adds the policies that are written for other tools. Those that ask for signed images are followed where
// signatures are verified.
func (j Job) foreign(p *Policies, t *tree, deployers owners) {
	all, notices := t.foreign.flux.Policies(t.marked(), j.Place)
	notices = slices.Concat(t.foreign.notices, notices)
	if deployers.Index != nil {
		found, more := aiu.Policies(deployers.Index, t.foreign.updaters, treeFiles{t})
		all, notices = append(all, found...), append(notices, more...)
	}
	signed := j.Updates != nil && j.Updates.Signed
	for _, found := range all {
		if found.Signed != "" && found.Unsupported == "" && !signed {
			found.Unsupported = found.Signed + ": update it with --verify-cosign-key FILE"
		}
		p.Governed = append(p.Governed, Governed{Found: found})
	}
	for _, n := range notices {
		p.Warnings = append(p.Warnings, Warning(n))
	}
}

// marked are the sites with a setter of Flux.
func (t *tree) marked() (sites []manifest.Site) {
	for _, f := range t.found {
		for _, site := range f.sites {
			if site.Marker != "" {
				sites = append(sites, site)
			}
		}
	}
	return sites
}

// noticed are the warnings about policies that are not followed, or not in all they say.
func (p Policies) noticed() (all []Warning) {
	for _, g := range p.Governed {
		if g.Unsupported != "" {
			all = append(all, Warning{File: g.File, Line: g.Line, Text: "this policy is not followed: " + g.Unsupported})
		}
		for _, n := range g.Notices {
			all = append(all, Warning(n))
		}
	}
	return all
}
