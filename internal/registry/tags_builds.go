package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
)

// mostChildren is how many images an index may have for its dates to be read.
const mostChildren = 64

// Builds are the images that ref names, for the platforms that are wanted, or for all without any: one, or those of an
// index. What BuildKit stores beside an image is none. The digest is that of the manifest or index. What the ledger of
// the options knows is not fetched again: unless it is fresh, the digest is asked for first.
func (c *Client) Builds(ctx context.Context, ref imageref.Ref, platforms []string) (digest string, builds []image.Build, err error) {
	ctx, cancel := patiently(ctx, "read", ref)
	defer cancel()
	if ledger := c.options.Ledger; !ledger.Fresh() {
		if ref.Digest == "" {
			if ref.Digest, err = c.Digest(ctx, ref); err != nil {
				return "", nil, err
			}
		}
		if known, ok := ledger.Builds(ref.Digest, platforms); ok {
			return ref.Digest, known, nil
		}
	}
	f, err := c.fetch(ctx, "read", ref)
	if err != nil {
		return "", nil, err
	}
	raw, mediaType, err := f.manifest(nameOf(ref))
	if err != nil {
		return "", nil, err
	}
	digest = fmt.Sprintf("sha256:%x", sha256.Sum256(raw))
	if mediaType.IsIndex() {
		builds, err = f.buildsOf(raw, platforms)
	} else {
		builds, err = f.build(raw, mediaType)
	}
	if err != nil {
		return "", nil, err
	}
	c.options.Ledger.NoteBuilds(digest, platforms, builds)
	return digest, builds, nil
}

// build is the one image of a manifest.
func (f *fetch) build(raw []byte, mediaType types.MediaType) ([]image.Build, error) {
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil || !mediaType.IsImage() {
		return nil, &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("it is no image, but %q", mediaType), Hint: f.hintPage()}
	}
	if raw, err = f.small(manifest.Config.Digest, unsized); err != nil {
		return nil, err
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("its configuration makes no sense: %w", err)}
	}
	return []image.Build{{Platform: platformOf(v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}), Created: config.Created.UTC()}}, nil
}

// buildsOf are the images of an index for the platforms.
func (f *fetch) buildsOf(raw []byte, platforms []string) (builds []image.Build, err error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, &fault.Error{What: f.what, Where: f.where, Err: err}
	}
	wanted := map[v1.Hash]bool{}
	for _, m := range index.Manifests {
		if !m.MediaType.IsImage() || isAttestation(m) || m.Platform != nil && !policy.Wants(platforms, platformOf(*m.Platform)) || wanted[m.Digest] {
			continue
		}
		if wanted[m.Digest] = true; len(wanted) > mostChildren {
			return nil, &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("its index has more than %d images", mostChildren)}
		}
		raw, mediaType, err := f.manifest(m.Digest.String())
		if err != nil {
			return nil, err
		}
		child, err := f.build(raw, mediaType)
		if err != nil {
			return nil, err
		}
		if m.Platform != nil { // what the index says is what a cluster goes by
			child[0].Platform = platformOf(*m.Platform)
		}
		builds = append(builds, child...)
	}
	return builds, nil
}

// platformOf is os/arch[/variant], "" when the platform is not known.
func platformOf(p v1.Platform) string {
	switch {
	case p.OS == "" || p.Architecture == "":
		return ""
	case p.Variant == "":
		return p.OS + "/" + p.Architecture
	}
	return p.OS + "/" + p.Architecture + "/" + p.Variant
}
