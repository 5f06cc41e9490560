package argocd

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Twice is a folder or a file that several applications deploy. Apart says that each has a namespace of its own for what
// does not name one.
type Twice struct {
	Applications []int // by their numbers in Applications
	Path         string
	Apart        bool
}

// Twice finds what more than one application deploys to a cluster: the same kustomization, or a file that one takes as it is.
// What Helm makes may go by another name each time, and what kustomizations share is made different by them. Of applications
// that belong to different trees nothing is said: each tree may be another Argo CD's, whose own cluster goes by one name
// everywhere. An application is named once for the same others.
func (x *Index) Twice(files []string) []Twice {
	f := finder{Index: x, trees: x.trees(), met: map[string]bool{}}
	for _, full := range slices.Sorted(maps.Keys(x.folders)) {
		if dir, here := x.place.inTree(full); here {
			f.kustomization(full, dir)
		}
	}
	for _, file := range files {
		f.file(file)
	}
	slices.SortStableFunc(f.found, func(a, b Twice) int { return slices.Compare(a.Applications, b.Applications) })
	return f.found
}

// finder gathers what is deployed twice.
type finder struct {
	*Index
	trees []int
	met   map[string]bool
	found []Twice
}

// kustomization looks at a folder that applications have kustomize build.
func (f *finder) kustomization(full, dir string) {
	same := map[string][]int{}
	for _, c := range f.folders[full] {
		if f.kindOf(c, full) == kustomize {
			key := f.target(c) + c.source.renamed
			same[key] = append(same[key], c.application)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(same)) {
		f.note(same[key], dir, false)
	}
}

// file looks at a file that an application takes as it is.
func (f *finder) file(file string) {
	same, all := map[string][]int{}, map[string][]int{}
	full, folders := f.place.inRepository(file), map[string]bool{}
	take := func(c claim, dir string) {
		key := f.cluster(c)
		same[f.target(c)] = append(same[f.target(c)], c.application)
		all[key], folders[dir] = append(all[key], c.application), true
	}
	for dir := path.Dir(full); ; dir = path.Dir(dir) {
		for _, c := range f.folders[dir] {
			if f.takes(c, dir, full) && f.kindOf(c, dir) == directory {
				take(c, dir)
			}
		}
		if dir == "." || dir == "/" {
			break
		}
	}
	if len(folders) == 0 {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(same)) {
		f.note(same[key], file, false)
	}
	f.built(file, nil, func(c claim) { take(c, c.source.Path) })
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if len(folders) > 1 {
			f.note(all[key], file, true)
		}
	}
}

// cluster is where a claim's manifests go, and which repository they are from where that is not known to be the tree's.
func (f *finder) cluster(c claim) string {
	cluster := strings.TrimSuffix(f.applications[c.application].Cluster, "/")
	if cluster == "in-cluster" {
		cluster = "https://kubernetes.default.svc"
	}
	if f.place.Repository == "" {
		cluster += "\n" + where(c.source.Repository)
	}
	return cluster
}

// target is the cluster with the namespace.
func (f *finder) target(c claim) string {
	return f.cluster(c) + "\n" + f.applications[c.application].Into + "\n"
}

// note notes those of the applications that belong to one tree, or to none.
func (f *finder) note(applications []int, where string, apart bool) {
	byTree := map[int][]int{}
	for _, n := range applications {
		byTree[f.trees[n]] = append(byTree[f.trees[n]], n)
	}
	const none = -1
	for _, tree := range slices.Sorted(maps.Keys(byTree)) {
		if tree == none && len(byTree) > 1 {
			continue
		}
		together := byTree[tree]
		if tree != none {
			together = slices.Concat(byTree[none], together)
		}
		slices.Sort(together)
		named := map[string]bool{}
		together = slices.DeleteFunc(together, func(n int) bool { // one that is declared again is another Argo CD's
			name := f.applications[n].Qualified()
			again := named[name]
			named[name] = true
			return again
		})
		if len(together) > 1 && !f.covered(together) {
			f.found = append(f.found, Twice{together, where, apart})
		}
	}
}

// covered reports whether all of the applications have been found together before.
func (f *finder) covered(applications []int) bool {
	key := fmt.Sprint(applications)
	if f.met[key] {
		return true
	}
	f.met[key] = true
	return slices.ContainsFunc(f.found, func(t Twice) bool {
		return !slices.ContainsFunc(applications, func(n int) bool { return !slices.Contains(t.Applications, n) })
	})
}

// trees are, for each of Applications, the number of the tree of those that create each other, -1 for one that stands alone.
func (x *Index) trees() []int {
	trees := make([]int, len(x.applications))
	for n := range trees {
		trees[n] = n
	}
	top := func(n int) int {
		for trees[n] != n {
			trees[n] = trees[trees[n]]
			n = trees[n]
		}
		return n
	}
	connected := make([]bool, len(trees))
	for n, parents := range x.Parents() {
		for _, parent := range parents {
			if parent != n {
				connected[n], connected[parent] = true, true
				trees[top(n)] = top(parent)
			}
		}
	}
	all := make([]int, len(trees))
	for n := range all {
		if all[n] = -1; connected[n] {
			all[n] = top(n)
		}
	}
	return all
}
