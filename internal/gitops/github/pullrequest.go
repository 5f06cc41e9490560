package github

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"
)

// PullRequest is what is asked for: that the branch Head be merged into the branch Base of the same repository.
type PullRequest struct {
	Owner, Repository string
	Base, Head        string
	Title, Body       string
	Labels            []string
}

// Open makes sure that one pull request is open from Head to Base: the one that is there gets Title and Body where they
// differ, else one is created. Labels are added, none is taken away. url is known as soon as there is a pull request,
// even when what is left to do failed. An error tells what GitHub's refusal means.
func (c *Client) Open(ctx context.Context, p PullRequest) (url string, created bool, err error) {
	pull, err := c.find(ctx, p)
	if err == nil && pull == nil {
		pull, created, err = c.create(ctx, p)
	}
	if err != nil {
		return "", false, c.explain(ctx, "open a pull request in", p.Owner+"/"+p.Repository, err)
	}
	url = pull.GetHTMLURL()
	if err := c.edit(ctx, p, pull); err != nil {
		return url, created, c.explain(ctx, "update", url, err)
	}
	if err := c.label(ctx, p, pull); err != nil {
		return url, created, c.explain(ctx, "label", url, err)
	}
	return url, created, nil
}

// find is the open pull request, or nil. GitHub leaves out a filter that it cannot read, and other servers with its API
// know none, so that the answer is looked through: nobody else's pull request is ever taken, nor a fork's.
func (c *Client) find(ctx context.Context, p PullRequest) (*github.PullRequest, error) {
	filter := &github.PullRequestListOptions{State: "open", Head: p.Owner + ":" + p.Head, Base: p.Base}
	pulls, _, err := c.api.PullRequests.List(ctx, p.Owner, p.Repository, filter)
	for _, pull := range pulls {
		head, base := pull.GetHead(), pull.GetBase()
		if head.GetRef() == p.Head && base.GetRef() == p.Base && head.GetRepo().GetID() == base.GetRepo().GetID() {
			return pull, nil
		}
	}
	return nil, err
}

// create opens a new pull request, unless somebody else did meanwhile. GitHub answers that with the same code as other
// refusals, so that looking again is what tells.
func (c *Client) create(ctx context.Context, p PullRequest) (pull *github.PullRequest, created bool, err error) {
	wanted := &github.NewPullRequest{Title: &p.Title, Body: &p.Body, Head: &p.Head, Base: &p.Base}
	pull, answer, err := c.api.PullRequests.Create(ctx, p.Owner, p.Repository, wanted)
	if err == nil {
		return pull, true, nil
	}
	if answer != nil && answer.StatusCode == http.StatusUnprocessableEntity {
		if theirs, _ := c.find(ctx, p); theirs != nil {
			return theirs, false, nil
		}
	}
	return nil, false, err
}

func (c *Client) edit(ctx context.Context, p PullRequest, pull *github.PullRequest) error {
	if pull.GetTitle() == p.Title && pull.GetBody() == p.Body {
		return nil
	}
	_, _, err := c.api.PullRequests.Edit(ctx, p.Owner, p.Repository, pull.GetNumber(), &github.PullRequest{Title: &p.Title, Body: &p.Body})
	return err
}

func (c *Client) label(ctx context.Context, p PullRequest, pull *github.PullRequest) error {
	var missing []string
	for _, name := range p.Labels {
		if !slices.ContainsFunc(pull.Labels, func(l *github.Label) bool { return strings.EqualFold(l.GetName(), name) }) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, _, err := c.api.Issues.AddLabelsToIssue(ctx, p.Owner, p.Repository, pull.GetNumber(), missing)
	return err
}
