package bump

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// addition is an entry that a kustomization gets under --kustomize-add: for what the resource names, the image.
type addition struct {
	resource manifest.Site
	image    Image
}

// covers reports whether the job may change the file at p.
func (j Job) covers(p string) bool {
	return len(j.Paths) == 0 || slices.ContainsFunc(j.Paths, func(u string) bool {
		return u == "." || p == u || strings.HasPrefix(p, u+"/")
	})
}

// transformed are the fields that the images: of a kustomization apply to (kustomize, image tag transformer).
var transformed = regexp.MustCompile(`(^|\.)(containers|initContainers)\[\d+\]\.image$`)

// adds reports whether the site gets its version from an entry that is to be added: it is a resource, and kustomizations
// that the job covers build from it and have no entry for its image.
func (d *decision) adds(site manifest.Site, image Image) bool {
	if !d.job.KustomizeAdd || site.Object.Kind == "" || !transformed.MatchString(site.Field) {
		return false
	}
	added := false
	for _, root := range d.overlays.rootsOf(site.File) {
		if !d.covers(manifest.Site{File: root}) || root == site.File || d.overlays.entryIn(root, site) {
			continue
		}
		added = true
		if !slices.ContainsFunc(d.additions[root], func(a addition) bool { return a.resource.Ref.Name() == site.Ref.Name() }) {
			d.additions[root] = append(d.additions[root], addition{site, image})
		}
	}
	return added
}

// entryIn reports whether the kustomization, or one that it builds from, has an entry for the site's image.
func (o *overlays) entryIn(root string, site manifest.Site) bool {
	return o.entryFor(site, func(entry manifest.Site) bool { return entry.File == root || o.reach(root)[entry.File] }) != ""
}

// adder adds what has no site yet to the content of a file.
type adder interface {
	// to is the content with it, and the change that it is.
	to(file string, data []byte) ([]byte, Change, error)
	asked() imageref.Ref
}

func (a addition) asked() imageref.Ref { return a.image.Ref }

// addEntries adds the entries to the kustomizations, upon what else changes there.
func (d *decision) addEntries(t *tree) {
	for _, root := range slices.Sorted(maps.Keys(d.additions)) {
		var all []adder
		for _, a := range d.additions[root] {
			all = append(all, a)
		}
		d.plan.add(root, t.kustomizations[root], all)
	}
	d.plan.sort()
}

// add adds to a file, upon what else changes there. Of what cannot be added, the file is left as it was.
func (p *Plan) add(file string, before []byte, additions []adder) {
	i := slices.IndexFunc(p.Rewrites, func(r Rewrite) bool { return r.Path == file })
	r := Rewrite{Path: file, Before: before, After: before}
	if i >= 0 {
		r = p.Rewrites[i]
	}
	var changes []Change
	for _, a := range additions {
		var c Change
		var err error
		if r.After, c, err = a.to(file, r.After); err != nil {
			p.Failures = append(p.Failures, failureAt(file, 0, a.asked().String(), &fault.Error{What: "add to", Err: err}))
			return
		}
		c.addition = a
		changes = append(changes, c)
	}
	if i >= 0 {
		p.Rewrites[i] = r
	} else {
		p.Rewrites = append(p.Rewrites, r)
	}
	p.Changes = append(p.Changes, changes...)
}

// sort puts the plan into the order of the files.
func (p *Plan) sort() {
	slices.SortStableFunc(p.Rewrites, func(a, b Rewrite) int { return strings.Compare(a.Path, b.Path) })
	slices.SortStableFunc(p.Changes, func(a, b Change) int { return strings.Compare(a.Site.File, b.Site.File) })
}

// to is the kustomization with the entry, and the change that it is.
func (a addition) to(root string, data []byte) ([]byte, Change, error) {
	name := a.resource.Ref.Bare()
	want := name.With(a.image.Ref)
	edits, err := manifest.AddImage(root, data, want)
	if err != nil {
		return nil, Change{}, err
	}
	if data, err = manifest.Apply(data, edits); err != nil {
		return nil, Change{}, err
	}
	if a.image.Rename && a.resource.Ref.Same(a.image.Old) {
		want = a.image.Ref
		site, err := entryNamed(root, data, name)
		if err != nil {
			return nil, Change{}, err
		}
		if edits, err = site.Set(want, true); err != nil {
			return nil, Change{}, err
		}
		if data, err = manifest.Apply(data, edits); err != nil {
			return nil, Change{}, err
		}
	}
	site, err := entryNamed(root, data, name)
	return data, Change{Site: site, Line: site.Line, From: a.resource.Ref, To: want, Why: a.image.why()}, err
}

// entryNamed is the entry of a kustomization for what the resources call name.
func entryNamed(root string, data []byte, name imageref.Ref) (manifest.Site, error) {
	sites, err := manifest.Find(root, data, manifest.Rules{})
	if err != nil {
		return manifest.Site{}, err
	}
	for _, site := range sites {
		if site.Shape == manifest.Kustomize && site.Replaces.Name() == name.Name() {
			return site, nil
		}
	}
	return manifest.Site{}, &fault.Error{What: "the entry for", Where: name.Name(), Err: errLost}
}

var errLost = errors.New("it is not there after it was added; the file is left alone")
