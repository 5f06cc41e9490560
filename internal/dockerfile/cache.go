package dockerfile

import (
	"context"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sync/errgroup"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/stepcache"
)

// Cache keeps what steps made from one build to the next. Its methods may be called at the same time.
type Cache interface {
	// Load is what is kept under a name, nil when nothing is. The bytes of its layer are fetched when they are read.
	Load(ctx context.Context, name string) (*stepcache.Entry, error)
	// Keep keeps an entry under names, in place of what they stood for, and returns its layer as it is to be used then: its
	// digest is known, and a push may find it where it is kept.
	Keep(ctx context.Context, e stepcache.Entry, names ...string) (v1.Layer, error)
}

// Caching is what a build does with a cache. What is wrong with the cache never fails the build.
type Caching struct {
	From, To []Cache // steps are taken from the first that has them, and kept in all; one that fails is done without
	// All keeps the steps of all stages, not only of those that the image consists of. Other stages' are looked up in any
	// case, when a step that reads them is not found.
	All bool
	// Fresh looks no step up, and replaces what is kept of it; FreshStages does so for stages of these names, and what they
	// make is not found by the name of its stage.
	Fresh       bool
	FreshStages []string
	Explain     bool        // Step.Why tells why a step was not found, at the cost of a request for each stage
	Scope       string      // tells builds apart that share a cache, for explaining only
	Warn        func(error) // is told what is wrong with the cache; may be nil
}

// How many steps are looked up at once, and kept.
const (
	lookups = 16
	keeps   = 2
)

// caching is Caching at work.
type caching struct {
	Caching
	layers image.Options
	life   context.Context
	chains map[*outcome]*chain
	own    map[*outcome]bool // what images consist of

	from, to []*place

	mu      sync.Mutex // of what follows
	kept    map[v1.Layer]v1.Layer
	reading map[v1.Layer]*sync.Mutex
	keeping sync.WaitGroup
	slots   chan struct{}
}

func newCaching(ctx context.Context, src Sources) *caching {
	if len(src.Caching.From)+len(src.Caching.To) == 0 {
		return nil
	}
	return &caching{Caching: src.Caching, layers: src.Layers, life: ctx, chains: map[*outcome]*chain{}, own: map[*outcome]bool{},
		from: places(src.Caching.From), to: places(src.Caching.To),
		kept: map[v1.Layer]v1.Layer{}, reading: map[v1.Layer]*sync.Mutex{}, slots: make(chan struct{}, keeps)}
}

// lookAhead finds what the cache has of the targets and, where that is not all, of the stages that the rest reads. What it
// returns are the stages that are still to be carried out, or adopted.
func (w *work) lookAhead(ctx context.Context, builders []*builder) (needed map[*outcome]bool, err error) {
	c := w.caching
	var wave []job
	for _, b := range builders {
		if err := b.nameSteps(ctx); err != nil {
			return nil, err
		}
		target, err := b.target()
		if err != nil {
			return nil, err
		}
		wave = append(wave, b.lineage(target)...)
	}
	for _, j := range wave {
		c.own[j.of()] = true
	}
	needed = map[*outcome]bool{}
	for len(wave) > 0 {
		var fresh []job
		for _, j := range wave {
			if !needed[j.of()] {
				needed[j.of()] = true
				fresh = append(fresh, j)
			}
		}
		if err := c.find(ctx, fresh); err != nil {
			return nil, err
		}
		wave = nil
		for _, j := range fresh {
			wave = append(wave, j.reads(c.chains[j.of()].adopted)...)
		}
	}
	return needed, nil
}

// lineage is a stage and those that it starts from, the first of them first.
func (b *builder) lineage(s *stage) []job {
	if s.base.stage == nil {
		return []job{{b, s}}
	}
	return append(b.lineage(s.base.stage), job{b, s})
}

// reads are the stages that are read by instructions which are not among the first ones.
func (j job) reads(first int) (all []job) {
	for _, c := range j.stage.commands[first:] {
		for _, o := range c.origins() {
			if o.stage != nil {
				all = append(all, j.builder.lineage(o.stage)...)
			}
		}
	}
	return all
}

// find looks up the steps of stages, all at once, and settles which of them are adopted. A stage comes after its base.
func (c *caching) find(ctx context.Context, stages []job) error {
	group, together := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for _, j := range stages {
		for _, k := range c.chains[j.of()].steps {
			if k.name != "" && !k.stale {
				group.Go(func() (err error) {
					k.found, err = c.load(together, k.name)
					return err
				})
			}
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	explain, together := errgroup.WithContext(ctx)
	for _, j := range stages {
		ch := c.chains[j.of()]
		whole := j.stage.base.stage == nil || c.chains[j.builder.outcome[j.stage.base.stage]].whole
		if missed := ch.adopt(len(j.stage.commands), whole); missed != nil && c.Explain && missed.why == "" {
			explain.Go(func() error {
				latest, err := c.load(together, missed.slot)
				missed.why = missed.compare(latest)
				if latest == nil && !c.keepsOf(j.of()) {
					missed.why = "stages that the image does not consist of are not kept (--cache-mode max)"
				}
				return err
			})
		}
	}
	return explain.Wait()
}

// keep keeps an entry under the names while the build goes on.
func (c *caching) keep(k *keyed, e stepcache.Entry, names []string) {
	c.keeping.Go(func() {
		c.slots <- struct{}{}
		defer func() { <-c.slots }()
		if !c.keeps() {
			return
		}
		kept, err := c.store(k, e, names)
		switch {
		case err == nil:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.kept[e.Layer] = kept
		case c.life.Err() == nil:
			c.warn(err)
		}
	})
}

// keepsOf reports whether the steps of a stage are kept.
func (c *caching) keepsOf(stage *outcome) bool { return c.All || c.own[stage] }

// store keeps an entry, unless files have changed that its step was named by.
func (c *caching) store(k *keyed, e stepcache.Entry, names []string) (v1.Layer, error) {
	if e.Layer != nil {
		defer c.alone(e.Layer)()
		c.layers.ApplyTo(e.Layer)
	}
	if err := k.unchanged(); err != nil { // nobody may need to read the layer
		return nil, err
	}
	if pending, ok := e.Layer.(image.Pending); ok {
		l := &watched{Pending: pending, step: k}
		defer l.over.Store(true)
		e.Layer = l
	}
	return c.put(e, names...)
}

func (c *caching) warn(err error) {
	if c.Warn != nil {
		c.Warn(err)
	}
}

// alone keeps others from reading a layer that is made while it is read: several platforms may share it.
func (c *caching) alone(l v1.Layer) (unlock func()) {
	c.mu.Lock()
	lock := c.reading[l]
	if lock == nil {
		lock = &sync.Mutex{}
		c.reading[l] = lock
	}
	c.mu.Unlock()
	lock.Lock()
	return lock.Unlock
}

// asKept are the layers of an image as they are to be pushed.
func (c *caching) asKept(added []mutate.Addendum) []mutate.Addendum {
	if c == nil {
		return added
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []mutate.Addendum
	for _, add := range added {
		if kept := c.kept[add.Layer]; kept != nil && add.Layer != nil {
			add.Layer = kept
		}
		all = append(all, add)
	}
	return all
}

// isFresh reports whether nothing is to be found of a stage.
func (c *caching) isFresh(s *stage) bool {
	for _, name := range c.FreshStages {
		if strings.EqualFold(name, s.label()) {
			return true
		}
	}
	return c.Fresh
}

// makesLayer reports whether an instruction may add a layer.
func makesLayer(c instructions.Command) bool {
	switch c.(type) {
	case *instructions.CopyCommand, *instructions.AddCommand, *instructions.WorkdirCommand, *instructions.RunCommand:
		return true
	}
	return false
}
