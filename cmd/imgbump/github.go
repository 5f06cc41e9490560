package main

import (
	"cmp"
	"context"
	"strings"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/github"
	"github.com/ksera524/imgbump/internal/gitops/repo"
)

// hub is a repository on GitHub, as its API knows it.
type hub struct {
	*github.Client
	owner, name string
	server      string
	web         string // the address of its page
	warning     string // what a person must know about the token
}

// hubOf finds the repository on GitHub that a remote is.
func hubOf(ctx context.Context, c *cli.Console, w *workplace, remote *repo.Remote) (*hub, error) {
	h := &hub{}
	var ok bool
	server := strings.TrimRight(cmp.Or(c.Getenv("GITHUB_SERVER_URL"), "https://github.com"), "/")
	if h.owner, h.name, ok = github.Repository(remote.URL(), server); !ok {
		return nil, fault.Usagef("GITHUB_SERVER_URL names a GitHub Enterprise Server", "pull requests and --via %s need a remote on GitHub, and %s is not", viaAPI, remote.URL())
	}
	h.server, h.web = server, server+"/"+h.owner+"/"+h.name
	var err error
	h.Client, h.warning, err = w.keys.GitHub(ctx, h.owner, h.name)
	return h, err
}

// throughAPI lets the destination's commits be made by GitHub.
func (f *gitFlags) throughAPI(c *cli.Console, d *destination, h *hub, remote *repo.Remote) {
	if h.warning != "" {
		c.Detailf("%s", h.warning)
	}
	d.branch = apiBranch{remote, h.Publish, github.Series{Owner: h.owner, Repository: h.name}}
	d.finish = func(_ context.Context, result *bump.Result) error {
		if len(result.Commits) > 0 && f.repo == "" {
			c.Progressf("GitHub made the commit, so this checkout stays as it was: `git pull` brings it up to date")
		}
		return nil
	}
}

// proposed is the destination of commits that pull requests onto the remote's branch propose.
func (f *gitFlags) proposed(w *workplace, h *hub, remote *repo.Remote, target config.Target, job bump.Job) *destination {
	p := &proposals{
		pullRequestFlags: f.pr, hub: h, remote: remote, job: job, pages: w.pages,
		target: target.Name, where: whereOf(target, w.prefix, job), several: w.several,
	}
	if strings.EqualFold(p.fork, h.owner) {
		p.fork = ""
	}
	d := &destination{
		branch: remote, repository: remote.URL(), warning: h.warning, finish: p.finish,
		proposals: &bump.Proposals{Per: f.pr.per, Head: func(group string) (bump.Branch, error) {
			head, err := p.branch(group)
			if err == nil && f.via == viaAPI {
				return apiBranch{head, h.Propose, github.Series{Owner: cmp.Or(p.fork, h.owner), Repository: h.name}}, nil
			}
			return head, err
		}},
	}
	if job.Updates != nil {
		d.proposals.Declined = p.declined
	}
	return d
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
