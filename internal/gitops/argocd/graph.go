package argocd

import (
	"maps"
	"path"
	"slices"
)

// Parents are, for each of Applications, the numbers of those that deploy the file that declares it, and so create it. An
// application may be its own parent.
func (x *Index) Parents() [][]int {
	all := make([][]int, len(x.applications))
	for file, numbers := range x.declared {
		parents := slices.Sorted(maps.Keys(x.owning(file)))
		for _, n := range numbers {
			all[n] = parents
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

// Twice is a folder or a file that two applications deploy to one cluster.
type Twice struct {
	Applications [2]int // by their numbers in Applications
	Path         string // in the tree
}

// Twice finds the first file or folder that each pair of applications both deploys to one cluster. What Helm makes may go by
// another name each time, and what kustomizations share is made different by them; so those count only when it is the same
// kustomization.
func (x *Index) Twice(files []string) []Twice {
	found := map[[2]int]string{}
	note := func(numbers []int, where string) {
		for i, a := range numbers {
			for _, b := range numbers[i+1:] {
				pair := [2]int{a, b}
				if _, known := found[pair]; !known && a != b && x.applications[a].Cluster == x.applications[b].Cluster {
					found[pair] = where
				}
			}
		}
	}
	for _, full := range slices.Sorted(maps.Keys(x.folders)) {
		if dir, here := x.place.inTree(full); here {
			note(x.making(x.folders[full], full, kustomize), dir)
		}
	}
	for _, file := range files {
		note(x.reading(file), file)
	}
	var all []Twice
	for pair, where := range found {
		all = append(all, Twice{pair, where})
	}
	slices.SortFunc(all, func(a, b Twice) int { return slices.Compare(a.Applications[:], b.Applications[:]) })
	return all
}

// making are the applications whose claims of a folder are of a kind.
func (x *Index) making(claims []claim, full string, kind kind) []int {
	var all []int
	for _, c := range claims {
		if x.kindOf(c, full) == kind && !slices.Contains(all, c.application) {
			all = append(all, c.application)
		}
	}
	slices.Sort(all)
	return all
}

// reading are the applications that take a file as it is.
func (x *Index) reading(file string) []int {
	full := x.place.inRepository(file)
	var all []int
	for dir := path.Dir(full); ; dir = path.Dir(dir) {
		for _, n := range x.making(x.folders[dir], dir, directory) {
			taken := slices.ContainsFunc(x.folders[dir], func(c claim) bool { return c.application == n && x.takes(c, dir, full) })
			if taken && !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
		if dir == "." || dir == "/" {
			slices.Sort(all)
			return all
		}
	}
}
