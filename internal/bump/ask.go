package bump

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
)

// Catalog chooses tags by what registries tell of them.
type Catalog interface {
	// Prepare is told which repositories of one registry will be asked for. An error is one that every question would meet.
	Prepare(ctx context.Context, repositories []imageref.Ref) error
	// Choose is the tag of a repository that the rules choose.
	Choose(ctx context.Context, repository imageref.Ref, rules policy.Rules) (policy.Decision, error)
	// Digest is what ref names now.
	Digest(ctx context.Context, ref imageref.Ref) (string, error)
	// Down reports whether an error may be what the registry answers to each question.
	Down(err error) bool
}

// Updates chooses versions by policy. It asks once for each, however often a job is decided.
type Updates struct {
	// Open is the way to registries, some of which have settings in the tree. It is called once.
	Open      func(registries []config.Registry) (Catalog, error)
	Images    []imageref.Ref // whose policies count; all without any
	Pin       Pin
	Downgrade bool          // go back to lower versions too
	MinAge    time.Duration // at least, whatever a policy says
	// Verify says why an image must not be used, nil when it may; nil verifies nothing.
	Verify func(ctx context.Context, ref imageref.Ref) error
	Signed bool // Verify asks for a signature

	catalog Catalog
	mu      sync.Mutex
	known   map[string]*answer
}

// open opens the catalog, unless it is open: what the tree says of registries counts as it was first read.
func (u *Updates) open(src source, logins []config.Registry) (err error) {
	if u.catalog != nil {
		return nil
	}
	registries, err := src.registries()
	if err != nil {
		return err
	}
	u.catalog, err = u.Open(append(registries, logins...))
	return err
}

// answer is what came of a question, as far as it was asked.
type answer struct {
	chosen   bool
	decision policy.Decision
	err      error

	digest   string // of what was chosen, where the decision does not tell it
	unpinned error  // why that is not known

	verified imageref.Ref // what was asked about, and
	doubt    error        // why it must not be used
}

// answer is the one to a question, known already or not.
func (u *Updates) answer(repository imageref.Ref, rules policy.Rules) *answer {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.known == nil {
		u.known = map[string]*answer{}
	}
	key := fmt.Sprintf("%s %#v", repository.Canonical(), rules)
	if u.known[key] == nil {
		u.known[key] = &answer{}
	}
	return u.known[key]
}

// query is a question with the choices that wait for its answer: several policies may ask the same.
type query struct {
	*answer
	choices []*Choice
}

// ask asks what is not known yet, all registries at the same time. What a registry refuses is the answer's; an error here
// is the end of the context.
func (u *Updates) ask(ctx context.Context, choices []Choice) error {
	hosts := map[string][]*query{}
	met := map[*answer]*query{}
	for i := range choices {
		c := &choices[i]
		q := met[c.answer]
		if q == nil {
			q = &query{answer: c.answer}
			met[c.answer] = q
			hosts[c.Image.Host()] = append(hosts[c.Image.Host()], q)
		}
		q.choices = append(q.choices, c)
	}
	var registries sync.WaitGroup
	for _, queries := range hosts {
		registries.Go(func() { u.askRegistry(ctx, queries) })
	}
	registries.Wait()
	return ctx.Err()
}

// queriesAtOnce is how many queries a registry is asked at a time, and fruitless how many of them may fail in a way that says
// nothing of the repository, and none succeed, before it is not asked for more.
const (
	queriesAtOnce = 16
	fruitless     = 16
)

// askRegistry asks one registry. One that is down is waited for once.
func (u *Updates) askRegistry(ctx context.Context, queries []*query) {
	var repositories []imageref.Ref
	for _, q := range queries {
		if !q.chosen {
			repositories = append(repositories, q.choices[0].Image)
		}
	}
	var down error
	if len(repositories) > 0 {
		down = u.catalog.Prepare(ctx, repositories)
	}
	var mu sync.Mutex
	failed, answered := 0, false
	var group errgroup.Group
	group.SetLimit(queriesAtOnce)
	for _, q := range queries {
		group.Go(func() error {
			mu.Lock()
			err := down
			mu.Unlock()
			if err != nil && !q.chosen {
				q.err, q.chosen = err, true
				return nil
			}
			err = u.complete(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			if err == nil || !u.catalog.Down(err) {
				answered = true
			} else if failed++; failed >= fruitless && !answered {
				down = err
			}
			return nil
		})
	}
	group.Wait()
}

// complete asks what of an answer is not known.
func (u *Updates) complete(ctx context.Context, q *query) error {
	repository := q.choices[0].Image
	if !q.chosen {
		q.decision, q.err = u.catalog.Choose(ctx, repository, q.choices[0].Rules)
		q.chosen = true
	}
	if q.err != nil || q.decision.Tag == "" {
		return q.err
	}
	ref := repository.Bare()
	ref.Tag, ref.Digest = q.decision.Tag, q.decision.Digest
	pinned := slices.ContainsFunc(q.choices, func(c *Choice) bool { return c.pinned })
	if pinned && ref.Digest == "" && q.digest == "" && q.unpinned == nil {
		q.digest, q.unpinned = u.catalog.Digest(ctx, ref)
	}
	if ref.Digest == "" {
		ref.Digest = q.digest
	}
	if u.Verify != nil && q.verified != ref && slices.ContainsFunc(q.choices, u.writes) {
		q.doubt, q.verified = u.Verify(ctx, ref), ref
	}
	return q.unpinned
}
