package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/spf13/pflag"
)

// gitFlags say whether and how the edits become a commit.
type gitFlags struct {
	commit, push bool
	remote       string
	branch       string
	message      string
	author       string
	signOff      bool
	username     string
	tokenFile    string
	caFile       string
	maxAttempts  int
	timeout      time.Duration
	pr           pullRequestFlags
}

const gitEnvironment = `Environment:
  IMGBUMP_TOKEN  token to push with, sent to the remote's host alone
  GITHUB_TOKEN   the same, used only where the remote is the workflow's GitHub server, and for --pr
`

func (f *gitFlags) bind(flags *pflag.FlagSet) {
	flags.BoolVar(&f.commit, "commit", false, "commit the edits upon HEAD")
	flags.BoolVar(&f.push, "push", false, "commit upon the remote branch's tip and push")
	flags.StringVar(&f.remote, "remote", "origin", "`REMOTE` to push to")
	flags.StringVar(&f.branch, "branch", "", "`BRANCH` to push to (default: the one checked out, else the workflow's, else the remote's default)")
	flags.StringVar(&f.message, "message", "", "commit message, a Go `TEMPLATE` over .Summary and .Images (.Image, .Changes: .File .Line .From .To)")
	flags.StringVar(&f.author, "author", "", "author and committer as `'NAME <MAIL>'` (default: git's user, on a runner its bot)")
	flags.BoolVar(&f.signOff, "sign-off", false, "end the message with Signed-off-by")
	flags.StringVar(&f.username, "git-username", "x-access-token", "`USER` that the token belongs to")
	flags.StringVar(&f.tokenFile, "git-token-file", "", "`FILE` with the token to push with, - is stdin (default: IMGBUMP_TOKEN, GITHUB_TOKEN, then what the checkout has)")
	flags.StringVar(&f.caFile, "git-ca-file", "", "PEM `FILE` of certificates to trust for the git server")
	flags.IntVar(&f.maxAttempts, "max-attempts", 0, "give up after `N` lost races (0: only --timeout ends them)")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "`TIME` for all of the git work")
	f.pr.bind(flags)
}

// commits reports whether the edits become a commit.
func (f *gitFlags) commits() bool { return f.commit || f.pushes() }

// pushes reports whether the commit is pushed, to the branch itself or as a pull request.
func (f *gitFlags) pushes() bool { return f.push || f.pr.open }

func (f *gitFlags) check() error {
	switch {
	case f.branch != "" && !f.pushes():
		return fault.Usagef("add --push or --pr", "--branch names the branch to push to, but --push is missing")
	case f.maxAttempts < 0:
		return fault.Usagef("for example: --max-attempts 5", "--max-attempts %d is negative", f.maxAttempts)
	case f.timeout <= 0:
		return fault.Usagef("for example: --timeout 2m", "--timeout %v leaves no time", f.timeout)
	}
	if _, err := bump.ParseMessage(f.message); err != nil {
		return err
	}
	return f.pr.check()
}

// branch is what both kinds of repo branches offer.
type branch interface {
	bump.Branch
	Name() string
}

// target is where the commit goes.
type target struct {
	*repo.Repo
	branch  branch
	prefix  string
	message bump.Message
	login   func(address *url.URL) (repo.Credential, error)
	propose func(context.Context, *bump.Result) error // opens the pull request; nil without one
}

// open finds the repository that root lies in and the branch that the commit goes to.
func (f *gitFlags) open(c *cli.Console, root string) (*target, error) {
	options, err := f.options(c)
	if err != nil {
		return nil, err
	}
	t := &target{login: options.Credential}
	if t.message, err = bump.ParseMessage(f.message); err != nil {
		return nil, err
	}
	if t.Repo, err = repo.Open(root, options); err != nil {
		return nil, err
	}
	if t.prefix, err = t.Prefix(root); err == nil {
		err = f.aim(c, t)
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// aim gives the target its branch: of the checkout, of the remote, or a pull request's.
func (f *gitFlags) aim(c *cli.Console, t *target) error {
	if !f.pushes() {
		t.branch = t.Local()
		return nil
	}
	remote, err := t.Remote(f.remote, f.branch)
	if err != nil {
		return err
	}
	t.branch = remote
	if f.pr.open {
		err = f.proposeOn(c, t, remote)
	}
	return err
}

// repository is the address that was pushed to, or the folder of a commit that stays local.
func (t *target) repository() string {
	if remote, ok := t.branch.(interface{ URL() string }); ok {
		return remote.URL()
	}
	return t.Root()
}

func (f *gitFlags) options(c *cli.Console) (repo.Options, error) {
	o := repo.Options{
		SignOff: f.signOff, CAFile: f.caFile, Getenv: c.Getenv,
		Warn: func(text string) { c.Warnf("", 0, "%s", text) },
		Mask: c.Workflow.Mask,
	}
	if f.author != "" {
		var ok bool
		if o.Author, ok = parseAuthor(f.author); !ok {
			return repo.Options{}, fault.Usagef("for example: --author 'Deploy Bot <deploy@example.com>'", "--author %q is no 'Name <mail>'", f.author)
		}
	}
	token, err := f.token(c)
	o.Credential = func(address *url.URL) (repo.Credential, error) { return f.credential(c, token, address) }
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

// token is what --git-token-file holds, or "".
func (f *gitFlags) token(c *cli.Console) (string, error) {
	if f.tokenFile == "" {
		return "", nil
	}
	var data []byte
	var err error
	if f.tokenFile == "-" {
		data, err = io.ReadAll(io.LimitReader(c.In, 1<<20))
	} else {
		data, err = os.ReadFile(f.tokenFile)
	}
	token := strings.TrimSpace(string(data))
	if err != nil || token == "" {
		return "", &fault.Error{Kind: fault.Usage, What: "--git-token-file", Where: f.tokenFile, Hint: "it holds the token and nothing else", Err: err}
	}
	c.Workflow.Mask(token)
	return token, nil
}

// credential is the login for a server: the token that was named, else GitHub's, which belongs to GitHub alone. A token
// that would travel in the clear is an error.
func (f *gitFlags) credential(c *cli.Console, token string, address *url.URL) (repo.Credential, error) {
	name := "--git-token-file"
	if token == "" {
		name, token = "IMGBUMP_TOKEN", c.Getenv("IMGBUMP_TOKEN")
	}
	if token == "" && isGitHub(c.Getenv, address) {
		name, token = "GITHUB_TOKEN", c.Getenv("GITHUB_TOKEN")
	}
	switch {
	case token == "":
		return repo.Credential{}, nil
	case address.Scheme == "http" && !loopback(address.Hostname()):
		return repo.Credential{}, &fault.Error{Kind: fault.Usage, What: "send " + name + " to", Where: "http://" + address.Host, Err: errors.New("it would be readable on the way"),
			Hint: "use an https:// address; only what git itself is configured to send (http.extraheader) goes over http://"}
	}
	return repo.Credential{Username: f.username, Secret: token, Name: name}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// isGitHub reports whether address is on the GitHub server or its API, as the runner names them.
func isGitHub(getenv func(string) string, address *url.URL) bool {
	for variable, fallback := range map[string]string{"GITHUB_SERVER_URL": "https://github.com", "GITHUB_API_URL": githubAPI} {
		u, err := url.Parse(cmp.Or(getenv(variable), fallback))
		if err == nil && origin(u) == origin(address) {
			return true
		}
	}
	return false
}

// origin is whom a request to an address is for: scheme, host and port.
func origin(address *url.URL) string {
	port := cmp.Or(address.Port(), map[string]string{"http": "80", "https": "443"}[address.Scheme])
	return address.Scheme + "://" + net.JoinHostPort(strings.ToLower(address.Hostname()), port)
}
