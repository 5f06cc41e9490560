package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/ksera524/imgbump/internal/fault"
)

// find is the branch's commit among the refs of the server.
func (r *Remote) find(refs *packp.AdvRefs) (plumbing.Hash, error) {
	if r.branch == "" {
		for _, symref := range refs.Capabilities.Get(capability.SymRef) {
			if name, ok := strings.CutPrefix(symref, "HEAD:refs/heads/"); ok {
				r.branch, _ = branchRef(name)
			}
		}
	}
	tip, ok := refs.References[r.branch]
	if ok {
		return tip, nil
	}
	var branches []string
	for ref := range refs.References {
		if name, ok := strings.CutPrefix(ref, "refs/heads/"); ok && plumbing.ReferenceName(ref).Validate() == nil {
			branches = append(branches, name)
		}
	}
	slices.Sort(branches)
	if r.branch == "" {
		return tip, &fault.Error{What: "find a branch of", Where: r.server.url, Err: errors.New("it does not say which branch is its default"),
			Hint: "name one with --branch: there are " + abridged(branches)}
	}
	return tip, &fault.Error{Kind: fault.Usage, What: "find branch", Where: r.Name() + " of " + r.server.url, Err: errors.New("no such branch"),
		Hint: "its branches are " + abridged(branches)}
}

// basis is what a fetch builds on.
type basis struct {
	haves    []plumbing.Hash // commits that the server need not send
	shallows []plumbing.Hash // those that came without their history
	depth    int             // how many commits deep the history is wanted; 0 is all of it
}

// known is what there is of the branch. Its history tells which local commits are not pushed, and is good for nothing
// else: it is fetched only where the checkout has all of it up to a point, and never beyond that point.
func (r *Remote) known() basis {
	var b basis
	local, _ := r.repo.ref(r.branch)
	tracking, _ := r.repo.ref(r.tracking())
	_, head, _ := r.repo.head()
	for _, commit := range []plumbing.Hash{local, tracking, r.tip} {
		if _, err := r.objects.lookUp(plumbing.CommitObject, commit); err == nil {
			b.haves = append(b.haves, commit)
		}
	}
	onDisk, _ := r.repo.disk[0].Shallow()
	b.shallows = append(onDisk, r.cut...)
	if len(b.haves) == 0 || len(b.shallows) > 0 {
		b.depth = 1
	}
	if _, err := r.objects.lookUp(plumbing.CommitObject, head); err == nil {
		b.haves = append(b.haves, head) // it may have files in common with the branch
	}
	return b
}

// refill fetches the whole tip, without history.
func (r *Remote) refill(ctx context.Context, tip plumbing.Hash) error {
	session, refs, err := advertised(ctx, r.server, r.server.client.NewUploadPackSession)
	if err != nil {
		return err
	}
	defer session.Close()
	if refs.References[r.branch] != tip {
		return r.conflict(refs.References[r.branch])
	}
	if err := r.fetch(ctx, session, refs, tip, basis{depth: 1}); err != nil {
		return r.server.explain(ctx, err)
	}
	return nil
}

// fetch reads what a commit needs, and the basis lacks, into memory.
func (r *Remote) fetch(ctx context.Context, session transport.UploadPackSession, refs *packp.AdvRefs, want plumbing.Hash, onto basis) error {
	request := packp.NewUploadPackRequestFromCapabilities(refs.Capabilities)
	request.Wants, request.Haves, request.Shallows, request.Depth = []plumbing.Hash{want}, onto.haves, onto.shallows, packp.DepthCommits(onto.depth)
	wanted := []capability.Capability{capability.NoProgress}
	if onto.depth > 0 {
		wanted = append(wanted, capability.Shallow)
		r.cut = append(r.cut, want)
	}
	for _, c := range wanted {
		if refs.Capabilities.Supports(c) {
			if err := request.Capabilities.Set(c); err != nil {
				return err
			}
		}
	}
	answer, err := session.UploadPack(ctx, request)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", short(want.String()), cause(err))
	}
	defer answer.Close()
	var pack io.Reader = answer
	if request.Capabilities.Supports(capability.Sideband64k) {
		pack = sideband.NewDemuxer(sideband.Sideband64k, answer)
	} else if request.Capabilities.Supports(capability.Sideband) {
		pack = sideband.NewDemuxer(sideband.Sideband, answer)
	}
	if err := packfile.UpdateObjectStorage(r.objects.memory, pack); err != nil {
		return fmt.Errorf("fetch %s: %w", short(want.String()), err)
	}
	return nil
}
