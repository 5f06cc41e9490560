package github

import (
	"context"

	"github.com/ksera524/imgbump/internal/gitops/trailer"
)

// ours reports whether nobody else's work is lost when a branch whose tip is given goes elsewhere: the tip is a commit of
// ours, or all that it has beyond base are such commits, and merges as the button "Update branch" makes them.
func (c *Client) ours(ctx context.Context, owner, repository, base, tip string) (bool, error) {
	commit, _, err := c.api.Git.GetCommit(ctx, owner, repository, tip)
	if err != nil || trailer.Marked(commit.GetMessage()) {
		return err == nil, err
	}
	beyond, _, err := c.api.Repositories.CompareCommits(ctx, owner, repository, base, tip, nil)
	if err != nil || beyond.GetTotalCommits() > len(beyond.Commits) {
		return false, err
	}
	for _, commit := range beyond.Commits {
		if len(commit.Parents) < 2 && !trailer.Marked(commit.GetCommit().GetMessage()) {
			return false, nil
		}
	}
	return true, nil
}
