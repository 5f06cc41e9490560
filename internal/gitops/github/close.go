package github

import (
	"context"
	"strings"

	"github.com/google/go-github/v60/github"
)

// own begins the branches that belong to pull requests of ours alone.
const own = "imgbump/"

// Close closes the open pull request from a head branch of the repository itself to base, which is superseded, and says
// why in a comment; that nobody declined it, the body says by proposing nothing any more. Then it deletes the branch, if it
// is called imgbump/ something and no other pull request needs it. Where somebody else's commits are on the branch, nothing
// happens. urls are those that were closed, even when what was left to do failed.
func (c *Client) Close(ctx context.Context, owner, repository, base, head, comment string) (urls []string, err error) {
	pulls, err := c.open(ctx, owner, repository, func(name string) bool { return name == head })
	if err != nil {
		return nil, err
	}
	needed, tip := false, ""
	for _, pull := range pulls {
		doing := deed{"close", pull.GetHTMLURL(), pullRequests}
		at := pull.GetHead().GetSHA()
		ours := pull.GetBase().GetRef() == base
		if ours {
			if ours, err = c.ours(ctx, owner, repository, base, at); err != nil {
				return urls, c.explain(ctx, doing, err)
			}
		}
		if !ours {
			needed = true
			continue
		}
		tip = at
		closed := &github.PullRequest{State: github.String("closed"), Body: github.String(remark.ReplaceAllString(pull.GetBody(), ""))}
		if _, _, err := c.api.PullRequests.Edit(ctx, owner, repository, pull.GetNumber(), closed); err != nil {
			return urls, c.explain(ctx, doing, err)
		}
		urls = append(urls, pull.GetHTMLURL())
		if _, _, err := c.api.Issues.CreateComment(ctx, owner, repository, pull.GetNumber(), &github.IssueComment{Body: &comment}); err != nil {
			doing.what = "comment on"
			return urls, c.explain(ctx, doing, err)
		}
	}
	if len(urls) > 0 && !needed && strings.HasPrefix(head, own) {
		err = c.drop(ctx, Series{Owner: owner, Repository: repository, Branch: head, Parent: tip})
	}
	return urls, err
}

// drop deletes a branch that is at Parent: REST does not compare, so that we look. That it is gone already, by a setting of
// the repository perhaps, is no error.
func (c *Client) drop(ctx context.Context, s Series) error {
	at, err := c.tip(ctx, s)
	if err == nil && at != s.Parent {
		return nil
	}
	if err == nil {
		_, err = c.api.Git.DeleteRef(ctx, s.Owner, s.Repository, s.ref())
	}
	if err != nil {
		if at, look := c.tip(ctx, s); look == nil && at == "" {
			return nil
		}
		return c.explain(ctx, deed{"delete", s.doing().where, contents}, err)
	}
	return nil
}

// Heads are the branches of the repository itself that begin with prefix and have an open pull request.
func (c *Client) Heads(ctx context.Context, owner, repository, prefix string) (heads []string, err error) {
	pulls, err := c.open(ctx, owner, repository, func(name string) bool { return strings.HasPrefix(name, prefix) })
	for _, pull := range pulls {
		heads = append(heads, pull.GetHead().GetRef())
	}
	return heads, err
}

// open are the open pull requests from branches of the repository itself whose names are wanted.
func (c *Client) open(ctx context.Context, owner, repository string, wanted func(name string) bool) (found []*github.PullRequest, err error) {
	options := &github.PullRequestListOptions{State: "open", ListOptions: github.ListOptions{PerPage: 100, Page: 1}}
	for options.Page > 0 {
		pulls, answer, err := c.api.PullRequests.List(ctx, owner, repository, options)
		if err != nil {
			return nil, c.explain(ctx, deed{"list the pull requests of", owner + "/" + repository, pullRequests}, err)
		}
		for _, pull := range pulls {
			if wanted(pull.GetHead().GetRef()) && pull.GetHead().GetRepo().GetID() == pull.GetBase().GetRepo().GetID() {
				found = append(found, pull)
			}
		}
		options.Page = answer.NextPage
	}
	return found, nil
}
