package main

import (
	"cmp"
	"context"
	"net/url"
	"strings"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/github"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/spf13/pflag"
)

// githubAPI is where GitHub's API is, unless GITHUB_API_URL says otherwise.
const githubAPI = "https://api.github.com"

// maxBody is how long a pull request's text may be, in bytes; GitHub takes 65,536 characters.
const maxBody = 60_000

// pullRequestFlags say whether the commit is proposed, and in which words.
type pullRequestFlags struct {
	open   bool
	head   string
	title  string
	body   string
	labels []string
}

func (f *pullRequestFlags) bind(flags *pflag.FlagSet) {
	flags.BoolVar(&f.open, "pr", false, "push to a branch of its own and open a pull request on GitHub, or update the open one")
	flags.StringVar(&f.head, "pr-branch", "", "`BRANCH` of the pull request, which is replaced (default: imgbump/ and the name of --branch)")
	flags.StringVar(&f.title, "pr-title", "", "`TITLE` of the pull request (default: the commit's first line)")
	flags.StringVar(&f.body, "pr-body", "", "`TEXT` of the pull request (default: a table of the changes)")
	flags.StringArrayVar(&f.labels, "pr-label", nil, "`LABEL` of the pull request (repeatable)")
}

func (f *pullRequestFlags) check() error {
	if !f.open && (f.head != "" || f.title != "" || f.body != "" || len(f.labels) > 0) {
		return fault.Usagef("add --pr", "there are words for a pull request, but --pr is missing")
	}
	return nil
}

// proposeOn makes the target a pull request onto the remote's branch.
func (f *gitFlags) proposeOn(c *cli.Console, t *target, remote *repo.Remote) error {
	owner, name, ok := github.Repository(remote.URL(), c.Getenv("GITHUB_SERVER_URL"))
	if !ok {
		return fault.Usagef("GITHUB_SERVER_URL names a GitHub Enterprise Server", "--pr needs a remote on GitHub, and %s is not", remote.URL())
	}
	api, err := url.Parse(cmp.Or(c.Getenv("GITHUB_API_URL"), githubAPI))
	if err != nil {
		return fault.Usagef("for example: "+githubAPI, "GITHUB_API_URL is not an address")
	}
	login, err := t.login(api)
	if err != nil {
		return err
	}
	client, err := github.New(github.Options{
		APIURL: api.String(), Token: login.Secret, TokenName: login.Name, CAFile: f.caFile, UserAgent: "imgbump",
	})
	if err != nil {
		return err
	}
	proposal, err := remote.Propose(f.pr.head)
	if err != nil {
		return err
	}
	t.branch = proposal
	t.propose = func(ctx context.Context, result *bump.Result) error {
		for i := range result.Commits {
			commit := &result.Commits[i]
			commit.PullRequest, _, err = client.Open(ctx, github.PullRequest{
				Owner: owner, Repository: name, Base: proposal.Base(), Head: proposal.Name(), Labels: f.pr.labels,
				Title: f.pr.titleOf(commit.Message), Body: f.pr.bodyOf(result.Plan),
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

func (f *pullRequestFlags) titleOf(message string) string {
	if f.title != "" {
		return f.title
	}
	title, _, _ := strings.Cut(message, "\n")
	return title
}

func (f *pullRequestFlags) bodyOf(plan bump.Plan) string {
	body := f.body
	if body == "" {
		body = table(plan.Changes)
	}
	if len(body) <= maxBody {
		return body
	}
	return strings.ToValidUTF8(body[:maxBody], "") + "\n\nand more, in the diff\n"
}
