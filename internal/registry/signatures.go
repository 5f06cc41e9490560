package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Signature is something that was stored beside an image and may be a signature of it: the content of one layer, of a media
// type, with the value of the annotation that cosign puts there.
type Signature struct {
	MediaType string
	Content   []byte
	Annotated string
}

// annotationSignature holds the signature of a layer's content (SIGNATURE_SPEC.md of sigstore/cosign).
const annotationSignature = "dev.cosignproject.cosign/signature"

// Bounds of what is read: nobody signs an image as often, and a signature has some KiB.
const (
	mostSigned    = 64
	maxSignature  = 1 << 20
	signatureTags = ".sig"
)

// Signatures are what may be signatures of the image or index that ref's digest names: what cosign's tag for it holds, and
// its referrers. Which layers are of interest is said by their media type.
func (c *Client) Signatures(ctx context.Context, ref imageref.Ref, interesting func(mediaType string) bool) ([]Signature, error) {
	ctx, cancel := patiently(ctx, "read the signatures of", ref)
	defer cancel()
	f, err := c.fetch(ctx, "read the signatures of", ref)
	if err != nil {
		return nil, err
	}
	subject, err := v1.NewHash(ref.Digest)
	if err != nil {
		return nil, &fault.Error{What: f.what, Where: f.where, Err: err}
	}
	names, err := f.signing(subject)
	if err != nil {
		return nil, err
	}
	var all []Signature
	for _, name := range names {
		some, err := f.signatures(name, interesting)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if all = append(all, some...); len(all) > mostSigned {
			return nil, &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("there are more than %d", mostSigned)}
		}
	}
	return all, nil
}

// signing are the names of the manifests that may hold signatures of the subject.
func (f *fetch) signing(subject v1.Hash) ([]string, error) {
	names := []string{tagOf(subject) + signatureTags}
	listed, err := f.referring(subject)
	for _, d := range listed[:min(len(listed), mostSigned)] {
		names = append(names, d.Digest.String())
	}
	return names, err
}

// signatures are the interesting layers of a manifest.
func (f *fetch) signatures(name string, interesting func(string) bool) (all []Signature, err error) {
	raw, mediaType, err := f.manifest(name)
	if err != nil || mediaType != types.OCIManifestSchema1 && mediaType != types.DockerManifestSchema2 {
		return nil, err
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, nil
	}
	for _, l := range manifest.Layers[:min(len(manifest.Layers), mostSigned)] {
		if !interesting(string(l.MediaType)) || l.Size > maxSignature {
			continue
		}
		content, err := f.small(l.Digest, maxSignature)
		if err != nil {
			return nil, err
		}
		all = append(all, Signature{MediaType: string(l.MediaType), Content: content, Annotated: l.Annotations[annotationSignature]})
	}
	return all, nil
}
