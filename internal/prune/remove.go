package prune

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/retention"
)

// remove deletes what goes, indexes first. It stops where no other image would fare better: the account may not delete,
// or nobody answers.
func (p *pruning) remove(ctx context.Context) error {
	var errs []error
	for _, o := range p.ordered() {
		err := p.delete(ctx, o)
		if err != nil && !errors.Is(err, ErrRefused) {
			return errors.Join(append([]error{err}, errs...)...)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ordered is what goes, repository by repository, in the order in which a registry lets it go.
func (p *pruning) ordered() []*Outcome {
	var all []*Outcome
	for rest := p.Outcomes; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Repository == rest[0].Repository {
			n++
		}
		var decisions []retention.Decision
		byDigest := map[string]*Outcome{}
		for _, o := range rest[:n] {
			decisions = append(decisions, o.Decision)
			byDigest[o.Digest] = o
		}
		for _, d := range retention.Order(decisions) {
			all = append(all, byDigest[d.Digest])
		}
		rest = rest[n:]
	}
	return all
}

// delete removes one image, unless it got another tag since it was judged.
func (p *pruning) delete(ctx context.Context, o *Outcome) error {
	now, _, err := p.registry.Artifact(ctx, o.Repository, o.Digest)
	if err != nil {
		return err
	}
	for _, t := range now.Tags {
		if !slices.ContainsFunc(o.Tags, func(old retention.Tag) bool { return old.Name == t.Name }) {
			p.stays(o, "it was tagged "+t.Name+" meanwhile")
			return nil
		}
	}
	switch err := p.registry.Delete(ctx, o.Repository, o.Digest); {
	case errors.Is(err, ErrHeld):
		p.stays(o, ErrHeld.Error())
		return nil
	case err != nil:
		return err
	}
	o.Gone = true
	p.Removed++
	p.Progressf("removed %s@%s %s", o.Repository, o.Digest, o.TagNames())
	return nil
}

// stays keeps an image that was to go.
func (p *pruning) stays(o *Outcome, why string) {
	o.Keep, o.Why = true, why
	p.Warnf("%s@%s stays: %s", o.Repository, o.Digest, why)
}

// TagNames are the image's tags, for people.
func (o *Outcome) TagNames() string {
	if len(o.Tags) == 0 {
		return "(no tag)"
	}
	var names []string
	for _, t := range o.Tags {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}
