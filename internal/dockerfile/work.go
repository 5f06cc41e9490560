package dockerfile

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
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
	caching *caching // nil without a cache

	mu       sync.Mutex                   // of what follows
	layers   map[string]v1.Layer          // by what they hold
	known    map[string]map[string]string // sums of what plans write, by the plans' identities
	progress func(Step)
	steps    int // of all stages
}

func newWork(ctx context.Context, src Sources, progress func(Step)) (*work, error) {
	caching := newCaching(ctx, src)
	src.Sandbox = caching.keepMounts(src.Sandbox)
	w := &work{src: src, life: ctx, bases: newBases(src), folders: map[string]*buildContext{}, layers: map[string]v1.Layer{}, known: map[string]map[string]string{}, progress: progress,
		caching: caching}
	var err error
	if w.files, err = newContext(src.Context, src.Ignore, src.IgnoreFile); err != nil {
		return nil, err
	}
	for name, files := range src.Contexts {
		if w.folders[name], err = openContext(files); err != nil {
			return nil, &fault.Error{What: "read the build context", Where: name, Err: err}
		}
	}
	return w, nil
}

// job is a stage to be carried out.
type job struct {
	*builder
	*stage
}

func (j job) of() *outcome { return j.outcome[j.stage] }

// carryOut goes through the needed stages of all builders, those that do not wait for each other at the same time. A stage
// that is the same for several platforms is carried out for the first.
func (w *work) carryOut(ctx context.Context, builders []*builder) error {
	var jobs []job
	outcomes := map[string]*outcome{}
	for _, b := range builders {
		for _, s := range b.stages {
			key := b.key(s)
			if outcomes[key] == nil {
				outcomes[key] = &outcome{done: make(chan struct{})}
				jobs = append(jobs, job{b, s})
			}
			b.outcome[s] = outcomes[key]
		}
	}
	if w.caching != nil {
		needed, err := w.lookAhead(ctx, builders)
		if err != nil {
			return err
		}
		jobs = slices.DeleteFunc(jobs, func(j job) bool { return !needed[j.of()] })
		defer w.caching.keeping.Wait()
	}
	for _, j := range jobs {
		j.of().before = w.steps
		w.steps += 1 + len(j.stage.commands)
		if err := j.expectRun(ctx, j.stage); err != nil {
			return err
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
	err := group.Wait()
	if k, ok := w.src.Sandbox.(*mountKeeper); ok {
		k.keepAll()
	}
	return err
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
		for _, from := range c.origins() {
			if from.stage != nil {
				fmt.Fprintf(key, " (%s)", b.key(from.stage))
			}
			if from.image != "" {
				fmt.Fprintf(key, " %s", b.platform)
			}
		}
	}
	b.keys[s] = fmt.Sprintf("%x", key.Sum(nil))
	return b.keys[s]
}

// report tells of a step that begins, the nth of its stage.
func (b *builder) report(s *stage, n, line int, instruction string) *reported {
	r := &reported{work: b.work, began: time.Now()}
	if b.progress == nil {
		return r
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r.step = Step{Stage: s.label(), Platform: s.platform.String(), Number: b.outcome[s].before + n, Total: b.steps, Line: line, Instruction: instruction}
	b.progress(r.step)
	return r
}

// reported is a step that is on its way. What is written to it is the output of its process.
type reported struct {
	*work
	step  Step
	began time.Time
}

func (r *reported) Write(output []byte) (int, error) {
	if r.progress == nil {
		return len(output), nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	step := r.step
	step.Output = output
	r.progress(step)
	return len(output), nil
}

// failed tells that the step could not be carried out.
func (r *reported) failed(ctx context.Context, err error) error {
	if r.progress != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.step.Err, r.step.Took = err, time.Since(r.began)
		if ctx.Err() != nil {
			r.step.Err = ctx.Err()
		}
		r.progress(r.step)
	}
	return err
}

// done tells of the step when it is over, with what it added.
func (r *reported) done(added []mutate.Addendum) {
	if r.progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step.Done, r.step.Took = true, time.Since(r.began)
	for _, add := range added {
		r.step.Layer = add.Layer
	}
	r.progress(r.step)
}
