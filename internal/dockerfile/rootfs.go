package dockerfile

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"golang.org/x/sync/errgroup"
)

// rootfs is an image on its way: what it started from, its config so far, what its instructions added, and, once
// somebody asks, its tree.
type rootfs struct {
	base          v1.Image // nil for scratch
	docker        bool     // the base's media types are Docker's
	config        *v1.ConfigFile
	startInterval time.Duration // of the health check, which go-containerregistry's type lacks
	env           []string      // what variables expand to: ENV and ARG
	args          []string      // names of ARGs so far
	added         []mutate.Addendum
	hasCMD        bool            // set in this stage
	labelled      map[string]bool // by the Dockerfile
	lint          stageLint
	folder        *buildContext // what it is instead of an image; nothing starts from one

	sheets  []*sheet // the layers in the sandbox
	sandbox Sandbox  // where an image's are laid; nil without a sandbox, and for stages

	mu      sync.Mutex // of what follows, for several stages may ask for the tree
	carries bool       // a RUN stands on the image, so that it will be laid
	lies    bool       // the image is laid
	tree    *tree
	parent  *rootfs   // whose tree it starts with
	pending []overlay // what goes on top of the parent's, while there is no tree
}

// overlay puts what was made apart from a tree on top of it.
type overlay func(ctx context.Context, t *tree) error

// child is what a FROM makes of r, as the stage's own.
func (r *rootfs) child() *rootfs {
	declared := map[string]bool{}
	for name := range r.lint.declared {
		declared[name] = true
	}
	c := &rootfs{base: r.base, docker: r.docker, config: r.config.DeepCopy(), startInterval: r.startInterval, env: slices.Clone(r.env),
		added: slices.Clone(r.added), args: slices.Clone(r.args), sheets: slices.Clone(r.sheets), folder: r.folder, parent: r, labelled: maps.Clone(r.labelled),
		lint: stageLint{declared: declared, last: map[string][]parser.Range{}, hasWorkdir: r.lint.hasWorkdir}}
	c.config.Config.OnBuild = nil
	return c
}

// files is the tree of a rootfs; that of an image is read when first asked for.
func (r *rootfs) files(ctx context.Context) (*tree, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
		t, err = r.imageTree(ctx)
	default:
		t = newTree()
	}
	if err != nil {
		return nil, err
	}
	for _, put := range r.pending {
		if err := put(ctx, t); err != nil {
			return nil, err
		}
	}
	r.tree, r.pending = t, nil
	return t, nil
}

// imageTree reads the image that r is. If it will be laid, that is done on the way.
func (r *rootfs) imageTree(ctx context.Context) (*tree, error) {
	layers, err := r.base.Layers()
	if err != nil {
		return nil, err
	}
	if !r.carries || r.sandbox == nil {
		return readTree(ctx, layers, nil)
	}
	t, err := r.unpackRead(ctx, layers)
	r.lies = err == nil
	return t, err
}

// overlay puts something on top, once there is a tree.
func (r *rootfs) overlay(ctx context.Context, put overlay) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tree != nil {
		return put(ctx, r.tree)
	}
	r.pending = append(r.pending, put)
	return nil
}

// runsOn reports whether an image is for a platform, or does not say what it is for. Variants are not compared, for one
// may run what is for another.
func (r *rootfs) runsOn(p v1.Platform) bool {
	own := normalize(v1.Platform{OS: r.config.OS, Architecture: r.config.Architecture})
	return own.Architecture == "" || own.OS == p.OS && own.Architecture == p.Architecture
}

// bases are the images that FROM and COPY --from name, each asked for once per platform.
type bases struct {
	fetch   func(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error)
	sandbox Sandbox
	prefix  string // of this build's ids in the sandbox

	mu    sync.Mutex // of what follows
	known map[string]func() (*rootfs, error)
	ids   int
	parts map[part]*sheet
}

// part is a file or directory that a mount shows for itself.
type part struct {
	source
	name string
}

// newID is an id for a layer in the sandbox.
func (b *bases) newID() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ids++
	return fmt.Sprintf("%s-%d", b.prefix, b.ids)
}

// part is the layer in which a mount shows what is at a name, which is laid there once.
func (b *bases) part(src source, name string, lay func(ctx context.Context, id string) error) *sheet {
	id := b.newID()
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.parts[part{src, name}]; known != nil {
		return known
	}
	s := &sheet{id: id, lay: func(ctx context.Context) error { return lay(ctx, id) }}
	b.parts[part{src, name}] = s
	return s
}

func newBases(src Sources) *bases {
	return &bases{fetch: src.Base, sandbox: src.Sandbox, prefix: strings.ToLower(rand.Text()[:12]), known: map[string]func() (*rootfs, error){}, parts: map[part]*sheet{}}
}

// rootfs is the image of a name, for a platform.
func (b *bases) rootfs(ctx context.Context, ref string, platform v1.Platform) (*rootfs, error) {
	key := ref + " " + platform.String()
	b.mu.Lock()
	get := b.known[key]
	if get == nil {
		get = sync.OnceValues(func() (*rootfs, error) { return b.read(ctx, ref, platform) })
		b.known[key] = get
	}
	b.mu.Unlock()
	return get()
}

// defaultPath is PATH in an image that sets none, as BuildKit has it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func emptyConfig() *v1.ConfigFile {
	return &v1.ConfigFile{RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{WorkingDir: "/"}}
}

func (b *bases) read(ctx context.Context, ref string, platform v1.Platform) (*rootfs, error) {
	r := &rootfs{config: emptyConfig()}
	if ref != scratch {
		img, err := b.fetch(ctx, ref, platform)
		if err != nil {
			return nil, err
		}
		config, err := img.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("reading the config of %s: %w", ref, err)
		}
		family, err := img.MediaType()
		if err != nil {
			return nil, fmt.Errorf("reading the manifest of %s: %w", ref, err)
		}
		r.base, r.config, r.docker = img, inherited(config), family == types.DockerManifestSchema2
		r.sandbox, r.sheets = b.sandbox, []*sheet{{id: b.newID(), lay: r.lay}}
		if r.startInterval, err = startInterval(img); err != nil {
			return nil, fmt.Errorf("reading the config of %s: %w", ref, err)
		}
	}
	if _, ok := lookup(r.config.Config.Env, "PATH"); !ok {
		r.config.Config.Env = append(r.config.Config.Env, "PATH="+defaultPath)
	}
	r.env = slices.Clone(r.config.Config.Env)
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

// startInterval is that of an image's health check.
func startInterval(img v1.Image) (time.Duration, error) {
	raw, err := img.RawConfigFile()
	if err != nil {
		return 0, err
	}
	var config struct {
		Config struct {
			Healthcheck struct{ StartInterval time.Duration }
		} `json:"config"`
	}
	err = json.Unmarshal(raw, &config)
	return config.Config.Healthcheck.StartInterval, err
}

// resolve asks for all images that the needed stages name, at once, and links what those demand with ONBUILD, which may
// make further stages and images needed.
func (b *builder) resolve(ctx context.Context) error {
	for {
		if err := b.fetch(ctx); err != nil {
			return err
		}
		waiting := slices.IndexFunc(b.stages, func(s *stage) bool { return !s.triggered })
		if waiting < 0 {
			return nil
		}
		for _, s := range slices.Clone(b.stages) {
			if err := b.demanded(ctx, s); err != nil {
				return b.fail(s.line, err)
			}
		}
	}
}

// fetch asks for the images of the needed stages, and returns the error that comes first in the file.
func (b *builder) fetch(ctx context.Context) error {
	var group errgroup.Group
	failures := make([]error, len(b.stages))
	for i, s := range b.stages {
		group.Go(func() error {
			failures[i] = b.fetchFor(ctx, s)
			return nil
		})
	}
	group.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) fetchFor(ctx context.Context, s *stage) error {
	if s.base.image != "" {
		if _, err := b.bases.rootfs(ctx, s.base.image, s.platform); err != nil {
			return b.fail(s.line, b.noStage(s.base.image, err))
		}
	}
	for _, c := range s.commands {
		for _, from := range c.origins() {
			if from.image == "" {
				continue
			}
			if _, err := b.bases.rootfs(ctx, from.image, b.platform); err != nil {
				return b.fail(c.line, b.noStage(from.image, err))
			}
		}
	}
	return nil
}

// noStage is the error of an image that could not be had, with a word on a stage that may have been meant.
func (b *builder) noStage(ref string, err error) error {
	var names []string
	for _, s := range b.all {
		if s.name != "" {
			names = append(names, s.name)
		}
	}
	if meant := near(ref, names); meant != "" {
		return fmt.Errorf("no stage is called %s%s, and as an image: %w", ref, meant, err)
	}
	return err
}

// demanded puts what a stage's base image demands with ONBUILD before the stage's own instructions.
func (b *builder) demanded(ctx context.Context, s *stage) error {
	if s.triggered {
		return nil
	}
	s.triggered = true
	if s.base.image == "" {
		return nil
	}
	r, err := b.bases.rootfs(ctx, s.base.image, s.platform)
	if err != nil {
		return err
	}
	before := len(s.commands)
	err = b.trigger(s, r.config.Config.OnBuild)
	if err == nil {
		err = b.link(s, s.commands[:len(s.commands)-before])
	}
	if err != nil {
		return fmt.Errorf("the base image demands it: %w", err)
	}
	return nil
}
