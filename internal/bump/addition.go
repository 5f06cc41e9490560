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

// addEntries adds the entries to the kustomizations, upon what else changes there.
func (d *decision) addEntries(t *tree) {
	if len(d.additions) == 0 {
		return
	}
	for _, root := range slices.Sorted(maps.Keys(d.additions)) {
		i := slices.IndexFunc(d.plan.Rewrites, func(r Rewrite) bool { return r.Path == root })
		r := Rewrite{Path: root, Before: t.kustomizations[root], After: t.kustomizations[root]}
		if i >= 0 {
			r = d.plan.Rewrites[i]
		}
		var changes []Change
		var err error
		for _, a := range d.additions[root] {
			var c Change
			if r.After, c, err = a.to(root, r.After); err != nil {
				d.plan.Failures = append(d.plan.Failures, failureAt(root, 0, a.image.Ref.String(), &fault.Error{What: "add to", Err: err}))
				break
			}
			c.addition = &a
			changes = append(changes, c)
		}
		switch {
		case err != nil:
			continue
		case i >= 0:
			d.plan.Rewrites[i] = r
		default:
			d.plan.Rewrites = append(d.plan.Rewrites, r)
		}
		d.plan.Changes = append(d.plan.Changes, changes...)
	}
	slices.SortStableFunc(d.plan.Rewrites, func(a, b Rewrite) int { return strings.Compare(a.Path, b.Path) })
	slices.SortStableFunc(d.plan.Changes, func(a, b Change) int { return strings.Compare(a.Site.File, b.Site.File) })
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
