package ship

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	Options    dockerfile.Options
	Step       func(dockerfile.Step) // told of each instruction; may be nil

	Layers      image.Options
	Annotations map[string]string // of the manifest

	References []imageref.Ref // pushed to when Push is set, else names in the outputs
	Push       bool
	Outputs    []Output
}

// Run builds the image and takes it where it goes. Its layers are made while they are pushed. With nowhere to go it is
// made, checked and dropped.
func (b Build) Run(ctx context.Context, registry Registry) (Result, error) {
	return timed(func() (image.Receipt, error) { return b.run(ctx, registry) })
}

func (b Build) run(ctx context.Context, registry Registry) (image.Receipt, error) {
	path := b.Dockerfile
	if path == "" {
		path = filepath.Join(b.Context, "Dockerfile")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return image.Receipt{}, &fault.Error{What: "read the Dockerfile", Where: path, Hint: "name it with -f FILE", Err: fault.Cause(err)}
	}
	file, err := dockerfile.Parse(path, data, b.Options)
	if err != nil {
		return image.Receipt{}, err
	}
	root, err := os.OpenRoot(b.Context)
	if err != nil {
		return image.Receipt{}, &fault.Error{What: "open the build context", Where: b.Context, Err: fault.Cause(err),
			Hint: "CONTEXT is a folder; an archive or a URL is not supported yet"}
	}
	defer root.Close()
	ignore, err := ignored(root, path)
	if err != nil {
		return image.Receipt{}, err
	}
	img, err := file.Build(ctx, dockerfile.Sources{Context: root, Ignore: ignore, Base: base(registry)}, b.Step)
	if err != nil {
		return image.Receipt{}, err
	}
	if err := b.Layers.Apply(img); err != nil {
		return image.Receipt{}, &fault.Error{What: "build", Where: b.Context, Err: err}
	}
	return b.deliver(ctx, registry, annotated(img, b.Annotations))
}

// ignored is the text of the ignore file that counts: the one beside the Dockerfile, which belongs to it alone, else that
// of the context (Docker's reference, "Filename and location" of .dockerignore).
func ignored(root *os.Root, dockerfile string) ([]byte, error) {
	where := dockerfile + dockerignore
	data, err := os.ReadFile(where)
	if errors.Is(err, fs.ErrNotExist) {
		where = filepath.Join(root.Name(), dockerignore)
		if data, err = root.ReadFile(dockerignore); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, &fault.Error{What: "read", Where: where, Err: fault.Cause(err)}
	}
	return data, nil
}

const dockerignore = ".dockerignore"

// base fetches base images from the registry that their reference names.
func base(registry Registry) func(context.Context, string, v1.Platform) (v1.Image, error) {
	return func(ctx context.Context, name string, platform v1.Platform) (v1.Image, error) {
		ref, err := imageref.Parse(name)
		if err != nil {
			return nil, err
		}
		return registry.Image(ctx, ref, platform)
	}
}

// deliver takes the image to its outputs, then to the registry: a disk that is full leaves no tag behind.
func (b Build) deliver(ctx context.Context, registry Registry, img v1.Image) (image.Receipt, error) {
	if err := b.write(img); err != nil {
		return image.Receipt{}, err
	}
	if b.Push {
		return registry.Push(ctx, img, b.References)
	}
	return b.keep(img)
}

// keep is what is left to do for an image that is not pushed.
func (b Build) keep(img v1.Image) (image.Receipt, error) {
	if err := image.Settle(img); err != nil {
		return image.Receipt{}, &fault.Error{What: "build", Where: b.Context, Err: err}
	}
	var r image.Receipt
	if err := r.Describe(img); err != nil {
		return r, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return r, err
	}
	for _, l := range manifest.Layers {
		r.Layers = append(r.Layers, image.LayerReceipt{Digest: l.Digest, Size: l.Size, Status: image.Built})
	}
	return r, nil
}

func (b Build) write(img v1.Image) error {
	var names []string
	for _, ref := range b.References {
		names = append(names, ref.String())
	}
	for _, o := range b.Outputs {
		if err := o.write(img, names); err != nil {
			return err
		}
	}
	return nil
}

// ParsePlatform reads OS/ARCHITECTURE[/VARIANT].
func ParsePlatform(s string) (v1.Platform, error) {
	if strings.Contains(s, ",") {
		return v1.Platform{}, fault.Usagef("build one platform at a time", "--platform %s: several platforms are not supported yet", s)
	}
	platform, err := v1.ParsePlatform(s)
	if err != nil || platform.OS == "" || platform.Architecture == "" {
		return v1.Platform{}, fault.Usagef("for example: --platform linux/arm64", "--platform %q is not OS/ARCHITECTURE", s)
	}
	return *platform, nil
}

// Output is a place on disk that an image is written to.
type Output struct {
	write func(v1.Image, []string) error
}

// ParseOutput reads oci:DIR or docker:FILE.
func ParseOutput(s string) (Output, error) {
	kind, path, _ := strings.Cut(s, ":")
	hint := "for example: -o oci:DIR or -o docker:FILE"
	switch {
	case strings.Contains(kind, "=") || kind == "local" || kind == "tar":
		return Output{}, fault.Usagef(hint, "--output %s: not supported yet", s)
	case path == "":
		return Output{}, fault.Usagef(hint, "--output %s names no destination", s)
	case kind == "oci":
		return Output{func(img v1.Image, names []string) error { return image.WriteLayout(path, img, names) }}, nil
	case kind == "docker":
		return Output{func(img v1.Image, names []string) error { return image.WriteArchive(path, img, names) }}, nil
	}
	return Output{}, fault.Usagef(hint, "--output %s: %q is no kind of output", s, kind)
}
