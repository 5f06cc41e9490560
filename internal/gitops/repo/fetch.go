package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
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
	for _, disk := range r.repo.disk[:min(1, len(r.repo.disk))] { // what it borrows from others is theirs
		b.shallows, _ = disk.Shallow()
	}
	b.shallows = append(b.shallows, r.cut...)
	if len(b.haves) == 0 || len(b.shallows) > 0 {
		b.depth = 1
	}
	if _, err := r.objects.lookUp(plumbing.CommitObject, head); err == nil {
		b.haves = append(b.haves, head) // it may have files in common with the branch
	}
	return b
}

// link is a server that has named its refs and takes a request. Over HTTP it takes more than one.
type link struct {
	session transport.UploadPackSession
	refs    *packp.AdvRefs
	used    bool
}

// fetching is how a Remote gets what is not here.
type fetching struct {
	link     *link           // the conversation that is open
	expected []string        // the paths that will be read, as far as that is known
	cut      []plumbing.Hash // the commits that were fetched without their history
	sparse   bool            // something was fetched without all that belongs to it
	gathered plumbing.Hash   // the tree whose expected files are here
	whole    bool            // the tip was fetched again, with all that belongs to it
}

// connect asks the server for its refs.
func (r *Remote) connect(ctx context.Context) error {
	session, refs, err := advertised(ctx, r.server, r.server.client.NewUploadPackSession)
	if err != nil {
		return err
	}
	r.hangUp()
	r.link = &link{session: session, refs: refs}
	return nil
}

// rest lets go of the server when it would have to wait for us. Over HTTP it does not, and can be asked again.
func (r *Remote) rest() {
	if r.link != nil && !r.overHTTP() {
		r.hangUp()
	}
}

func (r *Remote) overHTTP() bool { return strings.HasPrefix(r.server.endpoint.Protocol, "http") }

// hangUp ends the conversation with the server.
func (r *Remote) hangUp() error {
	if r.link == nil {
		return nil
	}
	session := r.link.session
	r.link = nil
	return session.Close()
}

// order is what is asked of a server.
type order struct {
	wants  []plumbing.Hash
	onto   basis
	filter packp.Filter // what to leave out
}

// small leaves out what no manifest is; one that is larger is fetched when it is read.
const small packp.Filter = "blob:limit=1m"

// givesParts reports whether a server leaves out what a filter says, and then gives any object by its name: one that lets
// clients ask for any object advertises both of the weaker promises.
func givesParts(offered *capability.List) bool {
	return offered.Supports(capability.Filter) && offered.Supports(capability.AllowTipSHA1InWant) && offered.Supports(capability.AllowReachableSHA1InWant)
}

// fetchTip fetches the branch's commit: with what changed, when there is something that it is built upon; else with the
// folders alone that lead to the expected paths, or all folders. What the server does not offer, or refuses, is
// fetched as a whole.
func (r *Remote) fetchTip(ctx context.Context, tip plumbing.Hash) error {
	onto := r.known()
	if len(onto.haves) > 0 {
		return r.fetchFirst(ctx, tip, onto, small, "")
	}
	r.sparse = true
	depth := 0
	for _, p := range r.expected {
		depth = max(depth, 1+strings.Count(p, "/"))
	}
	if depth == 0 || within("", r.expected) || r.isGitHub() {
		return r.fetchFirst(ctx, tip, onto, packp.FilterBlobNone(), "")
	}
	return r.fetchFirst(ctx, tip, onto, packp.FilterCombine(packp.FilterTreeDepth(uint64(depth)), small), packp.FilterBlobNone(), "")
}

// fetchFirst fetches a commit with the first of the filters that the server takes.
func (r *Remote) fetchFirst(ctx context.Context, commit plumbing.Hash, onto basis, filters ...packp.Filter) error {
	var err error
	for _, filter := range filters {
		if filter != "" && !givesParts(r.link.refs.Capabilities) {
			continue
		}
		if err = r.fetch(ctx, order{[]plumbing.Hash{commit}, onto, filter}); err == nil || r.final(ctx, err) {
			break
		}
	}
	return err
}

// isGitHub reports whether the server takes no depth of trees but 0, the only one that is quick to answer with bitmaps
// (Taylor Blau on uploadpackfilter.tree.maxDepth, git mailing list, March 2020).
func (r *Remote) isGitHub() bool {
	return slices.ContainsFunc(r.link.refs.Capabilities.Get(capability.Agent), func(agent string) bool {
		return strings.HasPrefix(agent, "git/github-")
	})
}

// final reports whether asking for something else would not help.
func (r *Remote) final(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, errTooMuch) || fault.KindOf(r.server.explain(ctx, err)) == fault.Denied
}

// fetchObject fetches one object that is missing, a folder with those below it; or the whole tip, without history, where
// the server gives no parts.
func (r *Remote) fetchObject(ctx context.Context, kind plumbing.ObjectType, hash plumbing.Hash) error {
	o := order{wants: []plumbing.Hash{hash}}
	if kind == plumbing.TreeObject {
		o.filter = packp.FilterBlobNone()
		r.sparse = true
	}
	return r.fetchParts(ctx, o)
}

// fetchParts fetches objects by their names, or else the whole tip, once.
func (r *Remote) fetchParts(ctx context.Context, o order) error {
	var err error
	if r.link == nil {
		err = r.connect(ctx)
	}
	if err == nil && !r.whole && givesParts(r.link.refs.Capabilities) {
		if err = r.fetch(ctx, o); err == nil || r.final(ctx, err) {
			return r.explained(ctx, err)
		}
	}
	if r.whole || r.tip.IsZero() || r.link == nil {
		return r.explained(ctx, err)
	}
	r.whole = true
	if now := r.link.refs.References[r.branch]; now != r.tip {
		return r.conflict(now)
	}
	return r.explained(ctx, r.fetch(ctx, order{wants: []plumbing.Hash{r.tip}, onto: basis{depth: 1}}))
}

func (r *Remote) explained(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return r.server.explain(ctx, err)
}

// go-git refuses packs that build upon objects which are not in them; the spool does not. Unless a server may send such a
// one it goes by the history when it thinks about what is here, of which there is none after a shallow fetch: each lost
// race would bring everything again.
func init() {
	transport.UnsupportedCapabilities = slices.DeleteFunc(transport.UnsupportedCapabilities, func(c capability.Capability) bool { return c == capability.ThinPack })
}

// fetch reads what is ordered into the spool. The link is used up, unless it goes over HTTP.
func (r *Remote) fetch(ctx context.Context, o order) error {
	if r.link == nil || r.link.used {
		if err := r.connect(ctx); err != nil {
			return err
		}
	}
	request := packp.NewUploadPackRequestFromCapabilities(r.link.refs.Capabilities)
	request.Wants, request.Haves, request.Shallows = o.wants, o.onto.haves, o.onto.shallows
	request.Depth, request.Filter = packp.DepthCommits(o.onto.depth), o.filter
	wanted := []capability.Capability{capability.NoProgress}
	if o.onto.depth > 0 {
		wanted = append(wanted, capability.Shallow)
	}
	if o.filter != "" {
		wanted = append(wanted, capability.Filter)
	}
	for _, c := range wanted {
		if r.link.refs.Capabilities.Supports(c) {
			if err := request.Capabilities.Set(c); err != nil {
				return err
			}
		}
	}
	r.link.used = !r.overHTTP()
	answer, err := r.link.session.UploadPack(ctx, request)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", short(o.wants[0].String()), cause(err))
	}
	defer answer.Close()
	base := func(hash plumbing.Hash) (plumbing.EncodedObject, error) {
		return r.objects.lookUp(plumbing.AnyObject, hash)
	}
	if err := r.objects.fetched.unpack(ctx, demultiplexed(answer, request.Capabilities), base); err != nil {
		if s, runs := r.link.session.(*session); runs && isEnd(err) && over(answer) {
			err = s.ended(ctx, err)
		}
		return fmt.Errorf("fetch %s: %w", short(o.wants[0].String()), err)
	}
	if o.onto.depth > 0 {
		r.cut = append(r.cut, answer.Shallows...)
	}
	return nil
}

// demultiplexed is the pack in an answer that may carry messages too.
func demultiplexed(answer io.Reader, agreed *capability.List) io.Reader {
	switch {
	case agreed.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, answer)
	case agreed.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, answer)
	}
	return answer
}
