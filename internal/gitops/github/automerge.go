package github

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/ksera524/imgbump/internal/fault"
)

const (
	enableAutoMerge = `mutation($id: ID!, $method: PullRequestMergeMethod) { enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: $method}) { pullRequest { id } } }`
	mergeState      = `query($owner: String!, $name: String!, $number: Int!) { repository(owner: $owner, name: $name) {
  autoMergeAllowed mergeCommitAllowed squashMergeAllowed rebaseMergeAllowed pullRequest(number: $number) { mergeStateStatus } } }`
)

// autoMerge lets GitHub merge the pull request as soon as nothing holds it back. One that is to be merged already stays
// as it is.
func (c *Client) autoMerge(ctx context.Context, p PullRequest, pull *github.PullRequest) error {
	if !p.AutoMerge || pull.GetAutoMerge() != nil {
		return nil
	}
	method := strings.ToUpper(p.MergeMethod)
	if method == "" {
		method = "MERGE"
	}
	err := c.query(ctx, enableAutoMerge, map[string]any{"id": pull.GetNodeID(), "method": method}, nil)
	if refusals, ok := errors.AsType[queryErrors](err); ok {
		return c.notMerged(ctx, p, pull, method, refusals)
	}
	return err
}

// notMerged finds out why GitHub does not take a pull request for auto-merge: its own words are one type for all reasons.
func (c *Client) notMerged(ctx context.Context, p PullRequest, pull *github.PullRequest, method string, refusals queryErrors) error {
	var state struct {
		Repository struct {
			AutoMergeAllowed, MergeCommitAllowed, SquashMergeAllowed, RebaseMergeAllowed bool
			PullRequest                                                                  struct{ MergeStateStatus string }
		}
	}
	variables := map[string]any{"owner": p.Owner, "name": p.Repository, "number": pull.GetNumber()}
	if err := c.query(ctx, mergeState, variables, &state); err != nil {
		return refusals
	}
	r := state.Repository
	allowed := map[string]bool{"MERGE": r.MergeCommitAllowed, "SQUASH": r.SquashMergeAllowed, "REBASE": r.RebaseMergeAllowed}
	f := &fault.Error{Err: refusals}
	switch {
	case !r.AutoMergeAllowed:
		f.Err = fmt.Errorf("%s does not allow it", p.repository())
		f.Hint = `tick "Allow auto-merge" under Settings, General, Pull Requests`
	case !allowed[method]:
		f.Err = fmt.Errorf("%s does not allow merging by %s", p.repository(), strings.ToLower(method))
		f.Hint = "choose another merge method, or allow this one under Settings, General, Pull Requests"
	case slices.Contains([]string{"CLEAN", "HAS_HOOKS", "UNSTABLE"}, r.PullRequest.MergeStateStatus):
		f.Err = errors.New("it can be merged right now, and GitHub enables auto-merge only while something holds a pull request back")
		f.Hint = "require a check or a review on " + p.Base + " by a branch rule, merge it by hand, or commit to " + p.Base + " without a pull request"
	}
	return f
}
