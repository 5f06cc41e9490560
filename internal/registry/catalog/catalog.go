// Package catalog asks registries what policies have to know of tags, and no more than that.
//
// How much a question costs depends on the policy and on the registry: where names decide, a list of them is enough; where
// dates do, Harbor lists those too, while others want two requests for each tag. What was asked once is remembered, so that
// several policies for one repository cost as much as one.
package catalog

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
)

// Catalog asks registries, each of them as the client does. It is safe for use by several goroutines.
type Catalog struct {
	client *registry.Client
	warn   func(text string)
	now    time.Time

	mu    sync.Mutex
	known map[string]*repository
	hosts map[string]*semaphore.Weighted // of the tags that are read at the same time
	share share
}

// New is a catalog; it sends nothing before it is asked to. Warn is told what makes an answer dearer or poorer than it could
// be.
func New(client *registry.Client, warn func(text string)) *Catalog {
	return &Catalog{client: client, warn: warn, now: time.Now(), known: map[string]*repository{}, hosts: map[string]*semaphore.Weighted{}}
}

// Choose is the tag of ref's repository that the rules choose. Tags that could not be read are left out, and told of; with
// many of them it is rather the registry that is at fault, which is an error. Rules that make no sense are one of kind Usage.
func (c *Catalog) Choose(ctx context.Context, ref imageref.Ref, rules policy.Rules) (policy.Decision, error) {
	p, err := policy.New(rules)
	if err != nil {
		return policy.Decision{}, err
	}
	ctx, cancel := c.limit(ctx, ref)
	defer cancel()
	q := &question{repository: c.repository(ref), policy: p, rules: rules}
	tags, err := q.tags(ctx)
	if err != nil {
		return policy.Decision{}, late(ctx, err)
	}
	ranking := p.Rank(tags)
	if err := ranking.Settle(c.now, func(name string) (policy.Tag, error) { return q.look(ctx, name) }); err != nil {
		return policy.Decision{}, late(ctx, err)
	}
	d := ranking.Decide(c.now)
	d.Bad = q.bad
	slices.SortFunc(d.Bad, func(a, b policy.Bad) int { return strings.Compare(a.Tag, b.Tag) })
	return d, nil
}

// Prepare reaches the registry of the repositories, which are those of one, and asks for the right to read them. An error is
// one that each of them would meet.
func (c *Catalog) Prepare(ctx context.Context, repositories []imageref.Ref) error {
	ctx, cancel := c.limit(ctx, repositories[0])
	defer cancel()
	whole := make([]imageref.Ref, len(repositories))
	for i, ref := range repositories {
		whole[i] = c.client.Whole(ref)
	}
	return c.client.Anticipate(ctx, whole)
}

// Digest is what ref's tag names now.
func (c *Catalog) Digest(ctx context.Context, ref imageref.Ref) (string, error) {
	ctx, cancel := c.limit(ctx, ref)
	defer cancel()
	return c.client.Digest(ctx, c.client.Whole(ref))
}

func (c *Catalog) repository(ref imageref.Ref) *repository {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.known[ref.Canonical()]
	if r == nil {
		host := ref.Host()
		if c.hosts[host] == nil {
			c.hosts[host] = semaphore.NewWeighted(atOnce)
		}
		r = &repository{catalog: c, ref: c.client.Whole(ref).Bare(), slots: c.hosts[host]}
		c.known[ref.Canonical()] = r
	}
	return r
}

// repository is what was asked of one. It shares the slots with the others of its registry.
type repository struct {
	catalog *Catalog
	ref     imageref.Ref
	slots   *semaphore.Weighted

	names     once[[]string]
	artifacts once[[]harbor.Artifact] // of Harbor; none elsewhere, or where it does not tell
}

// once is something that is asked for once, whatever comes of it.
type once[T any] struct {
	do    sync.Once
	value T
	err   error
}

func (o *once[T]) get(ask func() (T, error)) (T, error) {
	o.do.Do(func() { o.value, o.err = ask() })
	return o.value, o.err
}

// listed are the names of the repository's tags.
func (r *repository) listed(ctx context.Context) ([]string, error) {
	return r.names.get(func() ([]string, error) {
		names, err := r.catalog.client.Tags(ctx, r.ref)
		return r.valid(names), err
	})
}

// valid are those of names that are tags.
func (r *repository) valid(names []string) []string {
	all := len(names)
	names = slices.DeleteFunc(names, func(name string) bool {
		ref, err := imageref.Parse("a:" + name)
		return err != nil || ref.Tag != name
	})
	if n := all - len(names); n > 0 {
		r.catalog.warn(r.ref.String() + " lists " + number(n, "name that is no tag", "names that are no tags") + ", left out")
	}
	return names
}

// ofHarbor are the images that Harbor lists, with their tags and dates.
func (r *repository) ofHarbor(ctx context.Context) ([]harbor.Artifact, error) {
	return r.artifacts.get(func() ([]harbor.Artifact, error) {
		greeting, err := r.catalog.client.Greet(ctx, r.ref.Host())
		if err != nil || !greeting.Harbor {
			return nil, err
		}
		artifacts, err := r.hub().Artifacts(ctx, r.ref.Repository)
		if errors.Is(err, harbor.ErrForbidden) {
			r.catalog.warn("each tag's image is read, which takes longer: " + strings.TrimSuffix(err.Error()+"; "+fault.HintOf(err), "; "))
			return nil, nil
		}
		return artifacts, err
	})
}

func (r *repository) hub() *harbor.Client { return harbor.New(r.catalog.client, r.ref.Host()) }
