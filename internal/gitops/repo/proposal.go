package repo

import (
	"cmp"
	"context"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/ksera524/imgbump/internal/fault"
)

// Proposal is a branch for a pull request: its commit is decided on the tip of the base, a branch of the remote, and
// pushed to the head, a branch of our own that is replaced. The checkout does not follow.
type Proposal struct {
	*Remote
	head string // full name; "" is the default
}

// Propose is a proposal for the branch that r is. The head is a branch name, by default imgbump/BASE, so that there is
// one for each base.
func (r *Remote) Propose(head string) (*Proposal, error) {
	p := &Proposal{Remote: r}
	if head == "" {
		return p, nil
	}
	var err error
	p.head, err = branchRef(head)
	return p, err
}

// Name is the name of the head; by default it is known after the first Tip.
func (p *Proposal) Name() string { return strings.TrimPrefix(p.fullHead(), "refs/heads/") }

// Base is the name of the branch that the proposal is for.
func (p *Proposal) Base() string { return p.Remote.Name() }

func (p *Proposal) fullHead() string { return cmp.Or(p.head, "refs/heads/imgbump/"+p.Base()) }

// Publish replaces the head by the commits, if it still is where it was when Publish looked; else it fails with a
// Conflict. When the head already has the same content with the same messages upon parent, it stays, and the commits are
// those that it has.
func (p *Proposal) Publish(ctx context.Context, parent string, commits []string) ([]string, error) {
	if p.fullHead() == p.branch {
		return nil, fault.Usagef("name a branch for the pull request alone, since it is replaced", "%s cannot be merged into itself", p.Base())
	}
	d, err := p.series(parent, commits)
	if err != nil || d.commit == d.parent {
		return commits, err
	}
	at, proposed, err := p.proposed(ctx, parent, commits)
	if err != nil || proposed != nil {
		return proposed, err
	}
	head := *p.Remote
	head.branch = p.fullHead()
	return commits, head.send(ctx, &draft{parent: at, commit: d.commit, objects: d.objects})
}

// proposed looks where the head is, zero without one, and which commits it has in place of ours: nil when they differ.
func (p *Proposal) proposed(ctx context.Context, parent string, ours []string) (at plumbing.Hash, theirs []string, err error) {
	session, refs, err := advertised(ctx, p.server, p.server.client.NewUploadPackSession)
	if err != nil {
		return at, nil, err
	}
	defer session.Close()
	if at = refs.References[p.fullHead()]; at.IsZero() {
		return at, nil, nil
	}
	o := p.objects
	o.mu.Lock()
	if _, missing := o.lookUp(plumbing.CommitObject, at); missing != nil {
		onto := p.known()
		onto.depth = len(ours)
		err = p.fetch(ctx, session, refs, at, onto)
	}
	o.mu.Unlock()
	if err != nil {
		return at, nil, p.server.explain(ctx, err)
	}
	return at, p.same(ctx, at, parent, ours), nil
}

// same are the commits that end at tip, when they propose what ours do: upon parent, one for one the same trees and
// messages. Else it is nil.
func (p *Proposal) same(ctx context.Context, tip plumbing.Hash, parent string, ours []string) []string {
	theirs := make([]string, len(ours))
	at := len(ours)
	p.ancestors(ctx, tip, func(c *object.Commit) bool {
		if at == 0 {
			return false
		}
		made, err := object.GetCommit(p.objects.memory, plumbing.NewHash(ours[at-1]))
		if err != nil || made.TreeHash != c.TreeHash || made.Message != c.Message || len(c.ParentHashes) != 1 {
			return false
		}
		at--
		theirs[at], tip = c.Hash.String(), c.ParentHashes[0]
		return true
	})
	if at > 0 || tip.String() != parent {
		return nil
	}
	return theirs
}
