package bump

import (
	"cmp"
	"fmt"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// overlays knows which kustomizations build which files, as far as the question comes up.
type overlays struct {
	tree     *tree
	entries  map[string][]manifest.Site // of kustomizations, by the repository that they replace
	named    map[string][]string        // by kustomization: the files and folders that it names
	read     map[string][]string        // by kustomization: the same, for whatever purpose
	reached  map[string]map[string]bool // by kustomization: the files and folders that it builds from
	mentions map[string][]string        // by file or folder: the kustomizations that may name it
	roots    map[string][]string        // by file: the kustomizations that build from it and that no other one builds from
}

func newOverlays(t *tree) *overlays {
	o := &overlays{
		tree: t, entries: map[string][]manifest.Site{}, named: map[string][]string{},
		read: map[string][]string{}, reached: map[string]map[string]bool{}, roots: map[string][]string{},
	}
	for _, f := range t.found {
		for _, site := range f.sites {
			if site.Shape == manifest.Kustomize {
				name := site.Replaces.Canonical()
				o.entries[name] = append(o.entries[name], site)
			}
		}
	}
	return o
}

// setBy is the FILE:LINE of the entry that gives a site without a version its version, and "" when there is none: such a
// site must not get another one.
func (o *overlays) setBy(site manifest.Site) string {
	if site.Shape == manifest.Kustomize || site.Ref.Versioned() {
		return ""
	}
	return o.entryFor(site, func(entry manifest.Site) bool { return entry.Ref != entry.Replaces })
}

// overriddenBy is the FILE:LINE of an entry whose version counts in place of the site's, and "" when there is none or when
// one of the kustomizations that are built from the site's file has none.
func (o *overlays) overriddenBy(site manifest.Site) string {
	by := ""
	for _, root := range o.rootsOf(site.File) {
		entry := o.entryFor(site, func(entry manifest.Site) bool {
			return entry.Ref.Versioned() && (entry.File == root || o.reach(root)[entry.File])
		})
		if entry == "" {
			return ""
		}
		by = cmp.Or(by, entry)
	}
	return by
}

func (o *overlays) entryFor(site manifest.Site, counts func(entry manifest.Site) bool) string {
	for _, entry := range o.entries[site.Ref.Canonical()] {
		if counts(entry) && o.builds(entry.File, site) {
			return fmt.Sprintf("%s:%d", entry.File, entry.Line)
		}
	}
	return ""
}

// builds reports whether the images: of a kustomization apply to the site: they do to everything that it builds from, and
// to its own patches.
func (o *overlays) builds(kustomization string, site manifest.Site) bool {
	if kustomization == site.File {
		return site.Shape != manifest.Kustomize
	}
	return o.reach(kustomization)[site.File]
}

// reach is the set of files and folders that the kustomization at file builds from.
func (o *overlays) reach(file string) map[string]bool {
	if files, known := o.reached[file]; known {
		return files
	}
	files := map[string]bool{}
	o.reached[file] = files
	o.collect(file, files)
	return files
}

func (o *overlays) collect(file string, files map[string]bool) {
	for _, resource := range o.resources(file) {
		if files[resource] {
			continue
		}
		files[resource] = true
		for _, inner := range manifest.KustomizationsIn(resource) {
			if _, exists := o.tree.kustomizations[inner]; exists {
				files[inner] = true
				o.collect(inner, files)
			}
		}
	}
}

// resources are the files and folders that the kustomization at file names.
func (o *overlays) resources(file string) []string {
	named, known := o.named[file]
	if !known {
		named = manifest.Resources(file, o.tree.kustomizations[file])
		o.named[file] = named
	}
	return named
}

// inputs are the files and folders that the kustomization at file reads, those too that its images: do not apply to.
func (o *overlays) inputs(file string) []string {
	read, known := o.read[file]
	if !known {
		read = argocd.Inputs(file, o.tree.kustomizations[file])
		o.read[file] = read
	}
	return read
}
