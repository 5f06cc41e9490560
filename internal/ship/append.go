package ship

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Append is an image with files added, and where it goes. What is empty of its settings stays as the base has it.
type Append struct {
	Base     *Source     // nil is an image of nothing
	Platform v1.Platform // of the base; zero is linux on this machine's architecture
	Adds     []Addition  // a layer each

	Entrypoint, Cmd []string // an entrypoint of its own drops the base's command
	Env             []string // KEY=VALUE
	User, WorkDir   string
	Labels          map[string]string
	Annotations     map[string]string // of the manifest
	Created         time.Time
	Epoch           time.Time // no file is newer; zero leaves the times alone

	Options    image.Options
	References []imageref.Ref
}

// Run makes the image and pushes it; its layers are made while they are pushed.
func (a Append) Run(ctx context.Context, registry Registry) (Result, error) {
	return timed(func() (image.Receipt, error) { return a.run(ctx, registry) })
}

func (a Append) run(ctx context.Context, registry Registry) (image.Receipt, error) {
	base, closer, err := a.base(ctx, registry)
	if err != nil {
		return image.Receipt{}, err
	}
	defer closer.Close()
	adds, err := a.layers(ctx, base)
	if err != nil {
		return image.Receipt{}, err
	}
	img, err := a.configured(base)
	if err == nil {
		img, err = mutate.Append(img, adds...)
	}
	if err == nil {
		err = a.Options.Apply(img)
	}
	var made image.Artifact
	if err == nil {
		made, err = image.ForZstd(annotated(img, a.Annotations))
	}
	if err != nil {
		return image.Receipt{}, &fault.Error{What: "append to", Where: a.References[0].String(), Err: err}
	}
	if err := levelOf(a.Options, made); err != nil {
		return image.Receipt{}, err
	}
	return registry.Push(ctx, made, a.References)
}

// annotated is img with annotations in its manifest.
func annotated(img v1.Image, annotations map[string]string) v1.Image {
	if len(annotations) == 0 {
		return img
	}
	return mutate.Annotations(img, annotations).(v1.Image)
}

// base is the image for the platform.
func (a Append) base(ctx context.Context, registry Registry) (img v1.Image, closer io.Closer, err error) {
	switch {
	case a.Base == nil:
		return mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), io.NopCloser(nil), nil
	case a.Base.Path == "" && a.Base.Stream == nil:
		img, err = registry.Image(ctx, a.Base.Ref, a.platform())
		closer = io.NopCloser(nil)
	default:
		var artifact image.Artifact
		if artifact, closer, err = a.Base.open(ctx, registry, a.Options); err == nil {
			img, err = a.chosen(artifact)
		}
	}
	if err == nil {
		err = a.fits(img)
	}
	switch {
	case err == nil:
		return img, closer, nil
	case closer != nil:
		closer.Close()
	}
	return nil, nil, err
}

// platform is the one asked for, else this machine's.
func (a Append) platform() v1.Platform {
	if a.Platform.OS == "" {
		return v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	return a.Platform
}

// chosen is the artifact itself, or the image of an index that runs on the platform.
func (a Append) chosen(artifact image.Artifact) (v1.Image, error) {
	index, ok := artifact.(v1.ImageIndex)
	if !ok {
		return artifact.(v1.Image), nil
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	digest, err := image.Choose(manifest, a.platform())
	if err != nil {
		return nil, &fault.Error{What: "append to", Where: a.Base.String(), Err: err, Hint: "name one of them with --platform"}
	}
	return index.Image(digest)
}

// fits is an error when the base is for another platform than was asked for.
func (a Append) fits(base v1.Image) error {
	if a.Platform.OS == "" {
		return nil
	}
	config, err := base.ConfigFile()
	if err != nil {
		return err
	}
	is := cmp.Or(config.Platform(), &v1.Platform{})
	if _, ok := image.Suits(*is, a.Platform); ok {
		return nil
	}
	return &fault.Error{What: "append to", Where: a.Base.String(), Hint: "leave --platform out to take it as it is",
		Err: fmt.Errorf("it is for %s, not for %s", cmp.Or(is.String(), "a platform that it does not name"), a.Platform)}
}

// layers are those of the files to add.
func (a Append) layers(ctx context.Context, base v1.Image) ([]mutate.Addendum, error) {
	family, err := base.MediaType()
	if err != nil {
		return nil, err
	}
	g := &ground{}
	if a.Base != nil {
		g.base, g.name = base, a.Base.String()
	}
	var adds []mutate.Addendum
	for _, add := range a.Adds {
		l, err := add.layer(ctx, g, a.Epoch, time.Now())
		if err != nil {
			return nil, err
		}
		if family == types.DockerManifestSchema2 {
			l = image.ForDocker(l)
		}
		adds = append(adds, mutate.Addendum{Layer: l, History: v1.History{
			Created: v1.Time{Time: a.Created}, CreatedBy: "ADD " + add.To, Comment: "harborpush append"}})
	}
	return adds, nil
}

// configured is the base with the settings in its configuration.
func (a Append) configured(base v1.Image) (v1.Image, error) {
	config, err := base.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: a.Created}
	if a.Base == nil {
		p := a.platform()
		config.OS, config.Architecture, config.Variant = p.OS, p.Architecture, p.Variant
	}
	c := &config.Config
	if a.Entrypoint != nil {
		c.Entrypoint, c.Cmd = a.Entrypoint, nil
	}
	if a.Cmd != nil {
		c.Cmd = a.Cmd
	}
	for _, pair := range a.Env {
		key, _, _ := strings.Cut(pair, "=")
		c.Env = append(slices.DeleteFunc(c.Env, func(old string) bool { return strings.HasPrefix(old, key+"=") }), pair)
	}
	if a.User != "" {
		c.User = a.User
	}
	if a.WorkDir != "" {
		c.WorkingDir = a.WorkDir
	}
	if c.Labels == nil && len(a.Labels) > 0 {
		c.Labels = map[string]string{}
	}
	maps.Copy(c.Labels, a.Labels)
	return image.WithConfig(base, config)
}

// ParseCommand reads an entrypoint or a command: one flag for each word, or all of them as a JSON array.
func ParseCommand(flag string, typed []string) ([]string, error) {
	if len(typed) != 1 || !strings.HasPrefix(typed[0], "[") {
		return typed, nil
	}
	var words []string
	if err := json.Unmarshal([]byte(typed[0]), &words); err != nil {
		return nil, fault.Usagef(`for example: `+flag+` '["/app","serve"]'`, "%s %s is no JSON array of strings", flag, typed[0])
	}
	return words, nil
}
