package dockerfile

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// Sources are what a build reads.
type Sources struct {
	Context *os.Root // must stay open until the image has been read
	Ignore  []byte   // the text of NAME.dockerignore beside the Dockerfile, else of .dockerignore in the context

	// Base gives the image of a FROM or a COPY --from. Its layers are read only when an instruction depends on
	// what is in them, and again when files of them are copied.
	Base func(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error)
}

// Step is one instruction that is about to be carried out.
type Step struct {
	Stage       string // its name, or its number
	Number      int    // from 1
	Total       int
	Line        int
	Instruction string // as written
}

// Build carries out the instructions of the needed stages and returns the target as an image. Everything that can
// be wrong with the Dockerfile and the files it names is found here; the bytes of files are read by whoever reads
// the image's layers, once each. progress may be nil.
func (f *File) Build(ctx context.Context, src Sources, progress func(Step)) (v1.Image, error) {
	fresh, err := Parse(f.name, f.data, f.opts) // for expanding variables changes BuildKit's instructions
	if err != nil {
		return nil, err
	}
	files, err := newContext(src.Context, src.Ignore)
	if err != nil {
		return nil, fmt.Errorf("reading .dockerignore: %w", err)
	}
	b := &builder{File: fresh, src: src, files: files, progress: progress, rootfs: map[*stage]*rootfs{}, images: map[string]*rootfs{}}
	for _, s := range fresh.stages {
		b.total += 1 + len(s.commands)
	}
	for _, s := range fresh.stages {
		if b.rootfs[s], err = b.stage(ctx, s); err != nil {
			return nil, err
		}
	}
	b.warnOfUnused()
	last := fresh.stages[len(fresh.stages)-1]
	return b.finish(b.rootfs[last], last.platform)
}

// builder is one build.
type builder struct {
	*File
	src         Sources
	files       *buildContext
	progress    func(Step)
	done, total int
	rootfs      map[*stage]*rootfs
	images      map[string]*rootfs // what FROM and COPY --from name, by reference and platform
}

// rootfs is an image on its way: what it started from, its config so far, what its instructions added, and, once
// somebody asks, its tree.
type rootfs struct {
	base   v1.Image // nil for scratch
	config *v1.ConfigFile
	env    []string // what variables expand to: ENV and ARG
	added  []mutate.Addendum
	hasCMD bool // set in this stage

	tree    *tree
	parent  *rootfs // whose tree it starts with
	pending []*tree // of linked copies, while there is no tree
}

// files is the tree of a rootfs; that of an image is read when first asked for.
func (r *rootfs) files(ctx context.Context) (*tree, error) {
	if r.tree != nil {
		return r.tree, nil
	}
	var t *tree
	var err error
	switch {
	case r.parent != nil:
		if t, err = r.parent.files(ctx); err == nil {
			t = t.clone()
		}
	case r.base != nil:
		t, err = imageTree(ctx, r.base)
	default:
		t = newTree()
	}
	if err != nil {
		return nil, err
	}
	for _, linked := range r.pending {
		t.merge(linked)
	}
	r.tree, r.pending = t, nil
	return t, nil
}

// overlay puts a tree that was made apart on top.
func (r *rootfs) overlay(t *tree) {
	if r.tree == nil {
		r.pending = append(r.pending, t)
	} else {
		r.tree.merge(t)
	}
}

// stage carries out one stage.
func (b *builder) stage(ctx context.Context, s *stage) (*rootfs, error) {
	b.report(s, s.line, s.source)
	r, err := b.start(ctx, s)
	if err != nil {
		return nil, b.fail(s.line, err)
	}
	triggers, err := b.imageTriggers(s, r)
	if err != nil {
		return nil, b.fail(s.line, err)
	}
	r.config.Config.OnBuild = nil
	for _, c := range append(triggers, s.commands...) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b.report(s, c.line, fmt.Sprint(c.Command))
		if err := b.run(ctx, r, c); err != nil {
			return nil, b.fail(c.line, err)
		}
	}
	return r, nil
}

func (b *builder) report(s *stage, line int, instruction string) {
	b.done++
	if b.progress != nil {
		b.progress(Step{Stage: s.label(), Number: b.done, Total: b.total, Line: line, Instruction: instruction})
	}
}

// start is what a FROM names, as the stage's own.
func (b *builder) start(ctx context.Context, s *stage) (*rootfs, error) {
	p := b.rootfs[s.parent]
	if s.parent == nil {
		var err error
		if p, err = b.fetch(ctx, s.image, s.platform); err != nil {
			return nil, err
		}
		if !p.runsOn(s.platform) {
			own := p.config.Platform()
			return nil, &fault.Error{Err: fmt.Errorf("%s is for %s, not for %s", s.image, own, s.platform),
				Hint: fmt.Sprintf("if that is meant, write FROM --platform=%s", own)}
		}
	}
	return &rootfs{base: p.base, config: p.config.DeepCopy(), env: slices.Clone(p.env), added: slices.Clone(p.added), parent: p}, nil
}

// defaultPath is PATH in an image that sets none, as BuildKit has it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// fetch is the rootfs of an image, asked for once per platform.
func (b *builder) fetch(ctx context.Context, ref string, platform v1.Platform) (*rootfs, error) {
	key := ref + " " + platform.String()
	if known := b.images[key]; known != nil {
		return known, nil
	}
	r := &rootfs{config: &v1.ConfigFile{RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{WorkingDir: "/"}}}
	if ref != scratch {
		img, err := b.src.Base(ctx, ref, platform)
		if err != nil {
			return nil, err
		}
		config, err := img.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("reading the config of %s: %w", ref, err)
		}
		r.base, r.config = img, inherited(config)
	}
	if _, ok := lookup(r.config.Config.Env, "PATH"); !ok {
		r.config.Config.Env = append(r.config.Config.Env, "PATH="+defaultPath)
	}
	r.env = slices.Clone(r.config.Config.Env)
	b.images[key] = r
	return r, nil
}

// inherited is what an image hands down: the fields that the OCI image specification and Docker's build
// instructions know. What else was recorded when it was made describes that image only.
func inherited(c *v1.ConfigFile) *v1.ConfigFile {
	c = c.DeepCopy()
	return &v1.ConfigFile{
		OS: c.OS, Architecture: c.Architecture, Variant: c.Variant, OSVersion: c.OSVersion, OSFeatures: c.OSFeatures,
		Author: c.Author, History: c.History, RootFS: c.RootFS,
		Config: v1.Config{
			User: c.Config.User, ExposedPorts: c.Config.ExposedPorts, Env: c.Config.Env, Entrypoint: c.Config.Entrypoint,
			Cmd: c.Config.Cmd, Volumes: c.Config.Volumes, WorkingDir: c.Config.WorkingDir, Labels: c.Config.Labels,
			StopSignal: c.Config.StopSignal, ArgsEscaped: c.Config.ArgsEscaped, Healthcheck: c.Config.Healthcheck,
			OnBuild: c.Config.OnBuild, Shell: c.Config.Shell,
		},
	}
}

// imageTriggers are the ONBUILD instructions of a base image; those of a stage are linked already.
func (b *builder) imageTriggers(s *stage, r *rootfs) ([]command, error) {
	if s.parent != nil {
		return nil, nil
	}
	var commands []command
	for _, expression := range r.config.Config.OnBuild {
		c, err := parseTrigger(expression)
		if err == nil {
			err = supported(c)
		}
		if err != nil {
			return nil, fmt.Errorf("the base image demands ONBUILD %s: %w", expression, err)
		}
		if copied, ok := c.(*instructions.CopyCommand); ok && copied.From != "" {
			return nil, notYet("--from in the base image's ONBUILD "+expression, "start FROM the image without ONBUILD")
		}
		commands = append(commands, command{Command: c, line: s.line})
	}
	b.total += len(commands)
	return commands, nil
}

// runsOn reports whether an image is for a platform, or does not say what it is for. Variants are not compared, for one
// may run what is for another.
func (r *rootfs) runsOn(p v1.Platform) bool {
	own := normalize(v1.Platform{OS: r.config.OS, Architecture: r.config.Architecture})
	return own.Architecture == "" || own.OS == p.OS && own.Architecture == p.Architecture
}

// finish is a rootfs as an image: of its base's media types, or OCI's. It is for the platform that was asked for, for that
// of its stage when none was, as with BuildKit.
func (b *builder) finish(r *rootfs, platform v1.Platform) (v1.Image, error) {
	if b.opts.Platform.OS != "" {
		platform = b.platform
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if r.base != nil {
		base = unannotated{r.base}
	}
	config := r.config.DeepCopy()
	config.Created = v1.Time{Time: b.created()}
	config.OS, config.Architecture = platform.OS, platform.Architecture
	if platform.Variant != "" || config.Architecture != r.config.Architecture {
		config.Variant = platform.Variant
	}
	if len(b.opts.Labels) > 0 && config.Config.Labels == nil {
		config.Config.Labels = map[string]string{}
	}
	maps.Copy(config.Config.Labels, b.opts.Labels)
	img, err := mutate.ConfigFile(base, config)
	if err != nil {
		return nil, err
	}
	family, err := base.MediaType()
	if err != nil {
		return nil, err
	}
	for i, add := range r.added {
		if add.Layer != nil && family == types.DockerManifestSchema2 {
			r.added[i].Layer = image.ForDocker(add.Layer)
		}
	}
	return mutate.Append(img, r.added...)
}

// created is the time that the image and what it creates bear, in the zone that makes it comparable.
func (b *builder) created() time.Time { return b.opts.Created.UTC() }

// unannotated is a base image without its manifest's annotations: they tell of that image, its revision and when
// it was made, not of one that starts from it.
type unannotated struct{ v1.Image }

func (u unannotated) Manifest() (*v1.Manifest, error) {
	m, err := u.Image.Manifest()
	if err != nil {
		return nil, err
	}
	m = m.DeepCopy()
	m.Annotations = nil
	return m, nil
}
