package dockerfile

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sync/errgroup"

	"github.com/ksera524/imgbump/internal/fault"
)

// work is what the builders for several platforms share: what they read, and what comes out the same for several.
type work struct {
	src     Sources
	life    context.Context // of the layers, which are read when the build is done
	files   *buildContext
	folders map[string]*buildContext
	bases   *bases

	mu           sync.Mutex          // of what follows
	layers       map[string]v1.Layer // by what they hold
	progress     func(Step)
	begun, total int
}

func newWork(ctx context.Context, src Sources, progress func(Step)) (*work, error) {
	w := &work{src: src, life: ctx, bases: newBases(src.Base), folders: map[string]*buildContext{}, layers: map[string]v1.Layer{}, progress: progress}
	var err error
	if w.files, err = newContext(src.Context, src.Ignore, src.IgnoreFile); err != nil {
		return nil, err
	}
	for name, root := range src.Contexts {
		if w.folders[name], err = openContext(root); err != nil {
			return nil, &fault.Error{What: "read the build context", Where: name, Err: err}
		}
	}
	return w, nil
}

// carryOut goes through the needed stages of all builders, those that do not wait for each other at the same time. A stage
// that is the same for several platforms is carried out for the first.
func (w *work) carryOut(ctx context.Context, builders []*builder) error {
	type job struct {
		*builder
		*stage
	}
	var jobs []job
	outcomes := map[string]*outcome{}
	for _, b := range builders {
		for _, s := range b.stages {
			key := b.key(s)
			if outcomes[key] == nil {
				outcomes[key] = &outcome{done: make(chan struct{})}
				jobs = append(jobs, job{b, s})
				w.total += 1 + len(s.commands)
			}
			b.outcome[s] = outcomes[key]
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, j := range jobs {
		group.Go(func() error {
			r, err := j.builder.stage(ctx, j.stage)
			if err == nil {
				j.outcome[j.stage].rootfs = r
				close(j.outcome[j.stage].done)
			}
			return err
		})
	}
	return group.Wait()
}

// key names all that a stage depends on and that may differ from one platform to another. Variables of the platform are seen
// by an ARG of their names only.
func (b *builder) key(s *stage) string {
	if known := b.keys[s]; known != "" {
		return known
	}
	key := sha256.New()
	fmt.Fprintf(key, "%d %s %q", s.number, s.platform, s.base.image)
	if s.base.stage != nil {
		fmt.Fprintf(key, " (%s)", b.key(s.base.stage))
	}
	for _, c := range s.commands {
		if arg, ok := c.Command.(*instructions.ArgCommand); ok {
			for _, a := range arg.Args {
				value, known := lookup(b.global, a.Key)
				fmt.Fprintf(key, " %q %t", value, known)
			}
		}
		if c.from.stage != nil {
			fmt.Fprintf(key, " (%s)", b.key(c.from.stage))
		}
		if c.from.image != "" {
			fmt.Fprintf(key, " %s", b.platform)
		}
	}
	b.keys[s] = fmt.Sprintf("%x", key.Sum(nil))
	return b.keys[s]
}

// report tells of a step that begins; done tells of it when it is over, with what it added.
func (b *builder) report(s *stage, line int, instruction string) (done func(added []mutate.Addendum)) {
	if b.progress == nil {
		return func([]mutate.Addendum) {}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun++
	step := Step{Stage: s.label(), Platform: s.platform.String(), Number: b.begun, Total: b.total, Line: line, Instruction: instruction}
	b.progress(step)
	began := time.Now()
	return func(added []mutate.Addendum) {
		b.mu.Lock()
		defer b.mu.Unlock()
		step.Done, step.Took = true, time.Since(began)
		for _, add := range added {
			step.Layer = add.Layer
		}
		b.progress(step)
	}
}
