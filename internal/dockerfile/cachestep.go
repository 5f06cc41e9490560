package dockerfile

import (
	"context"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/ksera524/imgbump/internal/stepcache"
)

// course is a stage on its way through the cache: what of it is adopted, found by what it reads, or kept.
type course struct {
	*builder
	stage  *stage
	chain  *chain           // nil without a cache
	above  []stepcache.Part // what the next step depends on by what was really read, nil when nobody knows
	missed bool             // a step was carried out
}

// course begins a stage whose base is there.
func (b *builder) course(s *stage) *course {
	c := &course{builder: b, stage: s}
	if b.caching == nil {
		return c
	}
	c.chain = b.caching.chains[b.outcome[s]]
	c.above = c.chain.start
	if s.base.stage != nil {
		base := b.outcome[s.base.stage]
		c.above, c.missed = base.above, base.missed
	}
	return c
}

// end tells the stages that read this one what it was.
func (c *course) end() {
	o := c.outcome[c.stage]
	o.above, o.missed = c.above, c.missed
}

// take carries out an instruction, or takes what is kept of it; then step says so.
func (c *course) take(ctx context.Context, r *rootfs, at int, step *reported) error {
	command := c.stage.commands[at]
	var k *keyed
	if c.chain != nil {
		k = c.chain.steps[at]
	}
	if k == nil {
		return c.run(ctx, r, command, step)
	}
	if k.found != nil {
		name := k.found.Content
		if name == "" {
			name = k.name
		}
		c.above, step.step.Cached = follows(name), true
		return c.use(ctx, r, command, k.found)
	}
	content, err := c.content(ctx, k, command)
	if err != nil {
		return err
	}
	if content != "" && content != k.name && !c.missed && !k.fresh {
		e, err := c.caching.load(ctx, content)
		if err != nil {
			return err
		}
		if e != nil {
			step.step.Cached = true
			c.store(k, *e, content)
			return c.use(ctx, r, command, e)
		}
	}
	c.missed = true
	if c.caching.Explain {
		step.step.Why = k.why
	}
	layers := len(r.added)
	err = c.run(ctx, r, command, step)
	if err == nil && k.parts != nil && len(r.added) > layers {
		made := r.added[len(r.added)-1]
		c.store(k, stepcache.Entry{Layer: made.Layer, History: made.History.CreatedBy}, content)
	}
	return err
}

// store has an entry kept under the names that its step has, when it is of a stage whose steps are kept.
func (c *course) store(k *keyed, e stepcache.Entry, content string) {
	if !c.caching.keepsOf(c.outcome[c.stage]) {
		return
	}
	names := []string{k.name}
	if content != "" && content != k.name {
		names = append(names, content)
	}
	e.Content, e.Parts = content, told(k.parts)
	c.caching.keep(k, e, append(names, k.slot))
}

// content is the name of a step when what other stages made counts by what it is, not by how it was made: "" when nobody
// knows.
func (c *course) content(ctx context.Context, k *keyed, command command) (string, error) {
	if k.parts == nil || c.above == nil {
		c.above = nil
		return "", nil
	}
	parts := slices.Clone(c.above)
	for _, p := range k.parts[1:] {
		if !strings.HasPrefix(p.Name, partStage) {
			parts = append(parts, p)
			continue
		}
		var d depends
		if err := c.dependContent(ctx, &d, k, command, p); err != nil {
			return "", err
		}
		parts = append(parts, d...)
	}
	name := nameOf("step", parts)
	c.above = follows(name)
	return name, nil
}

// dependContent adds what a step reads of a stage: the files, or for a mount all that the stage consists of.
func (c *course) dependContent(ctx context.Context, d *depends, k *keyed, command command, of stepcache.Part) error {
	if k.copy != nil {
		src, err := c.origin(ctx, command.from)
		if err != nil {
			return err
		}
		return c.dependFiles(ctx, d, src, k)
	}
	for _, from := range command.mounts {
		if from.stage == nil || partStage+from.stage.label() != of.Name {
			continue
		}
		if _, err := c.await(ctx, from.stage); err != nil {
			return err
		}
		if above := c.outcome[from.stage].above; above != nil {
			of.Value = nameOf("stage", above)
		}
	}
	d.on(of.Name, of.Value)
	return nil
}

// use puts what is kept of a step on the rootfs, as if the step had been carried out.
func (c *course) use(ctx context.Context, r *rootfs, command command, e *stepcache.Entry) error {
	if err := c.expand(r, command.Command, func(map[string]struct{}) {}); err != nil {
		return err
	}
	if dir, ok := command.Command.(*instructions.WorkdirCommand); ok {
		r.config.Config.WorkingDir = workdir(r, dir)
	}
	h := c.history(e.History)
	h.EmptyLayer = e.Layer == nil
	return c.adopt(ctx, r, e.Layer, h)
}
