package github

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/ksera524/imgbump/internal/fault"
)

// reviewers tells users from teams. A team of another organisation is an error of kind Usage: it cannot review.
func (p PullRequest) reviewers() (wanted github.ReviewersRequest, err error) {
	for _, name := range p.Reviewers {
		org, team, isTeam := strings.Cut(name, "/")
		switch {
		case !isTeam:
			wanted.Reviewers = append(wanted.Reviewers, name)
		case !strings.EqualFold(org, p.Owner):
			return wanted, fault.Usagef("a team that reviews is named "+p.Owner+"/TEAM", "team %s is not one of %s", name, p.Owner)
		default:
			wanted.TeamReviewers = append(wanted.TeamReviewers, team)
		}
	}
	return wanted, nil
}

// review asks those for a review who were not asked yet and have given none: who has is not disturbed by each update.
func (c *Client) review(ctx context.Context, p PullRequest, pull *github.PullRequest) error {
	wanted, _ := p.reviewers()
	wanted.Reviewers = without(wanted.Reviewers, pull.RequestedReviewers, (*github.User).GetLogin)
	wanted.TeamReviewers = without(wanted.TeamReviewers, pull.RequestedTeams, (*github.Team).GetSlug)
	if len(wanted.Reviewers)+len(wanted.TeamReviewers) == 0 {
		return nil
	}
	given, _, err := c.api.PullRequests.ListReviews(ctx, p.Owner, p.Repository, pull.GetNumber(), &github.ListOptions{PerPage: 100})
	if err != nil {
		return err
	}
	wanted.Reviewers = without(wanted.Reviewers, given, func(r *github.PullRequestReview) string { return r.GetUser().GetLogin() })
	if len(wanted.Reviewers)+len(wanted.TeamReviewers) == 0 {
		return nil
	}
	_, _, err = c.api.PullRequests.RequestReviewers(repeatable(ctx), p.Owner, p.Repository, pull.GetNumber(), wanted)
	refusal, ok := errors.AsType[*github.ErrorResponse](err)
	if ok && refusal.Response.StatusCode == http.StatusUnprocessableEntity {
		return &fault.Error{Err: errors.New(c.host + " answers 422: " + said(refusal)),
			Hint: "reviewers need access to " + p.repository() + ", and nobody reviews their own pull request; a team needs a token that may read the organisation"}
	}
	return err
}
