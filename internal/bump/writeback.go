package bump

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// treeFiles are the files of a tree as aiu asks for them.
type treeFiles struct{ *tree }

func (t treeFiles) Has(file string) bool { return t.listed[file] }

// targets are the contents of the files that Argo CD Image Updater writes to, by path; nil of one that is not there yet.
type targets map[string][]byte

// target is where the policy is written, as the manifest package has it.
func target(f config.Found) manifest.Target {
	w := f.WriteBack
	t := manifest.Target{Override: w.Kind == config.ToOverride, Image: f.Image, Name: w.Name, Tag: w.Tag, Spec: w.Spec}
	if w.Kustomization != "" {
		t.Replaces, _ = imageref.Parse(w.Kustomization) // the reader of policies made sure of it
	}
	return t
}

// writeBacks finds out what stands at the places that policies are written back to: each is a site of its policy, whether or
// not the image is there yet, unless another policy is for it.
func (j Job) writeBacks(t *tree, deployers owners, p *Policies) {
	p.targets = targets{}
	sites := sync.OnceValue(t.repositories)
	taken := map[place]bool{}
	for _, g := range p.Governed {
		for _, s := range g.Sites {
			taken[place{s.File, s.Start}] = true
		}
	}
	for i := range p.Governed {
		g := &p.Governed[i]
		if g.WriteBack == nil || g.Unsupported != "" || !j.covers(g.WriteBack.File) || len(j.Applications) > 0 && !j.concerns(deployers.called(g.Scope.Application)) {
			continue
		}
		file := g.WriteBack.File
		data, err := p.targets.read(t.source, file)
		var site manifest.Site
		if err == nil {
			site, err = target(g.Found).Site(file, data)
		}
		if err != nil {
			p.Failures = append(p.Failures, Failure{Image: g.Image.Name(), File: g.File, Line: g.Line,
				Err: &fault.Error{Kind: fault.KindOf(err), What: "read " + file + ", where the policy is written to, for", Where: g.Where(), Err: fault.Cause(err)}})
			continue
		}
		if reason := t.config.Held(site); site.Hold == "" {
			site.Hold = reason
		}
		if site.Line > 0 && taken[place{file, site.Start}] {
			continue
		}
		if site.Line == 0 {
			deployed := deployers.deployed(*g, sites())
			if len(deployed) == 0 && !g.WriteBack.Always && g.WriteBack.Kustomization != "" {
				g.Notices = append(g.Notices, config.Notice{File: g.File, Line: g.Line, Text: "nothing that application " + g.Scope.Application +
					" deploys names " + g.Image.Name() + ": it is not written; force-update writes it anyway"})
				continue
			}
			held := slices.IndexFunc(deployed, func(s manifest.Site) bool { return s.Hold != "" })
			if held >= 0 && !j.IgnoreHold {
				g.Sites = deployed[held : held+1] // what would be written there is in force instead of it
				continue
			}
		}
		taken[place{file, site.Start}] = site.Line > 0
		g.Sites = []manifest.Site{site}
	}
}

// deployed are the sites of the policy's image that its application deploys.
func (o owners) deployed(g Governed, sites map[string][]manifest.Site) (all []manifest.Site) {
	ours := func(owner argocd.Owner) bool { return owner.Is(g.Scope.Application) }
	for _, name := range []imageref.Ref{g.Image, g.Scope.Names} {
		if name.Repository == "" {
			continue
		}
		for _, site := range sites[name.Canonical()] {
			if slices.ContainsFunc(o.of(site), ours) {
				all = append(all, site)
			}
		}
	}
	return all
}

// read is the content of a file, nil when it is not there yet.
func (t targets) read(src source, file string) ([]byte, error) {
	if data, known := t[file]; known {
		return data, nil
	}
	if src.config.Excludes(file) {
		return nil, fault.Usagef("take it out of exclude in "+config.Name, "it is excluded")
	}
	for f, err := range src.files([]string{file}) {
		switch {
		case errors.Is(err, fs.ErrNotExist): // a folder tells so, and a commit lists nothing
		case err != nil:
			return nil, err
		case f.Path != file:
			return nil, errors.New("it is a folder")
		case f.Skip != "":
			return nil, errors.New(f.Skip)
		}
		if err == nil {
			data, err := f.Read([]byte{}) // an empty file is not nil
			t[file] = data
			return data, err
		}
	}
	t[file] = nil
	return nil, nil
}

// called are the applications of a name.
func (o owners) called(name string) (all []argocd.Owner) {
	for _, a := range o.Applications() {
		if a.Is(name) {
			all = append(all, argocd.Owner{Application: a})
		}
	}
	return all
}

// writing is the image that a policy's target is to name.
type writing struct {
	policy config.Found
	from   manifest.Site
	image  Image
}

// to is the file with the image in its place, and the change that it is.
func (w writing) to(file string, data []byte) ([]byte, Change, error) {
	t := target(w.policy)
	data, err := t.Set(file, data, w.image.Ref)
	if err != nil {
		return nil, Change{}, err
	}
	site, err := t.Site(file, data)
	return data, Change{
		Site: site, Line: site.Line, From: w.from.Ref, To: w.image.Ref, Why: w.image.why(),
		Application: w.policy.Scope.Application[strings.LastIndexByte(w.policy.Scope.Application, '/')+1:],
	}, err
}

func (w writing) asked() imageref.Ref { return w.image.Ref }

// write takes the writings into the plan, upon what else changes in their files.
func (p *Plan) write(all []writing, files targets) {
	byFile := map[string][]adder{}
	for _, w := range all {
		byFile[w.policy.WriteBack.File] = append(byFile[w.policy.WriteBack.File], w)
	}
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		p.add(file, files[file], byFile[file])
	}
	p.sort()
}
