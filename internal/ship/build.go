package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/stepcache"
)

// Build is one image to build, and where it goes.
type Build struct {
	Context    string   // a folder, a tar, the address of a tar or of a git repository, or - for Stdin
	Stdin      *os.File // a tar, or a Dockerfile alone
	Dockerfile string   // path, in the context unless that is a folder; empty is Dockerfile in it
	Text       []byte   // of the Dockerfile, when Dockerfile is no path but what errors call it
	Options    dockerfile.Options
	Platforms  []v1.Platform // an image for each; none is what Options make of it
	Fetch      Fetch
	Step       func(dockerfile.Step) // told of each instruction; may be nil
	Caching    dockerfile.Caching

	// What RUN gets, as dockerfile.Sources has it.
	Sandbox Sandbox
	Secrets func(id string) ([]byte, bool)
	SSH     map[string]string

	Layers      image.Options
	Annotations map[string]string // of the manifests of images
	Index       map[string]string // annotations of the index, where there are several platforms

	References []imageref.Ref // pushed to when Push is set, else names in the outputs
	Push       bool
	Outputs    []Output
	Stdout     io.Writer // of an output that names no file
}

// Sandbox is what runs RUN. Probe says why it cannot, nil when it can.
type Sandbox interface {
	dockerfile.Sandbox
	Probe(ctx context.Context) error
}

// Run builds the image and takes it where it goes. Its layers are made while they are pushed. With nowhere to go it is
// made, checked and dropped.
func (b Build) Run(ctx context.Context, registry Registry) (Result, error) {
	return timed(func() (image.Receipt, error) { return b.run(ctx, registry) })
}

// Check tells Options.Warn what is doubtful about the Dockerfile, and builds nothing. That something is, is an error.
func (b Build) Check(ctx context.Context, registry Registry) error {
	findings, warn := 0, b.Options.Warn
	b.Options.Warn = func(file string, line int, message string) {
		findings++
		warn(file, line, message)
	}
	var opened closers
	defer opened.Close()
	files, sources, err := b.read(ctx, registry, &opened)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := file.Check(ctx, sources); err != nil {
			return err
		}
	}
	if findings > 0 {
		return &fault.Error{Kind: fault.Gate, What: "check", Where: files[0].Name(), Err: fmt.Errorf("%d findings", findings),
			Hint: "the rules are explained at https://docs.docker.com/reference/build-checks/"}
	}
	return nil
}

func (b Build) run(ctx context.Context, registry Registry) (image.Receipt, error) {
	if err := b.outputs(); err != nil {
		return image.Receipt{}, err
	}
	var opened closers
	defer opened.Close()
	files, sources, err := b.read(ctx, registry, &opened)
	if err != nil {
		return image.Receipt{}, err
	}
	if err := b.possible(ctx, files); err != nil {
		return image.Receipt{}, err
	}
	receipt, err := b.carryOut(ctx, registry, sources, files)
	if errors.Is(err, stepcache.ErrLost) && !sources.Caching.Fresh && !slices.ContainsFunc(b.Outputs, Output.Streams) {
		sources.Caching.Warn(err)
		sources.Caching.Fresh = true
		return b.carryOut(ctx, registry, sources, files)
	}
	return receipt, err
}

// carryOut builds the image and delivers it.
func (b Build) carryOut(ctx context.Context, registry Registry, sources dockerfile.Sources, files []*dockerfile.File) (image.Receipt, error) {
	images, err := dockerfile.Build(ctx, sources, b.Step, files...)
	if err != nil {
		return image.Receipt{}, err
	}
	artifact := b.join(images)
	err = b.Layers.Apply(artifact)
	if err == nil {
		artifact, err = image.ForZstd(artifact)
	}
	if err != nil {
		return image.Receipt{}, &fault.Error{What: "build", Where: ContextName(b.Context), Err: err}
	}
	return b.deliver(ctx, registry, built{artifact: artifact, images: images})
}

// possible is the error that RUN would end with, before anything is built. Where there is a cache, all RUNs may be in it.
func (b Build) possible(ctx context.Context, files []*dockerfile.File) error {
	if b.Sandbox == nil || len(b.Caching.From) > 0 || !slices.ContainsFunc(files, (*dockerfile.File).Runs) {
		return nil
	}
	if err := b.Sandbox.Probe(ctx); err != nil {
		return &fault.Error{Kind: fault.KindOf(err), What: "carry out RUN of", Where: files[0].Name(), Err: err}
	}
	return nil
}

// join is the image, or those for several platforms as one.
func (b Build) join(images []dockerfile.Image) image.Artifact {
	var all []v1.Image
	var platforms []*v1.Platform
	for _, img := range images {
		all = append(all, annotated(img.Image, b.Annotations))
		platforms = append(platforms, &img.Runs)
	}
	if len(all) == 1 {
		return all[0]
	}
	joined := image.JoinFor(all, platforms)
	joined.Annotations = b.Index
	return joined
}

// read reads the Dockerfile, and opens what the build reads besides.
func (b Build) read(ctx context.Context, registry Registry, opened *closers) ([]*dockerfile.File, dockerfile.Sources, error) {
	main, err := b.open(ctx, b.Context, opened)
	if err != nil {
		return nil, dockerfile.Sources{}, err
	}
	text, err := b.dockerfile(main)
	if err != nil {
		return nil, dockerfile.Sources{}, err
	}
	files, err := b.parse(b.path(main), text)
	if err != nil {
		return nil, dockerfile.Sources{}, err
	}
	s, err := b.sources(ctx, registry, main, opened)
	return files, s, err
}

// sources are what the build reads besides the Dockerfile.
func (b Build) sources(ctx context.Context, registry Registry, main place, opened *closers) (s dockerfile.Sources, err error) {
	s = dockerfile.Sources{Base: base(registry), Context: main.Context, Contexts: map[string]dockerfile.Context{}, Download: b.Fetch.Download, Clone: b.Fetch.Clone,
		Caching: b.Caching, Layers: b.Layers, Secrets: b.Secrets, SSH: b.SSH}
	if b.Sandbox != nil {
		s.Sandbox = b.Sandbox
	}
	if s.Ignore, s.IgnoreFile, err = b.ignored(main); err != nil {
		return s, err
	}
	for name, value := range b.Options.Contexts {
		if scheme, _, ok := strings.Cut(value, "://"); ok && (scheme == "docker-image" || scheme == "oci-layout") {
			continue
		}
		if s.Contexts[name], err = b.openNamed(ctx, name, value, opened); err != nil {
			return s, err
		}
	}
	return s, nil
}

// parse reads the Dockerfile for each platform. What is doubtful for several is told once.
func (b Build) parse(path string, text []byte) ([]*dockerfile.File, error) {
	var files []*dockerfile.File
	o := b.Options
	o.Warn = once(o.Warn)
	for i := range max(1, len(b.Platforms)) {
		if len(b.Platforms) > 0 {
			o.Platform = b.Platforms[i]
		}
		file, err := dockerfile.Parse(path, text, o)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func once(warn func(file string, line int, message string)) func(string, int, string) {
	told := map[string]bool{}
	return func(file string, line int, message string) {
		if key := fmt.Sprint(file, line, message); warn != nil && !told[key] {
			told[key] = true
			warn(file, line, message)
		}
	}
}

// base fetches base images from the registry that their reference names.
func base(registry Registry) func(context.Context, string, v1.Platform) (v1.Image, error) {
	return func(ctx context.Context, name string, platform v1.Platform) (v1.Image, error) {
		if dir, ok := strings.CutPrefix(name, "oci-layout://"); ok {
			return layoutImage(ctx, dir, platform)
		}
		ref, err := imageref.Parse(name)
		if err != nil {
			return nil, err
		}
		return registry.Image(ctx, ref, platform)
	}
}

// layoutImage is the image for a platform of a layout on disk, DIR or DIR@DIGEST, whose digest must be that.
func layoutImage(ctx context.Context, spec string, platform v1.Platform) (v1.Image, error) {
	dir, wanted, _ := strings.Cut(spec, "@")
	artifact, _, err := image.Open(ctx, dir) // it is read as long as the process builds
	if err != nil {
		return nil, err
	}
	digest, err := artifact.Digest()
	if err != nil {
		return nil, err
	}
	if wanted != "" && digest.String() != wanted {
		return nil, fmt.Errorf("%s holds %s, not %s", dir, digest, wanted)
	}
	index, ok := artifact.(v1.ImageIndex)
	if !ok {
		return artifact.(v1.Image), nil
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	chosen, err := image.Choose(manifest, platform)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return index.Image(chosen)
}

// built is what came of a build.
type built struct {
	artifact image.Artifact
	images   []dockerfile.Image
}

// deliver takes the image to its outputs, then to the registry: a disk that is full leaves no tag behind.
func (b Build) deliver(ctx context.Context, registry Registry, made built) (image.Receipt, error) {
	if err := b.write(ctx, made); err != nil {
		return image.Receipt{}, err
	}
	if b.Push {
		return registry.Push(ctx, made.artifact, b.References)
	}
	return b.keep(made.artifact)
}

// keep is what is left to do for an image that is not pushed.
func (b Build) keep(a image.Artifact) (image.Receipt, error) {
	if err := image.Settle(a); err != nil {
		return image.Receipt{}, &fault.Error{What: "build", Where: ContextName(b.Context), Err: err}
	}
	var r image.Receipt
	if err := r.Describe(a); err != nil {
		return r, err
	}
	seen := map[v1.Hash]bool{}
	for _, img := range image.Parts(a) {
		manifest, err := img.Manifest()
		if err != nil {
			return r, err
		}
		for _, l := range manifest.Layers {
			if !seen[l.Digest] {
				seen[l.Digest] = true
				r.Layers = append(r.Layers, image.LayerReceipt{Digest: l.Digest, Size: l.Size, Status: image.Built})
			}
		}
	}
	return r, nil
}
