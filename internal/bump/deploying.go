package bump

import (
	"context"
	"slices"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
)

// Deploying are the Argo CD applications that deploy any of some files of a tree, in the order of the files, each once. The paths are
// relative to the repository's top; a file need not be there any more.
func (j Job) Deploying(ctx context.Context, files Files, paths []string) ([]argocd.Owner, []Warning, error) {
	src, err := j.source(files)
	if err != nil {
		return nil, nil, err
	}
	t, err := search(ctx, src, nil, nothing)
	if err != nil {
		return nil, nil, err
	}
	owners, err := j.owners(ctx, t, newOverlays(t))
	if err != nil {
		return nil, nil, err
	}
	var all []argocd.Owner
	for _, p := range paths {
		below, inside := j.Place.InTree(p)
		if !inside {
			continue
		}
		for _, o := range owners.Owners(below) {
			if !slices.ContainsFunc(all, func(other argocd.Owner) bool { return other.Name == o.Name && other.Namespace == o.Namespace }) {
				all = append(all, o)
			}
		}
	}
	return all, owners.warnings(), nil
}
