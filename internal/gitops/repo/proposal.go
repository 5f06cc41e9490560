package repo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/trailer"
)

// Proposal is a branch for a pull request: its commit is decided on the tip of the base, a branch of the remote, and
// pushed to the head, a branch of our own that is replaced. The checkout does not follow.
type Proposal struct {
	*Remote
	head string  // full name
	fork *Remote // where the head is, nil when it is on the remote itself
}

// Propose is a proposal for the branch that r is. The head is a branch of the remote or, with the address of a fork, of that.
func (r *Remote) Propose(head, fork string) (*Proposal, error) {
	p := &Proposal{Remote: r}
	var err error
	if p.head, err = branchRef(head); err != nil || fork == "" {
		return p, err
	}
	if p.fork, err = r.repo.Remote(fork, head); err == nil {
		p.fork.history = r.history
	}
	return p, err
}

// Name is the name of the head.
func (p *Proposal) Name() string { return strings.TrimPrefix(p.head, "refs/heads/") }

// Base is the name of the branch that the proposal is for; the remote's default is known after the first Tip.
func (p *Proposal) Base() string { return p.Remote.Name() }

// target is the head as a branch of its remote.
func (p *Proposal) target() *Remote {
	if p.fork != nil {
		return p.fork
	}
	target := *p.Remote
	target.branch = p.head
	return &target
}

// Publish replaces the head by the commits, if it still is where it was when Publish looked; else it fails with a
// Conflict. When the head already has the same content with the same messages upon parent, it stays, and the commits are
// those that it has. Somebody else's commits are not replaced.
func (p *Proposal) Publish(ctx context.Context, parent string, commits []string) ([]string, error) {
	if p.fork == nil && p.head == p.branch {
		return nil, fault.Usagef("name a branch for the pull request alone, since it is replaced", "%s cannot be merged into itself", p.Base())
	}
	d, err := p.series(parent, commits)
	if err != nil || d.commit == d.parent {
		return commits, err
	}
	target := p.target()
	at, proposed, err := p.proposed(ctx, target, parent, commits)
	if err != nil || proposed != nil {
		return proposed, err
	}
	if err := p.replaceable(ctx, target, at); err != nil {
		return nil, err
	}
	return commits, target.send(ctx, &draft{parent: at, commit: d.commit, objects: d.objects})
}

// proposed looks where the head is, zero without one, and which commits it has in place of ours: nil when they differ.
func (p *Proposal) proposed(ctx context.Context, target *Remote, parent string, ours []string) (at plumbing.Hash, theirs []string, err error) {
	p.objects.mu.Lock()
	at, err = target.lookAt(ctx, len(ours))
	p.objects.mu.Unlock()
	if err != nil || at.IsZero() {
		return at, nil, err
	}
	return at, p.same(ctx, at, parent, ours), nil
}

// replaceable is an error when the head at a commit is somebody else's work: neither is that commit ours, nor all that it
// has beyond the base, merges apart, as GitHub's button "Update branch" makes them.
func (p *Proposal) replaceable(ctx context.Context, target *Remote, at plumbing.Hash) error {
	if at.IsZero() || at == p.tip {
		return nil
	}
	tip, err := p.objects.commit(ctx, at)
	if err != nil || trailer.Marked(tip.Message) {
		return err
	}
	beyond, err := target.beyond(ctx, p.tip, at)
	if err != nil || !slices.ContainsFunc(beyond, func(c *object.Commit) bool { return len(c.ParentHashes) < 2 && !trailer.Marked(c.Message) }) {
		return err
	}
	subject, _, _ := strings.Cut(tip.Message, "\n")
	return &fault.Error{What: "replace", Where: p.Name() + " of " + target.server.url,
		Err:  fmt.Errorf("somebody else's commits are on it, the last is %s %q", short(at.String()), subject),
		Hint: "name another branch with --pr-branch, or merge this one"}
}

// beyond are the commits that lead to commit and not to base, by the word of the server: it is told that we have base and
// nothing else, so that it sends these, without their files where it can leave them out.
func (r *Remote) beyond(ctx context.Context, base, commit plumbing.Hash) ([]*object.Commit, error) {
	asked := &Remote{history: r.repo.newHistory(), server: r.server, remote: r.remote, branch: r.branch}
	defer asked.hangUp()
	err := asked.connect(ctx)
	if err == nil {
		err = asked.fetchFirst(ctx, commit, basis{haves: []plumbing.Hash{base}}, packp.FilterTreeDepth(0), "")
	}
	if err != nil {
		return nil, asked.explained(ctx, err)
	}
	var commits []*object.Commit
	for hash, sent := range asked.objects.fetched.at {
		if sent.kind == plumbing.CommitObject {
			c, err := asked.here(hash)
			if err != nil {
				return nil, err
			}
			commits = append(commits, c)
		}
	}
	return commits, nil
}

// lookAt asks the server where the branch is, and fetches its last commits, without their files where the server can.
func (r *Remote) lookAt(ctx context.Context, commits int) (plumbing.Hash, error) {
	if err := r.connect(ctx); err != nil {
		return plumbing.ZeroHash, err
	}
	defer r.rest()
	at := r.link.refs.References[r.branch]
	if _, missing := r.objects.lookUp(plumbing.CommitObject, at); missing == nil || at.IsZero() {
		return at, nil
	}
	onto := r.known()
	onto.depth = commits
	return at, r.explained(ctx, r.fetchFirst(ctx, at, onto, packp.FilterTreeDepth(0), packp.FilterBlobNone(), ""))
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
		if err != nil || made.TreeHash != c.TreeHash || made.Message != c.Message || len(c.ParentHashes) != 1 ||
			(made.PGPSignature == "") != (c.PGPSignature == "") {
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
