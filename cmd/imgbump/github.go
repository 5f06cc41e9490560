package main

import (
	"cmp"
	"context"
	"net/url"
	"time"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/ksera524/imgbump/internal/gitops/github"
	"github.com/ksera524/imgbump/internal/gitops/repo"
)

// userAgent is what we call ourselves to servers.
const userAgent = "imgbump"

// hub is a repository on GitHub, as its API knows it.
type hub struct {
	*github.Client
	owner, name string
	server      string
	web         string // the address of its page
	warning     string // what a person must know about the token
}

// hubOf finds the repository on GitHub that a remote is.
func (f *gitFlags) hubOf(c *cli.Console, w *workplace, remote *repo.Remote) (*hub, error) {
	h := &hub{}
	var ok bool
	server := cmp.Or(c.Getenv("GITHUB_SERVER_URL"), "https://github.com")
	if h.owner, h.name, ok = github.Repository(remote.URL(), server); !ok {
		return nil, fault.Usagef("GITHUB_SERVER_URL names a GitHub Enterprise Server", "pull requests and --via %s need a remote on GitHub, and %s is not", viaAPI, remote.URL())
	}
	h.server, h.web = server, server+"/"+h.owner+"/"+h.name
	api, err := url.Parse(cmp.Or(c.Getenv("GITHUB_API_URL"), gitaccess.GitHubAPI))
	if err != nil {
		return nil, fault.Usagef("for example: "+gitaccess.GitHubAPI, "GITHUB_API_URL is not an address")
	}
	login, err := w.keys.ForAPI(api, h.owner, h.name)
	if err != nil {
		return nil, err
	}
	h.Client, err = github.New(github.Options{
		APIURL: api.String(), Token: login.Secret, TokenName: login.Name, CAFile: f.login.CAFile, UserAgent: userAgent,
		Wait: func(d time.Duration, why string) { c.Progressf("%s: waiting %v", why, d.Round(time.Second)) },
	})
	h.warning = github.Warning(login.Name, login.Secret)
	return h, err
}

// throughGitHub lets the destination's commits go through GitHub: to branches for pull requests, by its API, or both.
func (f *gitFlags) throughGitHub(c *cli.Console, w *workplace, d *destination, remote *repo.Remote, job bump.Job, proposes bool) error {
	h, err := f.hubOf(c, w, remote)
	if err != nil {
		return err
	}
	if !proposes {
		c.Detailf("%s", h.warning)
		d.branch = apiBranch{remote, h.Publish, github.Series{Owner: h.owner, Repository: h.name}}
		d.finish = func(_ context.Context, result *bump.Result) error {
			if len(result.Commits) > 0 && f.repo == "" {
				c.Progressf("GitHub made the commit, so this checkout stays as it was: `git pull` brings it up to date")
			}
			return nil
		}
		return nil
	}
	per, err := grouping("--pr-per", f.pr.per)
	if err != nil {
		return err
	}
	p := &proposals{pullRequestFlags: f.pr, hub: h, remote: remote, per: per, job: job, pages: w.pages}
	d.proposals = &bump.Proposals{Per: per, Head: func(group string) (bump.Branch, error) {
		head, err := p.head(group)
		if err == nil && f.via == viaAPI {
			return apiBranch{head, h.Propose, github.Series{Owner: cmp.Or(f.pr.fork, h.owner), Repository: h.name}}, nil
		}
		return head, err
	}}
	d.finish = p.finish
	if h.warning != "" {
		c.Warnf("", 0, "%s", h.warning)
	}
	return nil
}

// drafting is a branch of the remote whose commits can be published in another way.
type drafting interface {
	bump.Branch
	Draft(ctx context.Context, commit string) (repo.Draft, error)
}

// apiBranch is a branch that is read with git and committed to by GitHub's API, which signs the commits.
type apiBranch struct {
	drafting
	publish func(context.Context, github.Series) ([]string, error)
	series  github.Series // without commits
}

// Publish has GitHub make the commits in place of ours.
func (b apiBranch) Publish(ctx context.Context, parent string, commits []string) ([]string, error) {
	series := b.series
	series.Branch, series.Parent = b.Name(), parent
	for _, commit := range commits {
		draft, err := b.Draft(ctx, commit)
		if err != nil {
			return nil, err
		}
		made := github.Commit{Message: draft.Message}
		for _, file := range draft.Files {
			made.Files = append(made.Files, github.File(file))
		}
		series.Commits = append(series.Commits, made)
	}
	return b.publish(ctx, series)
}
