package argocd

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/ignore"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// maxApplications is how many applications are kept apart, and maxComparisons how often all ApplicationSets of a tree may
// compare a path with a pattern: nobody has as many, but a hostile manifest may.
const (
	maxApplications = 10_000
	maxComparisons  = 50_000_000
)

var (
	errTooMany = fmt.Errorf("it makes more than %d applications", maxApplications)
	errTooMuch = errors.New("its generator looks through too much")
)

// lister finds what the git generators ask for: the files and folders of the tree, by their path in the repository.
type lister struct {
	place       Place
	tree        Tree
	listed      bool
	byPath      map[string]manifest.File
	dirs        []string // those that are not hidden, sorted
	comparisons int
	err         error // why the tree could not be listed
}

// list lists the tree, once for all generators.
func (l *lister) list() error {
	if l.listed {
		return l.err
	}
	l.listed, l.byPath = true, map[string]manifest.File{}
	seen := map[string]bool{".": true}
	for f, err := range l.tree.Files() {
		if err != nil {
			l.err = err
			return err
		}
		p := l.place.inRepository(f.Path)
		if f.Skip == "" {
			l.byPath[p] = f
		}
		for dir := path.Dir(p); !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			if !strings.HasPrefix(dir, ".") && !strings.Contains(dir, "/.") {
				l.dirs = append(l.dirs, dir)
			}
		}
	}
	slices.Sort(l.dirs)
	return nil
}

// folders are those that the patterns mean.
func (l *lister) folders(patterns []pattern) ([]string, error) {
	if err := l.list(); err != nil {
		return nil, err
	}
	return l.chosen(l.dirs, patterns, func(glob, dir string) bool {
		ok, err := path.Match(glob, dir)
		return ok && err == nil
	})
}

// files are those that the patterns mean, as git ls-files takes them, in order of their path.
func (l *lister) files(patterns []pattern) ([]string, error) {
	if err := l.list(); err != nil {
		return nil, err
	}
	return l.chosen(slices.Sorted(maps.Keys(l.byPath)), patterns, func(glob, p string) bool {
		return ignore.MatchText(glob, p) || strings.HasPrefix(p, strings.TrimSuffix(glob, "/")+"/")
	})
}

// chosen are the paths that a pattern includes and none excludes.
func (l *lister) chosen(all []string, patterns []pattern, means func(glob, p string) bool) (chosen []string, err error) {
	if l.comparisons += len(all) * len(patterns); l.comparisons > maxComparisons {
		return nil, errTooMuch
	}
	for _, p := range all {
		included, excluded := false, false
		for _, by := range patterns {
			if means(by.Path, p) {
				included, excluded = included || !by.Exclude, excluded || by.Exclude
			}
		}
		if included && !excluded {
			chosen = append(chosen, p)
		}
	}
	return chosen, nil
}
