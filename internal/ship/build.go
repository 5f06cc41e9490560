package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Build is one image to build, and where it goes.
type Build struct {
	Context    string // folder
	Dockerfile string // path; empty is Dockerfile in Context
	Text       []byte // of the Dockerfile, when Dockerfile is no path but what errors call it
	Options    dockerfile.Options
	Platforms  []v1.Platform // an image for each; none is what Options make of it
	Fetch      Fetch
	Step       func(dockerfile.Step) // told of each instruction; may be nil

	Layers      image.Options
	Annotations map[string]string // of the manifests of images
	Index       map[string]string // annotations of the index, where there are several platforms

	References []imageref.Ref // pushed to when Push is set, else names in the outputs
	Push       bool
	Outputs    []Output
	Stdout     io.Writer // of an output that names no file
}

// Fetch is how ADD gets what is elsewhere, as dockerfile.Sources has it.
type Fetch struct {
	Download func(ctx context.Context, address string) (*os.File, time.Time, error)
	Clone    func(ctx context.Context, r dockerfile.Repository) (*os.File, error)
}

// Run builds the image and takes it where it goes. Its layers are made while they are pushed. With nowhere to go it is
// made, checked and dropped.
func (b Build) Run(ctx context.Context, registry Registry) (Result, error) {
	return timed(func() (image.Receipt, error) { return b.run(ctx, registry) })
}

// Check tells Options.Warn what is doubtful about the Dockerfile, and builds nothing.
func (b Build) Check(ctx context.Context, registry Registry) error {
	files, err := b.parse()
	if err != nil {
		return err
	}
	sources, opened, err := b.sources(registry)
	defer opened.Close()
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := file.Check(ctx, sources); err != nil {
			return err
		}
	}
	return nil
}

func (b Build) run(ctx context.Context, registry Registry) (image.Receipt, error) {
	if err := b.outputs(); err != nil {
		return image.Receipt{}, err
	}
	files, err := b.parse()
	if err != nil {
		return image.Receipt{}, err
	}
	sources, opened, err := b.sources(registry)
	defer opened.Close()
	if err != nil {
		return image.Receipt{}, err
	}
	images, err := dockerfile.Build(ctx, sources, b.Step, files...)
	if err != nil {
		return image.Receipt{}, err
	}
	artifact := b.join(images)
	if err := b.Layers.Apply(artifact); err != nil {
		return image.Receipt{}, &fault.Error{What: "build", Where: b.Context, Err: err}
	}
	return b.deliver(ctx, registry, built{artifact: artifact, images: images})
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

// Path is the Dockerfile's, as errors call it.
func (b Build) Path() string {
	if b.Dockerfile == "" {
		return filepath.Join(b.Context, "Dockerfile")
	}
	return b.Dockerfile
}

// parse reads the Dockerfile for each platform. What is doubtful for several is told once.
func (b Build) parse() ([]*dockerfile.File, error) {
	data := b.Text
	if data == nil {
		var err error
		if data, err = os.ReadFile(b.Path()); err != nil {
			return nil, &fault.Error{What: "read the Dockerfile", Where: b.Path(), Hint: "name it with -f FILE", Err: fault.Cause(err)}
		}
	}
	var files []*dockerfile.File
	o := b.Options
	o.Warn = once(o.Warn)
	for i := range max(1, len(b.Platforms)) {
		if len(b.Platforms) > 0 {
			o.Platform = b.Platforms[i]
		}
		file, err := dockerfile.Parse(b.Path(), data, o)
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

// folders are what a build has open.
type folders []*os.Root

func (f folders) Close() {
	for _, root := range f {
		root.Close()
	}
}

// sources are what the build reads, and what is open for that, also when there is an error.
func (b Build) sources(registry Registry) (dockerfile.Sources, folders, error) {
	s := dockerfile.Sources{Base: base(registry), Contexts: map[string]*os.Root{}, Download: b.Fetch.Download, Clone: b.Fetch.Clone}
	root, err := os.OpenRoot(b.Context)
	if err != nil {
		return s, nil, &fault.Error{What: "open the build context", Where: b.Context, Err: fault.Cause(err),
			Hint: "CONTEXT is a folder; an archive or a URL is not supported yet"}
	}
	opened := folders{root}
	s.Context = root
	if s.Ignore, s.IgnoreFile, err = ignored(root, b.Path()); err != nil {
		return s, opened, err
	}
	for name, value := range b.Options.Contexts {
		if scheme, _, ok := strings.Cut(value, "://"); ok && (scheme == "docker-image" || scheme == "oci-layout") {
			continue
		}
		root, err := os.OpenRoot(value)
		if err != nil {
			return s, opened, &fault.Error{Kind: fault.Usage, What: "open the build context", Where: name + "=" + value, Err: fault.Cause(err),
				Hint: "--build-context takes NAME=FOLDER, NAME=docker-image://REF or NAME=oci-layout://DIR"}
		}
		opened = append(opened, root)
		s.Contexts[name] = root
	}
	return s, opened, nil
}

// ignored is the text of the ignore file that counts: the one beside the Dockerfile, which belongs to it alone, else that
// of the context (Docker's reference, "Filename and location" of .dockerignore).
func ignored(root *os.Root, dockerfile string) (text []byte, where string, err error) {
	where = dockerfile + dockerignore
	text, err = os.ReadFile(where)
	if errors.Is(err, fs.ErrNotExist) {
		where = filepath.Join(root.Name(), dockerignore)
		if text, err = root.ReadFile(dockerignore); errors.Is(err, fs.ErrNotExist) {
			return nil, where, nil
		}
	}
	if err != nil {
		return nil, where, &fault.Error{What: "read", Where: where, Err: fault.Cause(err)}
	}
	return text, where, nil
}

const dockerignore = ".dockerignore"

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
		return image.Receipt{}, &fault.Error{What: "build", Where: b.Context, Err: err}
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
