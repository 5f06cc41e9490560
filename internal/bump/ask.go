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

	verified bool
	doubt    error // why what was chosen must not be used
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

// ask asks what is not known yet, all registries at the same time. What a registry refuses is the answer's; an error here
// is the end of the context.
func (u *Updates) ask(ctx context.Context, choices []Choice) error {
	hosts := map[string][]*Choice{}
	met := map[*answer]*Choice{}
	for i := range choices {
		c := &choices[i]
		if first := met[c.answer]; first != nil { // several policies may ask the same
			first.pinned, first.Sites = first.pinned || c.pinned, slices.Concat(first.Sites, c.Sites)
			continue
		}
		asked := *c
		met[c.answer] = &asked
		hosts[c.Image.Host()] = append(hosts[c.Image.Host()], &asked)
	}
	var registries sync.WaitGroup
	for _, questions := range hosts {
		registries.Go(func() { u.askRegistry(ctx, questions) })
	}
	registries.Wait()
	return ctx.Err()
}

// questionsAtOnce is how many questions a registry is asked at a time, and fruitless how many of them may fail, and none
// succeed, before it is not asked for more.
const (
	questionsAtOnce = 16
	fruitless       = 16
)

// askRegistry asks one registry. One that is down is waited for once.
func (u *Updates) askRegistry(ctx context.Context, questions []*Choice) {
	var repositories []imageref.Ref
	for _, c := range questions {
		if !c.answer.chosen {
			repositories = append(repositories, c.Image)
		}
	}
	var down error
	if len(repositories) > 0 {
		down = u.catalog.Prepare(ctx, repositories)
	}
	var mu sync.Mutex
	failed, succeeded := 0, false
	var group errgroup.Group
	group.SetLimit(questionsAtOnce)
	for _, c := range questions {
		group.Go(func() error {
			mu.Lock()
			err := down
			mu.Unlock()
			if err != nil && !c.answer.chosen {
				c.answer.err, c.answer.chosen = err, true
				return nil
			}
			err = u.complete(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				succeeded = true
			} else if failed++; failed >= fruitless && !succeeded {
				down = err
			}
			return nil
		})
	}
	group.Wait()
}

// complete asks what of an answer is not known.
func (u *Updates) complete(ctx context.Context, c *Choice) error {
	a := c.answer
	if !a.chosen {
		a.decision, a.err = u.catalog.Choose(ctx, c.Image, c.Rules)
		a.chosen = true
	}
	if a.err != nil || a.decision.Tag == "" {
		return a.err
	}
	ref := c.Image.Bare()
	ref.Tag, ref.Digest = a.decision.Tag, a.decision.Digest
	if c.pinned && ref.Digest == "" && a.digest == "" && a.unpinned == nil {
		a.digest, a.unpinned = u.catalog.Digest(ctx, ref)
	}
	if ref.Digest == "" {
		ref.Digest = a.digest
	}
	if u.Verify != nil && !a.verified && a.unpinned == nil && u.changes(c, ref) {
		a.doubt, a.verified = u.Verify(ctx, ref), true
	}
	return a.unpinned
}

// changes reports whether one of the choice's sites is to name another version than it does.
func (u *Updates) changes(c *Choice, to imageref.Ref) bool {
	for _, site := range c.Sites {
		if want := u.pin(c.Found, site).of(to); site.Ref.With(want) != site.Ref {
			return true
		}
	}
	return false
}
