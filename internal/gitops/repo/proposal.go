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
	head string        // full name
	at   plumbing.Hash // where the head is; zero when there is none yet
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

// Commit makes a commit on top of parent, or finds it on the head: the same content and message on the same parent has
// been proposed already.
func (p *Proposal) Commit(ctx context.Context, parent string, files map[string][]byte, message string) (string, error) {
	if p.fullHead() == p.branch {
		return "", fault.Usagef("name a branch for the pull request alone, since it is replaced", "%s cannot be merged into itself", p.Base())
	}
	commit, err := p.Remote.Commit(ctx, parent, files, message)
	if err != nil || commit == parent {
		return commit, err
	}
	found, err := p.proposed(ctx)
	if err != nil {
		return "", err
	}
	if found != nil && p.same(found) {
		p.draft.commit = found.Hash
	}
	return p.draft.commit.String(), nil
}

// proposed is the commit that the head has, nil when there is no head.
func (p *Proposal) proposed(ctx context.Context) (*object.Commit, error) {
	session, refs, err := advertised(ctx, p.server, p.server.client.NewUploadPackSession)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	if p.at = refs.References[p.fullHead()]; p.at.IsZero() {
		return nil, nil
	}
	o := p.objects
	o.mu.Lock()
	if _, missing := o.lookUp(plumbing.CommitObject, p.at); missing != nil {
		onto := p.known()
		onto.depth = 1
		err = p.fetch(ctx, session, refs, p.at, onto)
	}
	o.mu.Unlock()
	if err != nil {
		return nil, p.server.explain(ctx, err)
	}
	return o.commit(ctx, p.at)
}

// same reports whether the commit proposes what the draft does.
func (p *Proposal) same(proposed *object.Commit) bool {
	made, err := object.GetCommit(p.objects.memory, p.draft.commit)
	return err == nil && made.TreeHash == proposed.TreeHash && made.Message == proposed.Message &&
		len(proposed.ParentHashes) == 1 && proposed.ParentHashes[0] == p.draft.parent
}

// Publish replaces the head by commit, if it still is where Commit found it; else it fails with a Conflict.
func (p *Proposal) Publish(ctx context.Context, parent, commit string) error {
	d, err := p.take(parent, commit)
	if err != nil || d.commit == p.at {
		return err
	}
	head := *p.Remote
	head.branch = p.fullHead()
	return head.send(ctx, &draft{parent: p.at, commit: d.commit, objects: d.objects})
}
