package github

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/ksera524/imgbump/internal/fault"
)

// PullRequest is what is asked for: that the branch Head be merged into the branch Base.
type PullRequest struct {
	Owner, Repository string
	Base, Head        string
	HeadOwner         string // whose fork Head is in; empty: it is in the repository itself
	Title, Body       string
	Proposes          []string // what is proposed, each in a word, which Declined finds again: they are kept in a comment below Body
	Partly            bool     // of what is to be proposed, something could not be found out
	Labels            []string
	Reviewers         []string // users, and teams of Owner as ORG/TEAM
	Assignees         []string
	Draft             bool // a new one; nobody's decision that it is ready is taken back
	AutoMerge         bool
	MergeMethod       string // of AutoMerge: merge, squash or rebase; empty is merge
}

func (p PullRequest) repository() string { return p.Owner + "/" + p.Repository }

// step is one thing that a pull request still needs once it is there.
type step struct {
	what string
	do   func(*Client, context.Context, PullRequest, *github.PullRequest) error
}

var steps = []step{
	{"update", (*Client).edit}, {"label", (*Client).label}, {"assign", (*Client).assign},
	{"ask for a review of", (*Client).review}, {"enable auto-merge of", (*Client).autoMerge},
}

// Open makes sure that one pull request is open from Head to Base: the one that is there gets Title and Body where they
// differ, else one is created; one that was closed stays so, which Declined tells. Labels, reviewers and assignees are added,
// none is taken away. url is known as soon as there is a pull request, even when what is left to do failed. An error tells
// what GitHub's refusal means.
func (c *Client) Open(ctx context.Context, p PullRequest) (url string, created bool, err error) {
	if _, err := p.reviewers(); err != nil {
		return "", false, err
	}
	pull, err := c.find(ctx, p)
	if err == nil && pull == nil {
		pull, created, err = c.create(ctx, p)
	}
	if err != nil {
		return "", false, c.explain(ctx, deed{"open a pull request in", p.repository(), pullRequests}, err)
	}
	url = pull.GetHTMLURL()
	for _, step := range steps {
		if err := step.do(c, ctx, p, pull); err != nil {
			return url, created, c.explain(ctx, deed{step.what, url, pullRequests}, err)
		}
	}
	return url, created, nil
}

// remark is what a pull request proposes, where no reader of its page sees it.
var remark = regexp.MustCompile(`\n*<!-- imgbump proposes ([^>]*) -->`)

func (p PullRequest) remark() string {
	if len(p.Proposes) == 0 {
		return ""
	}
	return "\n\n<!-- imgbump proposes " + strings.Join(p.Proposes, " ") + " -->"
}

// proposed reports whether a pull request with that body proposed the same; or more, of which p lacks what could not be found
// out.
func (p PullRequest) proposed(body string) bool {
	for _, found := range remark.FindAllStringSubmatch(body, -1) {
		words := strings.Fields(found[1])
		lacks := slices.ContainsFunc(p.Proposes, func(word string) bool { return !slices.Contains(words, word) })
		if !lacks && (p.Partly || len(words) == len(p.Proposes)) {
			return true
		}
	}
	return false
}

// Declined is the address of a pull request from Head to Base that proposed the same and that somebody else than Close has
// closed without merging it, "" when there is none, or when one is open.
func (c *Client) Declined(ctx context.Context, p PullRequest) (url string, err error) {
	if len(p.Proposes) == 0 {
		return "", nil
	}
	pulls, err := c.list(ctx, p, "all")
	if err != nil {
		return "", c.explain(ctx, deed{"list the pull requests of", p.repository(), pullRequests}, err)
	}
	for _, pull := range pulls {
		switch {
		case pull.GetState() == "open":
			return "", nil
		case url == "" && pull.MergedAt == nil && p.proposed(pull.GetBody()):
			url = pull.GetHTMLURL()
		}
	}
	return url, nil
}

// find is the open pull request, or nil.
func (c *Client) find(ctx context.Context, p PullRequest) (*github.PullRequest, error) {
	pulls, err := c.list(ctx, p, "open")
	if len(pulls) == 0 {
		return nil, err
	}
	return pulls[0], nil
}

// list are pull requests from Head to Base in a state, the newest first, as many as an answer has. GitHub leaves out a filter
// that it cannot read, and other servers with its API know none, so that the answer is looked through: nobody else's pull
// request is ever taken.
func (c *Client) list(ctx context.Context, p PullRequest, state string) ([]*github.PullRequest, error) {
	filter := &github.PullRequestListOptions{State: state, Head: cmp.Or(p.HeadOwner, p.Owner) + ":" + p.Head, Base: p.Base,
		ListOptions: github.ListOptions{PerPage: 100}}
	pulls, _, err := c.api.PullRequests.List(ctx, p.Owner, p.Repository, filter)
	return slices.DeleteFunc(pulls, func(pull *github.PullRequest) bool {
		return pull.GetHead().GetRef() != p.Head || pull.GetBase().GetRef() != p.Base || !p.owns(pull)
	}), err
}

// owns reports whether a pull request's head is in the repository that p says.
func (p PullRequest) owns(pull *github.PullRequest) bool {
	head, base := pull.GetHead(), pull.GetBase()
	inside := head.GetRepo().GetID() == base.GetRepo().GetID()
	if p.HeadOwner == "" {
		return inside
	}
	return !inside && strings.EqualFold(head.GetUser().GetLogin(), p.HeadOwner)
}

// create opens a new pull request, unless somebody else did meanwhile, or we by a request whose answer was lost: GitHub
// opens no second one from the same head to the same base, and answers with the same code as to other refusals, so that
// looking again is what tells.
func (c *Client) create(ctx context.Context, p PullRequest) (pull *github.PullRequest, created bool, err error) {
	body := p.Body + p.remark()
	wanted := &github.NewPullRequest{Title: &p.Title, Body: &body, Head: &p.Head, Base: &p.Base}
	if p.HeadOwner != "" {
		wanted.Head = github.String(p.HeadOwner + ":" + p.Head)
	}
	if p.Draft {
		wanted.Draft = &p.Draft
	}
	pull, answer, err := c.api.PullRequests.Create(repeatable(ctx), p.Owner, p.Repository, wanted)
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
	body := p.Body + p.remark()
	if pull.GetTitle() == p.Title && pull.GetBody() == body {
		return nil
	}
	_, _, err := c.api.PullRequests.Edit(ctx, p.Owner, p.Repository, pull.GetNumber(), &github.PullRequest{Title: &p.Title, Body: &body})
	return err
}

func (c *Client) label(ctx context.Context, p PullRequest, pull *github.PullRequest) error {
	missing := without(p.Labels, pull.Labels, (*github.Label).GetName)
	if len(missing) == 0 {
		return nil
	}
	_, _, err := c.api.Issues.AddLabelsToIssue(repeatable(ctx), p.Owner, p.Repository, pull.GetNumber(), missing)
	return err
}

// assign adds assignees. GitHub leaves out in silence whom it does not take.
func (c *Client) assign(ctx context.Context, p PullRequest, pull *github.PullRequest) error {
	missing := without(p.Assignees, pull.Assignees, (*github.User).GetLogin)
	if len(missing) == 0 {
		return nil
	}
	issue, _, err := c.api.Issues.AddAssignees(repeatable(ctx), p.Owner, p.Repository, pull.GetNumber(), missing)
	if err != nil {
		return err
	}
	if out := without(missing, issue.Assignees, (*github.User).GetLogin); len(out) > 0 {
		return &fault.Error{Err: errors.New(c.host + " leaves out " + strings.Join(out, ", ")),
			Hint: "assignees need access to " + p.repository() + ", and there are ten at most"}
	}
	return nil
}

// without are the wanted names that none of what is there has. GitHub's names know no case.
func without[T any](wanted []string, there []T, name func(T) string) []string {
	return slices.DeleteFunc(slices.Clone(wanted), func(w string) bool {
		return slices.ContainsFunc(there, func(t T) bool { return strings.EqualFold(name(t), w) })
	})
}
