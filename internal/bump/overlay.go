package bump

import (
	"fmt"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// overlays knows which kustomizations build which files, as far as the question comes up: a site without a version
// gets its version from the images: of a kustomization that reaches it, and must not get another one.
type overlays struct {
	entries []manifest.Site // of kustomizations
	tree    *tree
	reached map[string]map[string]bool // by kustomization: the files that it builds from
}

func newOverlays(t *tree) overlays {
	o := overlays{tree: t, reached: map[string]map[string]bool{}}
	for _, f := range t.found {
		for _, site := range f.sites {
			if site.Shape == manifest.Kustomize {
				o.entries = append(o.entries, site)
			}
		}
	}
	return o
}

// setBy is the FILE:LINE of the entry that gives the site its version, or "".
func (o overlays) setBy(site manifest.Site) string {
	if site.Shape == manifest.Kustomize || site.Ref.Versioned() {
		return ""
	}
	for _, entry := range o.entries {
		if entry.Replaces.Same(site.Ref) && entry.Ref != entry.Replaces && o.reach(entry.File)[site.File] {
			return fmt.Sprintf("%s:%d", entry.File, entry.Line)
		}
	}
	return ""
}

// reach is the set of files that the kustomization at file builds from.
func (o overlays) reach(file string) map[string]bool {
	if files, known := o.reached[file]; known {
		return files
	}
	files := map[string]bool{}
	o.reached[file] = files
	o.collect(file, files)
	return files
}

func (o overlays) collect(file string, files map[string]bool) {
	kustomization, ok := o.tree.kustomizations[file]
	if !ok {
		return
	}
	data, err := kustomization.Read(nil)
	if err != nil {
		return
	}
	for _, resource := range manifest.Resources(file, data) {
		if files[resource] {
			continue
		}
		files[resource] = true
		for _, inner := range manifest.KustomizationsIn(resource) {
			o.collect(inner, files)
		}
	}
}
