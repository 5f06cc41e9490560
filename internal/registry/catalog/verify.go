package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ksera524/imgbump/internal/cosign"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry/harbor"
)

// Demands are what an image must meet to be used. The zero value demands nothing.
type Demands struct {
	Key         *cosign.Key     // its owner signed it
	MaxSeverity harbor.Severity // Harbor's scanner found nothing graver; "" does not ask
}

// Verify is nil when the image that ref names meets the demands. Ref has a digest, or a tag of which the digest is asked
// for. The error says which is not met, and is of kind Gate then.
func (c *Catalog) Verify(ctx context.Context, ref imageref.Ref, d Demands) error {
	ctx, cancel := c.limit(ctx, ref)
	defer cancel()
	ref = c.client.Whole(ref)
	if ref.Digest == "" {
		digest, err := c.client.Digest(ctx, ref)
		if err != nil {
			return err
		}
		ref.Digest = digest
	}
	if d.Key != nil {
		if err := c.signed(ctx, ref, *d.Key); err != nil {
			return err
		}
	}
	if d.MaxSeverity != "" {
		return c.harmless(ctx, ref, d.MaxSeverity)
	}
	return nil
}

// signed is nil when one of the image's signatures was made with the key.
func (c *Catalog) signed(ctx context.Context, ref imageref.Ref, key cosign.Key) error {
	interesting := func(mediaType string) bool { return mediaType == cosign.SimpleSigning || cosign.IsBundle(mediaType) }
	signatures, err := c.client.Signatures(ctx, ref, interesting)
	if err != nil {
		return err
	}
	var reasons []string
	for _, s := range signatures {
		if cosign.IsBundle(s.MediaType) {
			err = key.Bundle(s.Content, ref.Digest)
		} else {
			err = key.Simple(s.Content, s.Annotated, ref.Digest)
		}
		if err == nil {
			return nil
		}
		reasons = append(reasons, err.Error())
	}
	refused := &fault.Error{Kind: fault.Gate, What: "verify", Where: ref.String(), Hint: "sign it: cosign sign --key cosign.key " + ref.Name() + "@" + ref.Digest}
	refused.Err = errors.New("it is not signed")
	if len(reasons) > 0 {
		refused.Err = fmt.Errorf("none of %s is good: %s", number(len(reasons), "signature", "signatures"), strings.Join(reasons, "; "))
	}
	return refused
}

// harmless is nil when Harbor's scanner found nothing graver than most.
func (c *Catalog) harmless(ctx context.Context, ref imageref.Ref, most harbor.Severity) error {
	refused := &fault.Error{Kind: fault.Gate, What: "verify", Where: ref.String()}
	greeting, err := c.client.Greet(ctx, ref.Host())
	if err != nil {
		return err
	}
	if !greeting.Harbor {
		refused.Err, refused.Hint = errors.New("only Harbor scans images, and its registry is another"), "leave --max-severity away for it"
		return refused
	}
	report, scanned, err := harbor.New(c.client, ref.Host()).Scanned(ctx, ref.Repository, ref.Digest)
	switch {
	case err != nil:
		return err
	case !scanned:
		refused.Err, refused.Hint = errors.New("it has not been scanned"), "harborpush scan has it scanned; a project of Harbor can scan what is pushed"
		return refused
	}
	graver := 0
	for _, v := range report.Vulnerabilities {
		if v.Severity != most && v.Severity.AtLeast(most) {
			graver++
		}
	}
	if graver > 0 {
		worst := report.Vulnerabilities[0]
		refused.Err = fmt.Errorf("%s graver than %s, such as %s (%s) in %s", number(graver, "finding", "findings"),
			strings.ToLower(string(most)), fault.Said(worst.ID, 60), strings.ToLower(string(worst.Severity)), fault.Said(worst.Package, 60))
		return refused
	}
	return nil
}
