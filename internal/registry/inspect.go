package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// patience is how long a registry may take over a question whose answer is small.
const patience = time.Minute

func patiently(ctx context.Context, what string, ref imageref.Ref) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, patience, &fault.Error{
		What: what, Where: ref.String(), Err: fmt.Errorf("no answer within %v", patience), Hint: hintRunning,
	})
}

// Digest is the digest of the manifest or index that ref names now.
func (c *Client) Digest(ctx context.Context, ref imageref.Ref) (string, error) {
	ctx, cancel := patiently(ctx, "find", ref)
	defer cancel()
	f, err := c.fetch(ctx, "find", ref)
	if err != nil {
		return "", err
	}
	r := request{method: http.MethodHead, url: f.url("%s/manifests/%s", f.repository, nameOf(ref)), scopes: f.scopes, header: http.Header{"Accept": {manifestTypes}}}
	resp, err := f.expect(ctx, f.what, f.where, r, http.StatusOK)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	digest, err := v1.NewHash(resp.Header.Get("Docker-Content-Digest"))
	if err == nil && isManifest(mediaTypeOf(resp)) && (ref.Digest == "" || ref.Digest == digest.String()) {
		return digest.String(), nil
	}
	raw, mediaType, err := f.manifest(nameOf(ref)) // the distribution specification lets a registry leave the header out
	if err == nil && !isManifest(mediaType) {
		err = &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("%s answers with %q, which is no image", f.host, mediaType), Hint: f.hintPage()}
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(raw)), nil
}

// isManifest reports whether an answer of that type is an image or an index, and no web page.
func isManifest(m types.MediaType) bool { return m.IsImage() || m.IsIndex() }

// annotationCreated is when an image was built, RFC 3339, as annotation and as label (OCI image specification).
const annotationCreated = "org.opencontainers.image.created"

// Created is when the image that ref names was made: what its index or manifest is annotated with, else its label, else
// its configuration's date; of an index that is not annotated, the newest image's. The zero time says that this is not
// known: the registry does not have the image, or it has no date that means anything.
func (c *Client) Created(ctx context.Context, ref imageref.Ref) (time.Time, error) {
	ctx, cancel := patiently(ctx, "read", ref)
	defer cancel()
	f, err := c.fetch(ctx, "read", ref)
	if err != nil {
		return time.Time{}, err
	}
	created, err := f.created(nameOf(ref))
	if errors.Is(err, ErrNotFound) {
		return time.Time{}, nil
	}
	return created, err
}

func (f *fetch) created(name string) (time.Time, error) {
	raw, mediaType, err := f.manifest(name)
	switch {
	case err != nil:
		return time.Time{}, err
	case mediaType.IsIndex():
		return f.createdOfIndex(raw)
	}
	return f.createdOfImage(raw, mediaType)
}

func (f *fetch) createdOfImage(raw []byte, mediaType types.MediaType) (time.Time, error) {
	if !mediaType.IsImage() {
		return time.Time{}, nil
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return time.Time{}, nil
	}
	if created := stated(manifest.Annotations); !created.IsZero() {
		return created, nil
	}
	return f.createdOfConfig(manifest.Config.Digest)
}

func (f *fetch) createdOfIndex(raw []byte) (newest time.Time, err error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return time.Time{}, nil
	}
	if created := stated(index.Annotations); !created.IsZero() {
		return created, nil
	}
	seen := map[v1.Hash]bool{}
	for _, m := range index.Manifests {
		if !m.MediaType.IsImage() || isAttestation(m) || seen[m.Digest] {
			continue
		}
		seen[m.Digest] = true
		raw, mediaType, err := f.manifest(m.Digest.String())
		if err != nil {
			return time.Time{}, err
		}
		created, err := f.createdOfImage(raw, mediaType)
		if err != nil {
			return time.Time{}, err
		}
		if created.After(newest) {
			newest = created
		}
	}
	return newest, nil
}

// isAttestation reports whether m is what BuildKit stores beside an image: it is an image of no platform.
func isAttestation(m v1.Descriptor) bool {
	return m.Platform != nil && m.Platform.OS == "unknown"
}

func (f *fetch) createdOfConfig(digest v1.Hash) (time.Time, error) {
	raw, err := f.small(digest, unsized)
	if err != nil {
		return time.Time{}, err
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return time.Time{}, nil
	}
	return ofOneBuild(stated(config.Config.Labels), meant(config.Created.Time)), nil
}

// longestBuild is how much older than its configuration an image's own label may be.
const longestBuild = 24 * time.Hour

// ofOneBuild is the label's date, unless the configuration has a much later one: then the label is the base image's, whose
// labels every image built on it bears too.
func ofOneBuild(label, configuration time.Time) time.Time {
	if label.IsZero() || configuration.Sub(label) > longestBuild {
		return configuration
	}
	return label
}

// stated is the date among annotations or labels, or the zero time.
func stated(values map[string]string) time.Time {
	t, err := time.Parse(time.RFC3339, values[annotationCreated])
	if err != nil {
		return time.Time{}
	}
	return meant(t)
}

// meant is t, or the zero time where it is a placeholder: builders of reproducible images write 1970, 1980 or
// year 1. No image is older than Docker.
func meant(t time.Time) time.Time {
	if t.Year() < 2013 {
		return time.Time{}
	}
	return t
}
