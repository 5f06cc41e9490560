package dockerfile

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/stepcache"
)

// Sources are what a build reads.
type Sources struct {
	Context    Context // which must stay open until the image has been read
	Ignore     []byte  // what IgnoreFile says
	IgnoreFile string  // NAME.dockerignore beside the Dockerfile, else the context's .dockerignore; as errors call it

	Contexts map[string]Context // those of Options.Contexts that are no images, which must stay open too

	// Base gives the image of a FROM or a COPY --from; oci-layout://DIR names one on disk. Its layers are read only
	// when an instruction depends on what is in them, and again when files of them are copied. Several may be asked
	// for at once.
	Base func(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error)

	// Download gives what is at an http or https address that ADD names, and when it was changed last, zero if nobody
	// knows: the same each time. The file must stay open until the image has been read. It may be nil.
	Download func(ctx context.Context, address string) (*os.File, time.Time, error)

	// Clone gives the files of a git repository that ADD names, as a tar, under the same conditions. It may be nil.
	Clone func(ctx context.Context, r Repository) (*os.File, error)

	Sandbox Sandbox                        // runs RUN; without one that is refused
	Secrets func(id string) ([]byte, bool) // of RUN --mount=type=secret; may be nil
	SSH     map[string]string              // sockets of SSH agents by their ids, of RUN --mount=type=ssh

	Caching Caching
	Layers  image.Options // how layers are made that are kept in the cache
}

// Step is one instruction: when it is begun, whenever its process says something, and again when it is done.
type Step struct {
	Stage       string // its name, or its number
	Platform    string // of the stage
	Number      int    // from 1, in the order of the Dockerfile; platforms come one after the other
	Total       int
	Line        int
	Instruction string // as written

	Output []byte // what the process of a RUN says, as it comes; not to be kept

	Done  bool
	Err   error         // why it ended without being done: context.Canceled when another one failed
	Took  time.Duration // without the layer's bytes, which are made when somebody reads them
	Layer v1.Layer      // nil without one

	Cached bool   // it is from the cache
	Why    string // it is not, as far as that was asked for
}

// Check tells Options.Warn what is doubtful about the Dockerfile, by the rules of BuildKit's linter, and returns what is
// wrong with it for sure: of the stages that the target needs, or of all when there is no target. It asks for the
// configurations of base images, and reads neither layers nor the context.
func (f *File) Check(ctx context.Context, src Sources) error {
	w, err := newWork(ctx, src, nil)
	if err != nil {
		return err
	}
	_, err = f.check(ctx, w, f.opts.Target == "")
	return err
}

func (f *File) check(ctx context.Context, w *work, all bool) (*File, error) {
	b, err := f.builder(w)
	if err != nil {
		return nil, err
	}
	defer b.tell()
	for _, s := range b.all {
		if all {
			err = b.need(s)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := b.resolve(ctx); err != nil {
		return nil, err
	}
	for _, s := range b.stages {
		if err := b.examine(ctx, s); err != nil {
			return nil, err
		}
	}
	b.warnOfUnused()
	return b.File, b.violated()
}

// Build carries out the instructions of the needed stages of one Dockerfile that was parsed for several platforms, and
// returns the target for each of them. What is the same for several is done once. Everything that can be wrong with the
// Dockerfile and the files it names is found here; the bytes of files are read by whoever reads the layers, once each, which
// may be done while ctx lives. progress may be nil.
func Build(ctx context.Context, src Sources, progress func(Step), files ...*File) ([]Image, error) {
	for _, f := range files {
		if err := f.refuse(ctx, src); err != nil {
			return nil, err
		}
	}
	w, err := newWork(ctx, src, progress)
	if err != nil {
		return nil, err
	}
	var builders []*builder
	for _, f := range files {
		b, err := f.prepared(ctx, w)
		if err != nil {
			return nil, err
		}
		defer b.tell()
		builders = append(builders, b)
	}
	if err := w.carryOut(ctx, builders); err != nil {
		return nil, err
	}
	var images []Image
	for _, b := range builders {
		img, err := b.image()
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	return images, nil
}

// prepared is a builder of a Dockerfile in which all is right as far as can be told.
func (f *File) prepared(ctx context.Context, w *work) (*builder, error) {
	checked, err := f.check(ctx, w, false)
	if err == nil {
		err = checked.refuse(ctx, w.src) // what base images demand with ONBUILD is known now
	}
	if err != nil {
		return nil, err
	}
	b, err := f.builder(w)
	if err != nil {
		return nil, err
	}
	b.findings = nil // what Parse found is told
	return b, b.resolve(ctx)
}

// builder is one pass over a Dockerfile for one platform.
type builder struct {
	*File
	*work
	outcome map[*stage]*outcome
	keys    map[*stage]string
	doubts  sync.Mutex // of findings
}

// outcome is what a stage comes to, once done is closed.
type outcome struct {
	before int // steps of the stages before it
	done   chan struct{}
	rootfs *rootfs

	above  []stepcache.Part // what a step that follows depends on by what was really read, nil when nobody knows
	missed bool             // a step was carried out though there is a cache
}

// builder reads the Dockerfile anew, for expanding variables changes BuildKit's instructions.
func (f *File) builder(w *work) (*builder, error) {
	fresh, err := Parse(f.name, f.data, f.opts)
	if err != nil {
		return nil, err
	}
	return &builder{File: fresh, work: w, outcome: map[*stage]*outcome{}, keys: map[*stage]string{}}, nil
}

// await is the rootfs of a stage when it is there.
func (b *builder) await(ctx context.Context, s *stage) (*rootfs, error) {
	o := b.outcome[s]
	select {
	case <-o.done:
		return o.rootfs, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// stage carries out one stage.
func (b *builder) stage(ctx context.Context, s *stage) (*rootfs, error) {
	parent, err := b.parent(ctx, s)
	if err != nil {
		return nil, b.fail(s.line, err)
	}
	b.report(s, 1, s.line, s.source).done(nil)
	r, course := parent.child(), b.course(s)
	for at, c := range s.commands {
		if err := course.wait(ctx, at); err != nil {
			return nil, err
		}
		step := b.report(s, at+2, c.line, fmt.Sprint(c.Command))
		layers := len(r.added)
		if err := course.take(ctx, r, at, step); err != nil {
			return nil, step.failed(ctx, b.fail(c.line, err))
		}
		step.done(r.added[layers:])
	}
	course.end()
	return r, nil
}

// wait waits for the stages that an instruction reads, unless it is in the cache: that is no part of the step.
func (c *course) wait(ctx context.Context, at int) error {
	if c.chain != nil && c.chain.steps[at] != nil && c.chain.steps[at].found != nil {
		return ctx.Err()
	}
	for _, from := range c.stage.commands[at].origins() {
		if from.stage != nil {
			if _, err := c.await(ctx, from.stage); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// examine goes through a stage for what is doubtful or wrong about its instructions, and changes configurations only.
func (b *builder) examine(ctx context.Context, s *stage) error {
	b.outcome[s] = &outcome{done: make(chan struct{})}
	parent, err := b.parent(ctx, s)
	if err != nil {
		return b.fail(s.line, err)
	}
	r := parent.child()
	for _, c := range s.commands {
		if err := b.examineCommand(r, c); err != nil {
			return b.fail(c.line, err)
		}
	}
	b.outcome[s].rootfs = r
	close(b.outcome[s].done)
	return nil
}

// parent is the rootfs that a stage starts from.
func (b *builder) parent(ctx context.Context, s *stage) (*rootfs, error) {
	if s.base.stage != nil {
		return b.await(ctx, s.base.stage)
	}
	if s.base.folder != "" {
		return &rootfs{config: emptyConfig(), folder: b.folders[s.base.folder]}, nil
	}
	r, err := b.bases.rootfs(ctx, s.base.image, s.platform)
	if err != nil {
		return nil, err
	}
	if !r.runsOn(s.platform) {
		own := r.config.Platform()
		return nil, &fault.Error{Err: fmt.Errorf("%s is for %s, not for %s", s.base.image, own, s.platform),
			Hint: fmt.Sprintf("if that is meant, write FROM --platform=%s", own)}
	}
	return r, nil
}

// doubt is warn for stages that are carried out at the same time.
func (b *builder) doubt(line int, format string, args ...any) {
	b.doubts.Lock()
	defer b.doubts.Unlock()
	b.warn(line, format, args...)
}
