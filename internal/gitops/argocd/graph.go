package argocd

import (
	"maps"
	"slices"
)

// Parents are, for each of Applications, the numbers of those that deploy the file that declares it, and so create it. An
// application may be its own parent.
func (x *Index) Parents() [][]int {
	all := make([][]int, len(x.applications))
	for file, numbers := range x.declared {
		parents := slices.Sorted(maps.Keys(x.owning(file, nil)))
		for _, n := range numbers {
			if all[n] = parents; x.applications[n].through != nil {
				all[n] = slices.Sorted(maps.Keys(x.owning(file, x.applications[n].through)))
			}
		}
	}
	return all
}

// Folder is the folder of the tree that a source takes manifests from; ok is false when that lies in another repository, or
// outside of the tree.
func (x *Index) Folder(s Source) (dir string, ok bool) {
	if s.Path == "" || !x.place.isHere(s.Repository) {
		return "", false
	}
	return x.place.inTree(s.Path)
}
