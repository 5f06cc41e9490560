package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
	"golang.org/x/sync/errgroup"
)

// finding asks a registry what a policy has to know of one repository, and no more than that.
type finding struct {
	console *cli.Console
	client  *registry.Client
	ref     imageref.Ref // the repository
	policy  policy.Policy
	rules   policy.Rules

	mu  sync.Mutex
	bad []badTag
}

// badTag is a tag that could not be read; the others are judged without it.
type badTag struct {
	name string
	err  error
}

func (f *finding) decide(ctx context.Context) (policy.Decision, error) {
	tags, err := f.tags(ctx)
	if err != nil {
		return policy.Decision{}, err
	}
	ranking, now := f.policy.Rank(tags), time.Now()
	if err := ranking.Settle(now, func(name string) (policy.Tag, error) { return f.look(ctx, name) }); err != nil {
		return policy.Decision{}, err
	}
	return ranking.Decide(now), nil
}

// tags are the repository's, with what the strategy wants to know of each.
func (f *finding) tags(ctx context.Context) ([]policy.Tag, error) {
	switch f.rules.Strategy {
	case policy.Digest:
		return f.one(ctx)
	case policy.NewestBuild:
		return f.dated(ctx)
	}
	return f.listed(ctx)
}

// listed are the repository's tags by their names alone.
func (f *finding) listed(ctx context.Context) ([]policy.Tag, error) {
	names, err := f.client.Tags(ctx, f.ref)
	if err != nil {
		return nil, err
	}
	tags := make([]policy.Tag, 0, len(names))
	for _, name := range f.valid(names) {
		tags = append(tags, policy.Tag{Name: name})
	}
	return tags, nil
}

// valid are those of names that are tags.
func (f *finding) valid(names []string) []string {
	all := len(names)
	names = slices.DeleteFunc(names, func(name string) bool {
		ref, err := imageref.Parse("a:" + name)
		return err != nil || ref.Tag != name
	})
	if n := all - len(names); n > 0 {
		f.console.Warnf("", 0, "%s lists %d names that are no tags; they are left out", f.ref, n)
	}
	return names
}

// one is the tag that the strategy digest looks at. Where it is missing, the repository is asked for, which may be too.
func (f *finding) one(ctx context.Context) ([]policy.Tag, error) {
	ref := f.ref
	ref.Tag = f.rules.Constraint
	tag := policy.Tag{Name: ref.Tag}
	var err error
	if len(f.rules.Platforms) > 0 {
		tag.Digest, tag.Builds, err = f.client.Builds(ctx, ref, f.rules.Platforms)
	} else {
		tag.Digest, err = f.client.Digest(ctx, ref)
	}
	if errors.Is(err, registry.ErrNotFound) {
		_, err = f.client.Tags(ctx, f.ref)
		return nil, err
	}
	return []policy.Tag{tag}, err
}

// dated are the tags with the dates of their images: of Harbor's list of images, else of each tag's configuration.
func (f *finding) dated(ctx context.Context) ([]policy.Tag, error) {
	greeting, err := f.client.Greet(ctx, f.ref.Host())
	if err != nil {
		return nil, err
	}
	if greeting.Harbor {
		artifacts, err := f.hub().Artifacts(ctx, f.ref.Repository)
		switch {
		case errors.Is(err, harbor.ErrForbidden):
			f.console.Warnf("", 0, "each tag's image is read, which takes longer: %v", strings.TrimSuffix(err.Error()+"; "+fault.HintOf(err), "; "))
		case err != nil:
			return nil, err
		case len(artifacts) > 0: // a repository that does not exist has none either
			return f.ofArtifacts(ctx, artifacts)
		}
	}
	tags, err := f.listed(ctx)
	if err != nil {
		return nil, err
	}
	return f.read(ctx, tags, func(t *policy.Tag) (err error) {
		ref := f.ref
		ref.Tag = t.Name
		t.Digest, t.Builds, err = f.client.Builds(ctx, ref, f.rules.Platforms)
		return err
	})
}

func (f *finding) hub() *harbor.Client { return harbor.New(f.client, f.ref.Host()) }

// ofArtifacts are the tags of Harbor's list. Only what it does not tell is read: when the images of an index were made.
func (f *finding) ofArtifacts(ctx context.Context, artifacts []harbor.Artifact) ([]policy.Tag, error) {
	by := map[string]harbor.Artifact{}
	var names []string
	for _, a := range artifacts {
		for _, t := range a.Tags {
			by[t.Name] = a
			names = append(names, t.Name)
		}
	}
	var tags []policy.Tag
	for _, name := range f.valid(names) {
		tags = append(tags, tagOf(name, by[name]))
	}
	return f.read(ctx, tags, func(t *policy.Tag) error { return f.complete(ctx, t, by[t.Name]) })
}

// tagOf is what Harbor tells of an artifact's tag.
func tagOf(name string, a harbor.Artifact) policy.Tag {
	return policy.Tag{Name: name, Digest: a.Digest, Pushed: a.Pushed, Builds: []image.Build{{Platform: a.Platform, Created: a.Created}}}
}

// complete adds what Harbor does not tell of an artifact: the images of an index, and variants of platforms.
func (f *finding) complete(ctx context.Context, t *policy.Tag, a harbor.Artifact) (err error) {
	variant := slices.ContainsFunc(f.rules.Platforms, func(p string) bool { return a.Platform != "" && strings.HasPrefix(p, a.Platform+"/") })
	if len(a.Children) == 0 && !variant {
		return nil
	}
	ref := f.ref
	ref.Digest = a.Digest
	_, t.Builds, err = f.client.Builds(ctx, ref, f.rules.Platforms)
	return err
}

// atOnce is how many tags are read at the same time.
const atOnce = 16

// read completes those tags that their names do not rule out, several at once. The result lacks those that are bad.
func (f *finding) read(ctx context.Context, tags []policy.Tag, complete func(*policy.Tag) error) ([]policy.Tag, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	spoiled := make([]bool, len(tags))
	for i := range tags {
		if !f.policy.Admits(tags[i].Name) || ctx.Err() != nil {
			continue
		}
		group.Go(func() (err error) {
			if err = complete(&tags[i]); err != nil {
				spoiled[i] = true
				err = f.spoiled(ctx, tags[i].Name, err)
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
func (f *finding) spoiled(ctx context.Context, name string, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bad = append(f.bad, badTag{name, err})
	if ctx.Err() != nil || fault.KindOf(err) == fault.Denied || len(f.bad) > mostBad {
		return err
	}
	return nil
}

// look tells when the image of one tag was made. Of a bad one it tells nothing.
func (f *finding) look(ctx context.Context, name string) (policy.Tag, error) {
	ref := f.ref
	ref.Tag = name
	t := policy.Tag{Name: name}
	greeting, err := f.client.Greet(ctx, ref.Host())
	if err != nil {
		return t, err
	}
	if greeting.Harbor {
		a, err := f.hub().Artifact(ctx, ref.Repository, name)
		if err == nil {
			t = tagOf(name, a)
			err = f.complete(ctx, &t, a)
		}
		if !errors.Is(err, harbor.ErrForbidden) {
			return t, f.seen(ctx, name, err)
		}
	}
	t.Digest, t.Builds, err = f.client.Builds(ctx, ref, f.rules.Platforms)
	return t, f.seen(ctx, name, err)
}

func (f *finding) seen(ctx context.Context, name string, err error) error {
	if err == nil {
		return nil
	}
	return f.spoiled(ctx, name, err)
}
