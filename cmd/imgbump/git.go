package main

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/spf13/pflag"
)

// gitFlags say whether and how the edits become commits.
type gitFlags struct {
	commit, push bool
	repo         string
	remote       string
	branch       string
	targets      []string
	allTargets   bool
	via          string
	perText      string
	per          bump.Grouping // by check
	words        messageFlags
	sign         gitaccess.SignFlags
	author       string
	signOff      bool
	pushOptions  []string
	maxAttempts  int
	timeout      time.Duration
	login        gitaccess.Flags
	pr           pullRequestFlags
	observe      func(host, operation string, status int, took time.Duration) // of serve: each request
	flags        *pflag.FlagSet                                               // that these are bound to
}

// Ways in which a commit is made and published.
const (
	viaGit = "git"
	viaAPI = "github-api"
)

func (f *gitFlags) bind(flags *pflag.FlagSet) {
	flags.BoolVar(&f.commit, "commit", false, "commit the edits upon HEAD")
	flags.BoolVar(&f.push, "push", false, "commit upon the remote branch's tip and push")
	flags.StringVar(&f.remote, "remote", "origin", "`REMOTE` to push to")
	flags.StringVar(&f.branch, "branch", "", "`BRANCH` to push to (default: the one checked out, else the workflow's, else the remote's default)")
	f.bindTargets(flags)
	f.bindCommits(flags)
}

// bindTargets binds the flags that say where commits are pushed to without a checkout.
func (f *gitFlags) bindTargets(flags *pflag.FlagSet) {
	flags.StringVar(&f.repo, "repo", "", "push to the repository at `URL`, without a checkout; --root is a folder of it then")
	flags.StringArrayVar(&f.targets, "target", nil, "push to the target `NAME` of imgbump.yaml (repeatable)")
	flags.BoolVar(&f.allTargets, "all-targets", false, "push to all targets of imgbump.yaml")
}

// bindCommits binds the flags that say what commits look like and how they are published.
func (f *gitFlags) bindCommits(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.via, "via", viaGit, "`WAY` to publish commits: git, or github-api, which signs them as GitHub's own")
	cli.Group(flags, "Commit", func(flags *pflag.FlagSet) {
		f.words.bind(flags)
		f.sign.Bind(flags, "commits")
		flags.StringVar(&f.author, "author", "", "author and committer as `'NAME <MAIL>'` (default: git's user, on a runner its bot)")
		flags.BoolVar(&f.signOff, "sign-off", false, "end the message with Signed-off-by")
		flags.StringVar(&f.perText, "commit-per", "all", "changes that make a commit of their own: `GROUP` is image, file, application or all")
	})
	flags.IntVar(&f.maxAttempts, "max-attempts", 0, "give up after `N` lost races (0: only --timeout ends them)")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "`TIME` for all of the git work on a branch")
	flags.StringArrayVar(&f.pushOptions, "push-option", nil, "`TEXT` for the hooks of the server, as git push has it: ci.skip on GitLab (repeatable)")
	cli.Group(flags, "Git server", f.login.Bind)
	cli.Group(flags, "Pull request", f.pr.bind)
}

// commits reports whether the edits become a commit.
func (f *gitFlags) commits() bool { return f.commit || f.pushes() }

// pushes reports whether the commit is pushed, to the branch itself or as a pull request.
func (f *gitFlags) pushes() bool { return f.push || f.pr.open || f.repo != "" || f.toTargets() }

// toTargets reports whether imgbump.yaml says where the commits go.
func (f *gitFlags) toTargets() bool { return f.allTargets || len(f.targets) > 0 }

// proposes reports whether there may be a pull request.
func (f *gitFlags) proposes() bool { return f.pr.open || f.pr.onProtected == "pr" || f.toTargets() }

// namesApplications reports whether commits or pull requests are told apart, or described, by Argo CD's applications.
func (f *gitFlags) namesApplications() bool {
	return f.per == bump.PerApplication || f.pr.per == bump.PerApplication || f.words.message.NamesApplications()
}

// check refuses what contradicts itself or comes to nothing, and stores what the text of some flags means.
func (f *gitFlags) check() (err error) {
	if err := f.contradiction(); err != nil {
		return err
	}
	if err := f.wanting(); err != nil {
		return err
	}
	if f.per, err = grouping("--commit-per", f.perText); err != nil {
		return err
	}
	if err := f.words.check(); err != nil {
		return err
	}
	return f.pr.check()
}

func (f *gitFlags) contradiction() error {
	switch {
	case f.branch != "" && f.toTargets():
		return fault.Usagef("leave --branch away", "imgbump.yaml says to which branch a target goes")
	case f.allTargets && len(f.targets) > 0:
		return fault.Usagef("leave one of them away", "--all-targets and --target both say which targets are served")
	case f.repo != "" && f.commit:
		return fault.Usagef("leave --commit away: --repo pushes", "--commit needs a checkout, and --repo works without one")
	case f.commit && f.pushes():
		return fault.Usagef("leave --commit away: what is pushed is committed first", "--commit keeps the commit in this checkout, and --push, --pr and --target push it")
	case f.repo != "" && f.remote != "origin":
		return fault.Usagef("name one of them", "--repo and --remote both say where to push")
	case f.via != viaGit && f.via != viaAPI:
		return fault.Usagef("it is "+viaGit+" or "+viaAPI, "--via %s is unknown", f.via)
	case f.via == viaAPI && (f.author != "" || f.signOff):
		return fault.Usagef("leave --author and --sign-off away", "commits through --via %s are by the token's owner: GitHub signs no others", viaAPI)
	case f.via == viaAPI && len(f.pushOptions) > 0:
		return fault.Usagef("leave one of them away", "--via %s does not push, so that there is nothing that --push-option could go with", viaAPI)
	case f.via == viaAPI && f.sign.Given():
		return fault.Usagef("leave one of them away", "commits through --via %s are signed by GitHub, not with --sign-key", viaAPI)
	case f.maxAttempts < 0:
		return fault.Usagef("for example: --max-attempts 5", "--max-attempts %d is negative", f.maxAttempts)
	case f.timeout <= 0:
		return fault.Usagef("for example: --timeout 2m", "--timeout %v leaves no time", f.timeout)
	}
	return nil
}

// grouping is the value of a flag that says which changes belong together.
func grouping(flag, value string) (bump.Grouping, error) {
	known := []bump.Grouping{bump.PerImage, bump.PerFile, bump.PerApplication}
	if g := bump.Grouping(value); slices.Contains(known, g) {
		return g, nil
	}
	if value == "all" {
		return bump.All, nil
	}
	return bump.All, fault.Usagef("it is image, file, application or all", "%s %s is unknown", flag, value)
}

// options are what the flags say about commits and the way to the server.
func (f *gitFlags) options(c *cli.Console) (repo.Options, error) {
	o := f.login.Options(c)
	o.SignOff, o.PushOptions, o.Observe = f.signOff, f.pushOptions, f.observe
	if f.author != "" {
		var ok bool
		if o.Author, ok = parseAuthor(f.author); !ok {
			return repo.Options{}, fault.Usagef("for example: --author 'Deploy Bot <deploy@example.com>'", "--author %q is no 'Name <mail>'", f.author)
		}
	}
	if f.via == viaAPI {
		o.Unsigned = true
		return o, nil
	}
	var err error
	o.Signer, err = f.sign.Signer(c)
	return o, err
}

// parseAuthor takes 'Name <mail>' apart as git does, which is laxer than RFC 5322 on what the two may be.
func parseAuthor(author string) (who repo.Signature, ok bool) {
	at := strings.LastIndex(author, " <")
	mail, closed := strings.CutSuffix(author[at+1:], ">")
	if at < 0 || !closed {
		return who, false
	}
	who = repo.Signature{Name: strings.TrimSpace(author[:at]), Email: mail[1:]}
	forbidden := func(c rune) bool { return c == '<' || c == '>' || unicode.IsControl(c) }
	return who, who.Name != "" && who.Email != "" && !strings.ContainsFunc(who.Name+who.Email, forbidden)
}
