package dockerfile

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/image"
)

// Image is what a Dockerfile comes to for one platform.
type Image struct {
	v1.Image
	Platform v1.Platform // that was asked for
	Runs     v1.Platform // as the image says it: its base may have told a variant

	rootfs *rootfs
	latest time.Time
}

// image is the target: of its base's media types, or OCI's. It is for the platform that was asked for, for that of its stage
// when none was, as with BuildKit.
func (b *builder) image() (Image, error) {
	last, err := b.target()
	if err != nil {
		return Image{}, err
	}
	made := Image{Platform: last.platform, rootfs: b.outcome[last].rootfs, latest: b.latest}
	if b.opts.Platform.OS != "" {
		made.Platform = b.platform
	}
	return made, b.finish(&made)
}

// WriteFiles puts all files of the image into a tar, directories before what is in them; all below a directory of one name
// if that is not empty.
func (i Image) WriteFiles(ctx context.Context, tw *tar.Writer, below string) error {
	t, err := i.rootfs.files(ctx)
	if err != nil {
		return err
	}
	p := &plan{tree: t, changes: map[string]*file{}, latest: i.latest}
	if below != "" {
		below = "/" + below
		p.changes[below] = t.root.file
	}
	t.root.walk(below, func(name string, f *file) { p.changes[name] = f })
	return p.write(ctx, tw)
}

// finish makes the image of its rootfs.
func (b *builder) finish(made *Image) (err error) {
	r, platform := made.rootfs, made.Platform
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if r.base != nil {
		base = image.Unannotated(r.base)
	}
	config := r.config.DeepCopy()
	config.Created = v1.Time{Time: b.created}
	config.OS, config.Architecture = platform.OS, platform.Architecture
	if platform.Variant != "" || config.Architecture != r.config.Architecture {
		config.Variant = platform.Variant
	}
	for key, value := range b.opts.Origin {
		if !r.labelled[key] {
			put(&config.Config.Labels, key, value)
		}
	}
	for key, value := range b.opts.Labels {
		put(&config.Config.Labels, key, value)
	}
	made.Runs = v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant, OSVersion: config.OSVersion, OSFeatures: config.OSFeatures}
	made.Image, err = mutate.ConfigFile(base, config)
	if err == nil {
		made.Image, err = mutate.Append(made.Image, b.caching.asKept(r.added)...)
	}
	if r.startInterval != 0 {
		made.Image = supervised{made.Image, r.startInterval}
	}
	return err
}

// supervised is an image whose health check has a start interval, a field that go-containerregistry does not know.
type supervised struct {
	v1.Image
	startInterval time.Duration
}

func (s supervised) RawConfigFile() ([]byte, error) {
	raw, err := s.Image.RawConfigFile()
	if err != nil {
		return nil, err
	}
	var whole map[string]any
	numbers := json.NewDecoder(bytes.NewReader(raw))
	numbers.UseNumber()
	if err := numbers.Decode(&whole); err != nil {
		return nil, err
	}
	config, _ := whole["config"].(map[string]any)
	check, ok := config["Healthcheck"].(map[string]any)
	if !ok {
		return nil, errors.New("the image has lost its health check")
	}
	check["StartInterval"] = s.startInterval
	return json.Marshal(whole)
}

func (s supervised) Manifest() (*v1.Manifest, error) {
	m, err := s.Image.Manifest()
	if err != nil {
		return nil, err
	}
	raw, err := s.RawConfigFile()
	if err != nil {
		return nil, err
	}
	m = m.DeepCopy()
	m.Config.Size = int64(len(raw))
	m.Config.Digest, err = s.ConfigName()
	return m, err
}

func (s supervised) RawManifest() ([]byte, error) {
	m, err := s.Manifest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

func (s supervised) ConfigName() (v1.Hash, error) { return partial.ConfigName(s) }
func (s supervised) Digest() (v1.Hash, error)     { return partial.Digest(s) }
func (s supervised) Size() (int64, error)         { return partial.Size(s) }
