package dockerfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/ksera524/imgbump/internal/stepcache"
)

// chain is the steps of one stage, each named by what it depends on, the step above first.
type chain struct {
	steps map[int]*keyed   // those that may add a layer, by their place in the stage
	start []stepcache.Part // what the first of them depends on, nil when that is not known
	end   []stepcache.Part // what a step that follows depends on, likewise
	stale bool             // what the stage comes to is not to be found by its name

	adopted int  // instructions that need not be carried out, the first ones
	whole   bool // that is all of them
}

// keyed is a step that may add a layer, as the cache sees it.
type keyed struct {
	parts    []stepcache.Part // what it depends on, nil when that is not known before the build; the step above is the first
	name     string           // of the parts
	slot     string           // what its latest entry is called, whatever it depends on
	copy     *copied          // of COPY and ADD, expanded
	dir      string           // the working directory
	platform string
	fresh    bool          // nothing is to be found of it
	stale    bool          // nothing is to be found by its name
	same     []func() bool // tell whether files are still those that it was named by

	found *stepcache.Entry
	why   string // it was not found
}

// generation counts changes of what the same parts come to.
const generation = "imgbump step 1"

// nameOf names what depends on parts and on nothing else. It will do as a tag.
func nameOf(kind string, parts []stepcache.Part) string {
	sum := sha256.New()
	fmt.Fprintln(sum, generation)
	for _, p := range parts {
		fmt.Fprintf(sum, "%q %q\n", p.Name, p.Value)
	}
	return kind + "-" + hex.EncodeToString(sum.Sum(nil))
}

// nameSteps finds what the steps of the builder's stages depend on, without a file of a base image.
func (b *builder) nameSteps(ctx context.Context) error {
	again, err := b.File.builder(b.work) // expanding variables changes instructions
	if err != nil {
		return err
	}
	if err := again.resolve(ctx); err != nil {
		return err
	}
	chains := map[int]*chain{}
	for i, s := range again.stages {
		chains[i] = again.chain(ctx, s, chains)
		if known := b.outcome[b.stages[i]]; b.caching.chains[known] == nil {
			b.caching.chains[known] = chains[i]
		}
	}
	return ctx.Err()
}

// chain names the steps of a stage, as far as nothing is wrong with it; what is will be told by the build. The chains are
// those of the stages before it.
func (b *builder) chain(ctx context.Context, s *stage, chains map[int]*chain) *chain {
	done := &outcome{done: make(chan struct{}), rootfs: &rootfs{config: emptyConfig()}}
	close(done.done)
	b.outcome[s] = done
	ch := &chain{steps: map[int]*keyed{}, stale: b.caching.isFresh(s)}
	for i, c := range s.commands {
		if makesLayer(c.Command) {
			ch.steps[i] = &keyed{fresh: ch.stale, slot: b.slot(s, i), platform: s.platform.String()}
		}
	}
	parent, err := b.parent(ctx, s)
	if err != nil {
		return ch
	}
	done.rootfs = parent.child()
	ch.start = b.start(s, parent, chains)
	above := ch.start
	if base := s.base.stage; base != nil {
		ch.stale = ch.stale || chains[slices.Index(b.stages, base)].stale
	}
	for i, c := range s.commands {
		k := ch.steps[i]
		parts, err := b.parts(ctx, done.rootfs, c, k, chains)
		if err != nil {
			return ch
		}
		if c, ok := c.Command.(*instructions.WorkdirCommand); ok && workdir(done.rootfs, c) == "/" {
			delete(ch.steps, i)
			continue
		}
		if k == nil || above == nil {
			continue
		}
		ch.stale = ch.stale || k.stale
		k.stale = ch.stale
		k.parts = slices.Concat(above, parts)
		k.name = nameOf("step", k.parts)
		above = follows(k.name)
	}
	ch.end = above
	return ch
}

// follows is what the step below one of a name depends on.
func follows(name string) []stepcache.Part { return []stepcache.Part{{Name: partAbove, Value: name}} }

// Names of parts that compare knows.
const (
	partAbove = "the step above"
	partBase  = "base image"
)

// start is what the first step of a stage depends on.
func (b *builder) start(s *stage, parent *rootfs, chains map[int]*chain) []stepcache.Part {
	if s.base.stage != nil {
		return chains[slices.Index(b.stages, s.base.stage)].end
	}
	if parent.base == nil {
		return []stepcache.Part{{Name: partBase, Value: scratch}}
	}
	digest, err := parent.base.Digest()
	if err != nil {
		return nil
	}
	return []stepcache.Part{{Name: partBase, Value: digest.String()}}
}

// slot is a name for the latest entry of a step, wherever it stands among those of its kind.
func (b *builder) slot(s *stage, at int) string {
	kind, nth := s.commands[at].Name(), 0
	for _, c := range s.commands[:at] {
		if c.Name() == kind {
			nth++
		}
	}
	return nameOf("last", []stepcache.Part{{Name: b.caching.Scope, Value: b.File.name}, {Name: s.label(), Value: s.platform.String()}, {Name: kind, Value: strconv.Itoa(nth)}})
}

// adopted is how many instructions of a stage need not be carried out, the first ones.
func (b *builder) adopted(s *stage) int {
	if b.caching == nil {
		return 0
	}
	return b.caching.chains[b.outcome[s]].adopted
}

// adopt settles which instructions of a stage with n of them need not be carried out: those up to the first step that was
// not found. It returns that one if the steps above are found, else nil.
func (ch *chain) adopt(n int, above bool) (missed *keyed) {
	ch.adopted, ch.whole = n, above
	for i := range n {
		k := ch.steps[i]
		switch {
		case k == nil:
		case !ch.whole:
			k.found, k.why = nil, "the step above missed"
		case k.found == nil:
			missed, ch.whole = k, false
			switch {
			case k.fresh:
				k.why = "--no-cache"
			case k.stale:
				k.why = "what it reads is made anew"
			case k.parts == nil:
				k.why = "what it depends on cannot be told before it is carried out"
			}
		}
		if !ch.whole {
			ch.adopted = min(ch.adopted, i)
		}
	}
	return missed
}
