package main

import (
	"context"
	"errors"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/prune"
	"github.com/ksera524/imgbump/internal/registry/harbor"
	"github.com/ksera524/imgbump/internal/retention"
)

// pruned is Harbor as prune needs it.
type pruned struct{ *harbor.Client }

func (p pruned) Artifacts(ctx context.Context, repository string) ([]retention.Artifact, error) {
	listed, err := p.Client.Artifacts(ctx, repository)
	var all []retention.Artifact
	for _, a := range listed {
		all = append(all, judged(a))
	}
	return all, err
}

func (p pruned) Artifact(ctx context.Context, repository, digest string) (retention.Artifact, bool, error) {
	a, err := p.Client.Artifact(ctx, repository, digest)
	if errors.Is(err, harbor.ErrMissing) {
		return retention.Artifact{}, false, nil
	}
	return judged(a), err == nil, err
}

func judged(a harbor.Artifact) retention.Artifact {
	j := retention.Artifact{Digest: a.Digest, Pushed: a.Pushed, Size: a.Size, Children: a.Children, Accessories: a.Accessories}
	for _, t := range a.Tags {
		j.Tags = append(j.Tags, retention.Tag{Name: t.Name, Pushed: t.Pushed, Immutable: t.Immutable})
	}
	return j
}

// Exists asks, since Harbor lists nothing of what is not there. Who may not ask gets the benefit of the doubt.
func (p pruned) Exists(ctx context.Context, project, repository string) error {
	_, err := p.Project(ctx, project)
	if err == nil && repository != "" {
		_, err = p.Repository(ctx, repository)
	}
	if errors.Is(err, harbor.ErrForbidden) {
		return nil
	}
	return err
}

func (p pruned) Delete(ctx context.Context, repository, digest string) error {
	err := p.Client.Delete(ctx, repository, digest)
	_, refused := errors.AsType[*harbor.Refusal](err)
	switch {
	case errors.Is(err, harbor.ErrMissing): // gone with its index
		return nil
	case errors.Is(err, harbor.ErrReferenced):
		return prune.ErrHeld
	case refused && fault.KindOf(err) != fault.Denied:
		return refusedOne{err}
	}
	return err
}

// refusedOne is an error that is about one image alone.
type refusedOne struct{ error }

func (r refusedOne) Is(target error) bool { return target == prune.ErrRefused }
func (r refusedOne) Unwrap() error        { return r.error }
