package bump

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Registry knows the images that references name.
type Registry interface {
	// Digest is the digest that ref names now. That there is no such image is an error.
	Digest(ctx context.Context, ref imageref.Ref) (string, error)
	// Created is when the image was made, the zero time when nobody knows. An error means that the registry could not be
	// asked.
	Created(ctx context.Context, ref imageref.Ref) (time.Time, error)
}

// atOnce is how many questions a registry is asked at a time.
const atOnce = 8

// Pin says which parts of a version are written.
type Pin string

const (
	PinAsGiven Pin = "" // those that the reference has
	PinTag     Pin = "tag"
	PinDigest  Pin = "digest"
	PinBoth    Pin = "both"
)

// Check refuses what is none of the constants, and images that lack the tag that p writes. Errors are of kind Usage.
func (p Pin) Check(images []Image) error {
	switch p {
	case PinAsGiven, PinDigest:
		return nil
	case PinTag, PinBoth:
		for _, image := range images {
			if image.Ref.Tag == "" {
				return fault.Usagef("name it: "+image.Ref.Name()+":1.2.3@"+image.Ref.Digest, "--pin %s writes a tag, but %s has none", p, image.Ref)
			}
		}
		return nil
	}
	return fault.Usagef("for example: --pin both", "--pin %s is not tag, digest or both", string(p))
}

// asks reports whether the digest of ref is the registry's to tell.
func (p Pin) asks(ref imageref.Ref) bool {
	return ref.Digest == "" && (p == PinDigest || p == PinBoth)
}

// of is the part of ref that is written.
func (p Pin) of(ref imageref.Ref) imageref.Ref {
	switch p {
	case PinTag:
		ref.Digest = ""
	case PinDigest:
		ref.Tag = ""
	}
	return ref
}

// Resolve gives the job's images the versions that pin wants written. With check the registry must have each of their
// tags and digests. Failures are the images for which that did not succeed; the error is then that of the whole run.
func (j *Job) Resolve(ctx context.Context, registry Registry, pin Pin, check bool) ([]Failure, error) {
	resolved := make([]Image, len(j.Images))
	failed := make([]error, len(j.Images))
	var questions errgroup.Group
	questions.SetLimit(atOnce)
	for i, image := range j.Images {
		questions.Go(func() error {
			resolved[i] = image
			resolved[i].Ref, failed[i] = resolve(ctx, image.Ref, registry, pin, check)
			return nil
		})
	}
	questions.Wait()
	var failures []Failure
	kind := fault.Failed
	for i, err := range failed {
		if err != nil {
			failures = append(failures, Failure{Image: j.Images[i].Ref.String(), Err: err})
		}
		if fault.KindOf(err) == fault.Denied {
			kind = fault.Denied
		}
	}
	if ctx.Err() != nil || len(failures) == 0 {
		j.Images = resolved
		return nil, ctx.Err()
	}
	return failures, summed(kind, failures)
}

func resolve(ctx context.Context, ref imageref.Ref, registry Registry, pin Pin, check bool) (imageref.Ref, error) {
	if pin.asks(ref) {
		digest, err := registry.Digest(ctx, ref)
		ref.Digest = digest
		return pin.of(ref), err
	}
	ref = pin.of(ref)
	if !check {
		return ref, nil
	}
	for _, version := range []imageref.Ref{{Tag: ref.Tag}, {Digest: ref.Digest}} {
		if !version.Versioned() {
			continue
		}
		if _, err := registry.Digest(ctx, ref.With(version)); err != nil {
			return ref, err
		}
	}
	return ref, nil
}
