package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
)

// question is what one policy wants to know of a repository.
type question struct {
	*repository
	policy policy.Policy
	rules  policy.Rules

	mu  sync.Mutex
	bad []policy.Bad
}

// tags are the repository's, with what the strategy wants to know of each.
func (q *question) tags(ctx context.Context) ([]policy.Tag, error) {
	switch q.rules.Strategy {
	case policy.Digest:
		return q.one(ctx)
	case policy.NewestBuild:
		return q.dated(ctx)
	}
	return q.named(ctx)
}

// named are the repository's tags by their names alone.
func (q *question) named(ctx context.Context) ([]policy.Tag, error) {
	names, err := q.listed(ctx)
	tags := make([]policy.Tag, len(names))
	for i, name := range names {
		tags[i].Name = name
	}
	return tags, err
}

// one is the tag that the strategy digest looks at. Where it is missing, the repository is asked for, which may be too.
func (q *question) one(ctx context.Context) ([]policy.Tag, error) {
	ref := q.ref
	ref.Tag = q.rules.Constraint
	tag := policy.Tag{Name: ref.Tag}
	var err error
	if len(q.rules.Platforms) > 0 {
		tag.Digest, tag.Builds, err = q.catalog.client.Builds(ctx, ref, q.rules.Platforms)
	} else {
		tag.Digest, err = q.catalog.client.Digest(ctx, ref)
	}
	if errors.Is(err, registry.ErrNotFound) {
		_, err = q.listed(ctx)
		return nil, err
	}
	return []policy.Tag{tag}, err
}

// dated are the tags with the dates of their images: of Harbor's list of images, else of each tag's configuration. To Harbor
// a repository that does not exist has no images either.
func (q *question) dated(ctx context.Context) ([]policy.Tag, error) {
	artifacts, err := q.ofHarbor(ctx)
	if err != nil {
		return nil, err
	}
	if len(artifacts) > 0 {
		return q.ofArtifacts(ctx, artifacts)
	}
	tags, err := q.named(ctx)
	if err != nil {
		return nil, err
	}
	return q.read(ctx, tags, func(t *policy.Tag) (err error) {
		ref := q.ref
		ref.Tag = t.Name
		t.Digest, t.Builds, err = q.catalog.client.Builds(ctx, ref, q.rules.Platforms)
		return err
	})
}

// ofArtifacts are the tags of Harbor's list. Only what it does not tell is read: when the images of an index were made.
func (q *question) ofArtifacts(ctx context.Context, artifacts []harbor.Artifact) ([]policy.Tag, error) {
	by := map[string]harbor.Artifact{}
	var names []string
	for _, a := range artifacts {
		for _, t := range a.Tags {
			by[t.Name] = a
			names = append(names, t.Name)
		}
	}
	var tags []policy.Tag
	for _, name := range q.valid(names) {
		tags = append(tags, tagOf(name, by[name]))
	}
	return q.read(ctx, tags, func(t *policy.Tag) error { return q.complete(ctx, t, by[t.Name]) })
}

// tagOf is what Harbor tells of an artifact's tag. What is no digest is left out: it would be written into manifests.
func tagOf(name string, a harbor.Artifact) policy.Tag {
	t := policy.Tag{Name: name, Digest: a.Digest, Pushed: a.Pushed, Builds: []image.Build{{Platform: a.Platform, Created: a.Created}}}
	if _, err := imageref.Parse("a@" + a.Digest); err != nil {
		t.Digest = ""
	}
	return t
}

// complete adds what Harbor does not tell of an artifact: the images of an index, and variants of platforms.
func (q *question) complete(ctx context.Context, t *policy.Tag, a harbor.Artifact) (err error) {
	variant := slices.ContainsFunc(q.rules.Platforms, func(p string) bool { return a.Platform != "" && strings.HasPrefix(p, a.Platform+"/") })
	if len(a.Children) == 0 && !variant {
		return nil
	}
	ref := q.ref
	ref.Digest = a.Digest
	_, t.Builds, err = q.catalog.client.Builds(ctx, ref, q.rules.Platforms)
	return err
}

// atOnce is how many tags of a registry are read at the same time.
const atOnce = 16

// read completes those tags that their names do not rule out, several at once. The result lacks those that are bad.
func (q *question) read(ctx context.Context, tags []policy.Tag, complete func(*policy.Tag) error) ([]policy.Tag, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	spoiled := make([]bool, len(tags))
	for i := range tags {
		if !q.policy.Admits(tags[i].Name) || ctx.Err() != nil {
			continue
		}
		group.Go(func() (err error) {
			if err := q.slots.Acquire(ctx, 1); err != nil {
				return err
			}
			defer q.slots.Release(1)
			if err = complete(&tags[i]); err != nil {
				spoiled[i] = true
				err = q.spoiled(ctx, tags[i].Name, err)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var good []policy.Tag
	for i, t := range tags {
		if !spoiled[i] {
			good = append(good, t)
		}
	}
	return good, nil
}

// mostBad is how many tags may be bad before it is rather the registry that is.
const mostBad = 10

// spoiled notes a tag that cannot be read. It returns the error where that is no matter of the tag alone.
func (q *question) spoiled(ctx context.Context, name string, err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bad = append(q.bad, policy.Bad{Tag: name, Err: err})
	if ctx.Err() != nil || fault.KindOf(err) == fault.Denied || len(q.bad) > mostBad {
		return err
	}
	return nil
}

// look tells when the image of one tag was made. Of a bad one it tells nothing.
func (q *question) look(ctx context.Context, name string) (policy.Tag, error) {
	ref := q.ref
	ref.Tag = name
	t := policy.Tag{Name: name}
	greeting, err := q.catalog.client.Greet(ctx, ref.Host())
	if err != nil {
		return t, err
	}
	if greeting.Harbor {
		a, err := q.hub().Artifact(ctx, ref.Repository, name)
		if err == nil {
			t = tagOf(name, a)
			err = q.complete(ctx, &t, a)
		}
		if !errors.Is(err, harbor.ErrForbidden) {
			return t, q.seen(ctx, name, err)
		}
	}
	t.Digest, t.Builds, err = q.catalog.client.Builds(ctx, ref, q.rules.Platforms)
	return t, q.seen(ctx, name, err)
}

func (q *question) seen(ctx context.Context, name string, err error) error {
	if err == nil {
		return nil
	}
	return q.spoiled(ctx, name, err)
}

func number(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}
