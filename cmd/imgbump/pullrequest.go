package main

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/github"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/spf13/pflag"
)

// maxBody is how many bytes of text a pull request has at most; GitHub takes 65536.
const maxBody = 60_000

// pullRequestFlags say what the pull requests look like, as typed.
type pullRequestFlags struct {
	open        bool
	onProtected string
	perText     string
	per         bump.Grouping // by check
	head        string
	fork        string
	title       string
	body        string
	labels      []string
	reviewers   []string
	assignees   []string
	draft       bool
	merge       string
}

func (f *pullRequestFlags) bind(flags *pflag.FlagSet) {
	flags.BoolVar(&f.open, "pr", false, "push to a branch of its own and open a pull request on GitHub, or update the open one")
	flags.StringVar(&f.onProtected, "on-protected", "fail", "`ACTION` when the branch takes no push: fail, or pr to open a pull request then")
	flags.StringVar(&f.perText, "pr-per", "all", "changes that make a pull request of their own: `GROUP` is image, file, application or all")
	flags.StringVar(&f.head, "pr-branch", "", "`BRANCH` of the pull request, for it alone (default: imgbump/, the name of --branch, + and what is set where)")
	flags.StringVar(&f.fork, "pr-fork", "", "push that branch to the fork of `OWNER`, for those who may not push to the repository")
	flags.StringVar(&f.title, "pr-title", "", "`TITLE` of the pull request (default: the commit's first line)")
	flags.StringVar(&f.body, "pr-body", "", "`TEXT` of the pull request (default: a table of the changes, and the diff)")
	flags.StringArrayVar(&f.labels, "pr-label", nil, "`LABEL` of the pull request (repeatable)")
	flags.StringArrayVar(&f.reviewers, "pr-reviewer", nil, "`USER` or ORG/TEAM that is asked for a review (repeatable)")
	flags.StringArrayVar(&f.assignees, "pr-assignee", nil, "`USER` that the pull request is assigned to (repeatable)")
	flags.BoolVar(&f.draft, "pr-draft", false, "open it as a draft")
	flags.StringVar(&f.merge, "pr-auto-merge", "", "let GitHub merge it when its checks have passed: `METHOD` is merge, squash or rebase")
}

// account is the name of a user or organisation of GitHub's, which hyphens do not end; managed users have an underscore.
var account = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,37}[A-Za-z0-9])?$`)

func (f *pullRequestFlags) check() (err error) {
	switch {
	case f.onProtected != "fail" && f.onProtected != "pr":
		return fault.Usagef("it is fail or pr", "--on-protected %s is unknown", f.onProtected)
	case f.merge != "" && !slices.Contains([]string{"merge", "squash", "rebase"}, f.merge):
		return fault.Usagef("it is merge, squash or rebase", "--pr-auto-merge %s is unknown", f.merge)
	case f.fork != "" && !account.MatchString(f.fork):
		return fault.Usagef("for example: --pr-fork octocat", "--pr-fork %q is the name of nobody on GitHub", f.fork)
	case strings.ContainsFunc(f.title, unicode.IsControl):
		return fault.Usagef("write it in one line; --pr-body takes more", "--pr-title %q has a line break or another control character", f.title)
	}
	f.per, err = grouping("--pr-per", f.perText)
	return err
}

// checkReviewers refuses teams that cannot review in a repository of owner's.
func (f *pullRequestFlags) checkReviewers(owner string) error {
	for _, name := range f.reviewers {
		if org, _, team := strings.Cut(name, "/"); team && !strings.EqualFold(org, owner) {
			return fault.Usagef("a team that reviews is named "+owner+"/TEAM", "--pr-reviewer %s is a team of another organisation than %s", name, owner)
		}
	}
	return nil
}

// proposals are the pull requests that a job leads to.
type proposals struct {
	pullRequestFlags
	*hub
	remote *repo.Remote // the branch that they are for
	job    bump.Job
	target string // its name, "" without one
	where  string // what the job is limited to, as the names of its branches tell it
	pages  *pages

	several bool // targets are served, not one
}

// branch is that for the pull request of a group.
func (p *proposals) branch(group string) (*repo.Proposal, error) {
	fork := ""
	if p.fork != "" {
		fork = p.server + "/" + p.fork + "/" + p.name
	}
	return p.remote.Propose(p.headName(group), fork)
}

// declined is why what a policy chose is not proposed again: somebody closed the pull request. A person who names a version
// gets it proposed whatever there was.
func (p *proposals) declined(ctx context.Context, head string, plan bump.Plan) (reason string, err error) {
	r := p.pullRequest(head, plan.Changes)
	r.Partly = len(plan.Failures) > 0
	url, err := p.Declined(ctx, r)
	if url != "" {
		reason = "somebody closed " + url + ", which proposed this; reopen it to have this after all"
	}
	return reason, err
}

// pullRequest is that for changes, without what it looks like.
func (p *proposals) pullRequest(head string, changes []bump.Change) github.PullRequest {
	var wanted []string
	for _, x := range changes {
		wanted = append(wanted, hashed(x.To.String()))
	}
	slices.Sort(wanted)
	return github.PullRequest{Owner: p.owner, Repository: p.name, Base: p.remote.Name(), Head: head, HeadOwner: p.fork,
		Proposes: slices.Compact(wanted)}
}

// finish opens a pull request for each head that has commits now, and closes those that propose nothing any more.
func (p *proposals) finish(ctx context.Context, result *bump.Result) error {
	for commits := result.Commits; len(commits) > 0; {
		n := slices.IndexFunc(commits, func(x bump.Commit) bool { return x.Branch != commits[0].Branch })
		if n < 0 {
			n = len(commits)
		}
		url, _, err := p.Open(ctx, p.request(ctx, commits[:n]))
		for i := range commits[:n] {
			commits[i].PullRequest = url
		}
		if err != nil {
			return err
		}
		commits = commits[n:]
	}
	if len(result.Failures) > 0 {
		return nil
	}
	return p.closeSuperseded(ctx, result.Commits)
}

// closeSuperseded closes the pull requests of this job that are open although the branch has what was asked for. Those of a
// fork are left to people.
func (p *proposals) closeSuperseded(ctx context.Context, made []bump.Commit) error {
	if p.fork != "" {
		return nil
	}
	heads, err := p.heads(ctx)
	if err != nil {
		return err
	}
	for _, head := range heads {
		if slices.ContainsFunc(made, func(x bump.Commit) bool { return x.Branch == head }) {
			continue
		}
		if _, err := p.Close(ctx, p.owner, p.name, p.remote.Name(), head, "Superseded: "+p.remote.Name()+" has what was proposed here, or something newer."); err != nil {
			return err
		}
	}
	return nil
}

// heads are the branches that this job may have proposed something in, now or in an earlier run.
func (p *proposals) heads(ctx context.Context) (heads []string, err error) {
	switch {
	case p.perImage():
		for _, image := range p.job.Images {
			heads = append(heads, p.headName(image.Ref.Canonical()))
		}
	case p.per == bump.All:
		heads = append(heads, p.headName(""))
	default:
		return p.Heads(ctx, p.owner, p.name, p.stem()+",")
	}
	return heads, nil
}

// request is the pull request for the commits of one head.
func (p *proposals) request(ctx context.Context, commits []bump.Commit) github.PullRequest {
	part := bump.Plan{Hold: commits[0].Hold}
	for _, x := range commits {
		part.Changes = append(part.Changes, x.Changes...)
		part.Rewrites = append(part.Rewrites, x.Rewrites...)
	}
	r := p.pullRequest(commits[0].Branch, part.Changes)
	r.Title, r.Body, r.Draft = p.title, p.body, p.draft
	r.Labels, r.Reviewers, r.Assignees = p.labels, p.reviewers, p.assignees
	r.AutoMerge, r.MergeMethod = p.merge != "", p.merge
	if r.Title == "" {
		r.Title, _, _ = strings.Cut(commits[0].Message, "\n")
		switch {
		case len(commits) == 1:
		case part.Hold != nil:
			r.Title = part.Summary()
		default:
			r.Title = "Bump " + part.Summary()
		}
	}
	if r.Body == "" {
		r.Body = p.describe(ctx, part, r)
	}
	if most := max(0, maxBody-len(strings.Join(r.Proposes, " "))); len(r.Body) > most {
		r.Body = strings.ToValidUTF8(r.Body[:most], "") + "\n\nand more, in the diff\n"
	}
	return r
}

// describe is the text of a pull request: what changes where, with links to the images, the comparison and the diff.
func (p *proposals) describe(ctx context.Context, part bump.Plan, r github.PullRequest) string {
	var b strings.Builder
	b.WriteString(table(part.Hold, part.Changes))
	for _, ref := range part.Images() {
		if page := p.pages.of(ctx, ref); page != "" {
			fmt.Fprintf(&b, "\n[%s](%s)\n", code(ref.String()), page)
		}
	}
	fmt.Fprintf(&b, "\n[Compare with %s](%s/compare/%s...%s)\n", code(r.Base), p.web, compared(r.Base), compared(strings.TrimPrefix(p.fork+":"+r.Head, ":")))
	if diff := fenced(part.Diff()); b.Len()+len(diff) <= maxBody {
		b.WriteString(diff)
	}
	return b.String()
}

// compared is a branch in the address of a comparison.
func compared(branch string) string { return strings.ReplaceAll(url.PathEscape(branch), "%2F", "/") }
