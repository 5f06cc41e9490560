package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
)

// attachment is what hangs on an image: a signature, an attestation, a bill of materials.
type attachment struct {
	artifact image.Artifact
	digest   v1.Hash
	tag      string        // cosign's, or ""
	subject  v1.Hash       // of a referrer
	listed   v1.Descriptor // as the subject's list of referrers has it
}

// mostAttachments bounds what one copy takes along.
const mostAttachments = 1000

// cosignTags end the tags under which cosign keeps what belongs to a digest.
var cosignTags = []string{".sig", ".att", ".sbom"}

// Copy gives what from names the name to: all platforms, and whatever is attached to them in from's repository, which are
// referrers and what cosign tags. What is attached stands before the tag does.
func (c *Client) Copy(ctx context.Context, from, to imageref.Ref) (image.Receipt, error) {
	f, err := c.fetch(ctx, "copy", from)
	if err != nil {
		return image.Receipt{}, err
	}
	artifact, err := f.artifact(nameOf(from), 1)
	if err != nil {
		return image.Receipt{}, err
	}
	attached, err := f.attachments(artifact)
	if err != nil {
		return image.Receipt{}, err
	}
	return c.push(ctx, artifact, attached, []imageref.Ref{to})
}

// attachments are all that hang on the artifact, on what it names, and on each other.
func (f *fetch) attachments(artifact image.Artifact) ([]attachment, error) {
	digest, err := artifact.Digest()
	if err != nil {
		return nil, err
	}
	open, err := manifestsOf(artifact)
	if err != nil {
		return nil, err
	}
	open = append(open, digest)
	var all []attachment
	for seen := map[v1.Hash]bool{}; len(open) > 0; {
		found, err := f.attachedTo(open)
		if err != nil {
			return nil, err
		}
		open = nil
		for _, a := range found { // one may hang on several, or have a tag besides
			if !seen[a.digest] {
				seen[a.digest] = true
				open = append(open, a.digest)
			}
		}
		all = append(all, found...)
		if len(all) > mostAttachments {
			return nil, &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("more than %d signatures and other artifacts are attached to it", mostAttachments)}
		}
	}
	return all, nil
}

// manifestsOf are the digests of the manifests that an index names, at any depth.
func manifestsOf(artifact image.Artifact) (all []v1.Hash, err error) {
	if _, isIndex := artifact.(v1.ImageIndex); !isIndex {
		return nil, nil
	}
	err = descend(artifact, map[v1.Hash]bool{}, func(a image.Artifact) error {
		digest, err := a.Digest()
		all = append(all, digest)
		return err
	})
	return all, err
}

// attachedTo are what hangs on any of the subjects, in their order.
func (f *fetch) attachedTo(subjects []v1.Hash) ([]attachment, error) {
	found := make([][]attachment, len(subjects)*(1+len(cosignTags)))
	group := new(errgroup.Group)
	group.SetLimit(parallel)
	for i, subject := range subjects {
		at := i * (1 + len(cosignTags))
		group.Go(func() (err error) {
			found[at], err = f.referrers(subject)
			return err
		})
		for n, end := range cosignTags {
			group.Go(func() (err error) {
				found[at+1+n], err = f.tagged(tagOf(subject) + end)
				return err
			})
		}
	}
	err := group.Wait()
	return slices.Concat(found...), err
}

// tagged is what a tag names, or nothing.
func (f *fetch) tagged(tag string) ([]attachment, error) {
	artifact, err := f.artifact(tag, 1)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	digest, err := artifact.Digest()
	return []attachment{{artifact: artifact, digest: digest, tag: tag}}, err
}

// referrers are what refers to a subject.
func (f *fetch) referrers(subject v1.Hash) ([]attachment, error) {
	listed, err := f.referring(subject)
	if err != nil {
		return nil, err
	}
	var all []attachment
	for _, d := range listed {
		artifact, err := f.artifact(d.Digest.String(), 1)
		if errors.Is(err, ErrNotFound) {
			continue // a list that is a tag outlives what it names
		}
		if err != nil {
			return nil, err
		}
		all = append(all, attachment{artifact: artifact, digest: d.Digest, subject: subject, listed: d})
	}
	return all, nil
}

// attach brings what is attached to the artifact, which stands there without a tag by then.
func (d *destination) attach(ctx context.Context, artifact image.Artifact, attached []attachment) error {
	if len(attached) == 0 {
		return nil
	}
	err := d.untagged(ctx, artifact)
	if err != nil {
		return err
	}
	own := &destination{session: d.session, push: &push{layers: map[v1.Hash]int{}, slots: d.push.slots}, repository: d.repository, scopes: d.scopes, blobs: d.blobs}
	unlisted := map[v1.Hash][]v1.Descriptor{}
	for _, a := range attached {
		if other, err := own.hasOther(ctx, a); err != nil {
			return err
		} else if other {
			d.client.options.Kept(d.tagged(a.tag))
			continue
		}
		if err := own.content(ctx, a.artifact); err != nil {
			return err
		}
		if a.tag == "" {
			err = own.untagged(ctx, a.artifact)
		} else {
			_, err = own.tag(ctx, a.artifact, d.tagged(a.tag))
		}
		if err != nil {
			return err
		}
		d.push.receipt.Attached++
		if a.subject.Hex != "" {
			unlisted[a.subject] = append(unlisted[a.subject], a.listed)
		}
	}
	d.push.count(own.push.receipt.BytesPushed)
	for subject, descriptors := range unlisted {
		if err := d.listReferrers(ctx, subject, descriptors); err != nil {
			return err
		}
	}
	return nil
}

// tagged is the reference of something that is attached under a tag.
func (d *destination) tagged(tag string) imageref.Ref {
	ref := d.refs[0].Bare()
	ref.Tag = tag
	return ref
}

// hasOther reports whether the repository has something of its own under the attachment's tag: signatures that were made
// there, which must not get lost. What the attachment contains too is nothing of its own.
func (d *destination) hasOther(ctx context.Context, a attachment) (bool, error) {
	if a.tag == "" {
		return false, nil
	}
	where := d.name() + ":" + a.tag
	there, err := d.named(ctx, d.url("%s/manifests/%s", d.repository, a.tag), where)
	if err != nil || there == "" || there == a.digest.String() {
		return false, err
	}
	f := &fetch{session: d.session, ctx: ctx, repository: d.repository, what: "push", where: where, scopes: d.scopes}
	raw, _, err := f.manifest(a.tag)
	if err != nil {
		return false, err
	}
	has, err := v1.ParseManifest(bytes.NewReader(raw))
	ours, isImage := a.artifact.(v1.Image)
	if err != nil || !isImage || len(has.Layers) == 0 {
		return true, nil
	}
	manifest, err := ours.Manifest()
	if err != nil {
		return false, err
	}
	for _, l := range has.Layers { // of which cosign keeps the signature in an annotation
		if !slices.ContainsFunc(manifest.Layers, func(d v1.Descriptor) bool { return reflect.DeepEqual(d, l) }) {
			return true, nil
		}
	}
	return false, nil
}

// listReferrers adds to the list of a subject's referrers where the registry does not keep it (distribution specification,
// "Pushing Manifests with Subject").
func (d *destination) listReferrers(ctx context.Context, subject v1.Hash, referrers []v1.Descriptor) error {
	where := d.name() + ":" + tagOf(subject)
	f := &fetch{session: d.session, ctx: ctx, repository: d.repository, what: "push", where: where, scopes: d.scopes}
	if _, supported, err := f.list(subject); err != nil || supported {
		return err
	}
	index := &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	raw, _, err := f.manifest(tagOf(subject))
	if err == nil {
		index, err = v1.ParseIndexManifest(bytes.NewReader(raw))
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	for _, r := range referrers {
		if !slices.ContainsFunc(index.Manifests, func(has v1.Descriptor) bool { return has.Digest == r.Digest }) {
			index.Manifests = append(index.Manifests, r)
		}
	}
	list, err := json.Marshal(index)
	if err != nil {
		return err
	}
	_, err = d.tag(ctx, rawIndex(list), d.tagged(tagOf(subject)))
	return err
}

// rawIndex is an index as it is stored.
type rawIndex []byte

func (r rawIndex) RawManifest() ([]byte, error)        { return r, nil }
func (r rawIndex) MediaType() (types.MediaType, error) { return types.OCIImageIndex, nil }
func (r rawIndex) Digest() (v1.Hash, error) {
	digest, _, err := v1.SHA256(bytes.NewReader(r))
	return digest, err
}
