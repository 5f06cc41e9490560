package bump

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/agext/levenshtein"
	"github.com/ksera524/imgbump/internal/imageref"
)

// nearestShown is how many names are told when the one asked for is not found.
const nearestShown = 3

// explain adds the failures of images that no site names, with the repositories that come closest to each where the whole
// tree was looked at.
func (j Job) explain(ctx context.Context, src source, plan *Plan) error {
	if len(j.Applications) > 0 {
		for _, image := range plan.Missing {
			plan.Failures = append(plan.Failures, j.undeployed(image))
		}
		return nil
	}
	if len(plan.Missing) == 0 {
		return nil
	}
	all, err := search(ctx, src, j.Paths, wanted{})
	if err != nil {
		return err
	}
	for _, image := range plan.Missing {
		plan.Failures = append(plan.Failures, missing(image, nearest(image.Ref, all.found)))
	}
	return nil
}

// nearest are the repositories in the tree that are spelled most like ref's, best first.
func nearest(ref imageref.Ref, all []found) []string {
	likeness := map[string]float64{}
	for _, f := range all {
		for _, site := range f.sites {
			name := site.Ref.Name()
			if _, known := likeness[name]; !known {
				likeness[name] = max(levenshtein.Match(site.Ref.Canonical(), ref.Canonical(), nil), levenshtein.Match(site.Ref.Base(), ref.Base(), nil))
			}
		}
	}
	return best(likeness)
}

// best are the names that are most alike to what was asked for, by their likeness.
func best(likeness map[string]float64) []string {
	sorted := slices.Collect(maps.Keys(likeness))
	slices.SortFunc(sorted, func(a, b string) int {
		return cmp.Or(cmp.Compare(likeness[b], likeness[a]), cmp.Compare(a, b))
	})
	return sorted[:min(len(sorted), nearestShown)]
}
