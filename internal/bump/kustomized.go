package bump

import (
	"io/fs"
	"path"
	"slices"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// maxChains is for how many ways through kustomizations it is told what becomes of an Application. Nobody has as many.
const maxChains = 64

// kustomized is what becomes of the Applications that kustomizations build from, whose patches declare none.
func (s surroundings) kustomized(declared []argocd.Declared) []argocd.Declared {
	known := map[string]argocd.Kustomization{}
	parsed := func(file string) argocd.Kustomization {
		k, ok := known[file]
		if !ok {
			k = argocd.ParseKustomization(file, s.kustomizations[file], s.content)
			known[file] = k
		}
		return k
	}
	all := make([]argocd.Declared, 0, len(declared))
	for _, d := range declared {
		var chains [][]argocd.Kustomization
		patch, told := false, 0
		s.climb(d.File(), nil, func(chain []string) bool {
			var ks []argocd.Kustomization
			for _, file := range chain {
				ks = append(ks, parsed(file))
			}
			if ks[0].Patches(d.File()) {
				patch = true
			} else {
				chains = append(chains, ks)
			}
			told++
			return told < maxChains
		})
		if len(chains) > 0 || !patch {
			all = append(all, d.Kustomized(chains))
		}
	}
	return all
}

// climb tells the ways from a file or, with some kustomizations behind it, from the last one's folder up to those that no other
// builds from, until tell has enough.
func (s surroundings) climb(p string, behind []string, tell func(chain []string) bool) bool {
	above := s.naming(p)
	if len(behind) > 0 {
		above = slices.Concat(above, s.naming(path.Dir(p)))
	}
	above = slices.DeleteFunc(above, func(file string) bool { return slices.Contains(behind, file) })
	slices.Sort(above)
	above = slices.Compact(above)
	if len(above) == 0 || len(behind) == maxChains {
		return len(behind) == 0 || tell(behind)
	}
	return !slices.ContainsFunc(above, func(file string) bool { return !s.climb(file, append(slices.Clip(behind), file), tell) })
}

// content is the content of a file of the tree, or of the kustomization in a folder, with its path.
func (s surroundings) content(p string) (file string, data []byte) {
	for _, file := range manifest.KustomizationsIn(p) {
		if data, ok := s.kustomizations[file]; ok {
			return file, data
		}
	}
	if !fs.ValidPath(p) {
		return p, nil
	}
	for f, err := range s.below([]string{p}) {
		if err == nil && f.Path == p && f.Skip == "" {
			if data, err := f.Read(nil); err == nil {
				return p, data
			}
		}
	}
	return p, nil
}
