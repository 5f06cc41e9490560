package bump

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// promote makes the sites below the job's paths name what the sites of the same repositories below From name. What only
// one side names is left alone, and counted in the plan.
func (j Job) promote(ctx context.Context, src source) (Plan, error) {
	from, err := search(ctx, src, []string{j.From}, wanted{})
	if err != nil {
		return Plan{}, err
	}
	to, err := search(ctx, src, j.Paths, wanted{})
	if err != nil {
		return Plan{}, err
	}
	source, target := from.running(), to.repositories()
	images, err := common(source, target)
	if err != nil {
		return Plan{}, err
	}
	var plan Plan
	if len(images) == 0 {
		plan.Failures = append(plan.Failures, j.nothingInCommon(source, target))
	} else if plan, err = j.decide(ctx, src, images); err != nil {
		return Plan{}, err
	}
	for _, f := range from.found {
		if f.err != nil {
			plan.Failures = append(plan.Failures, unreadable(f.path, f.err))
		}
	}
	plan.OnlyFrom, plan.OnlyTo = len(source)-len(images), len(target)-len(images)
	return plan, nil
}

// repositories are the sites of a tree by the repository that they name, in the order of the files.
func (t *tree) repositories() map[string][]manifest.Site {
	sites := map[string][]manifest.Site{}
	for _, f := range t.found {
		for _, site := range f.sites {
			sites[site.Ref.Canonical()] = append(sites[site.Ref.Canonical()], site)
		}
	}
	return sites
}

// running are the repositories with the sites that say which version of them runs: not those without one, nor those
// whose version a kustomization of the tree overrides.
func (t *tree) running() map[string][]manifest.Site {
	o := newOverlays(t)
	repositories := t.repositories()
	for name, sites := range repositories {
		repositories[name] = slices.DeleteFunc(sites, func(s manifest.Site) bool {
			return !s.Ref.Versioned() || o.overriddenBy(s) != ""
		})
		if len(repositories[name]) == 0 {
			delete(repositories, name)
		}
	}
	return repositories
}

// common are the repositories of target in the version that source names. Two versions of one are an error of kind Usage.
func common(source, target map[string][]manifest.Site) ([]Image, error) {
	var images []Image
	for _, name := range slices.Sorted(maps.Keys(source)) {
		if target[name] == nil {
			continue
		}
		first := source[name][0]
		for _, other := range source[name][1:] {
			if other.Ref.With(first.Ref) != other.Ref {
				return nil, fault.Usagef("name a file or folder that says one version of it",
					"which one is to be promoted? %s:%d names %s, %s:%d names %s", first.File, first.Line, first.Ref, other.File, other.Line, other.Ref)
			}
		}
		images = append(images, Image{Ref: first.Ref, Source: fmt.Sprintf("%s:%d", first.File, first.Line)})
	}
	return images, nil
}

// nothingInCommon is the failure of a promotion between two trees that share no repository.
func (j Job) nothingInCommon(source, target map[string][]manifest.Site) Failure {
	says := func(where string, repositories map[string][]manifest.Site) string {
		names := slices.Sorted(maps.Keys(repositories))
		if len(names) > nearestShown {
			names = append(names[:nearestShown], fmt.Sprintf("%d more", len(names)-nearestShown))
		}
		if len(names) == 0 {
			names = []string{"no image"}
		}
		return where + " names " + strings.Join(names, ", ")
	}
	to := strings.Join(j.Paths, ", ")
	return Failure{Err: &fault.Error{
		Kind: fault.Missing, What: fmt.Sprintf("%s and %s name no image in common", j.From, to),
		Hint: says(j.From, source) + "; " + says(to, target),
	}}
}
