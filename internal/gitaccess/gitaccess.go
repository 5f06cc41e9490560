// Package gitaccess turns flags and environment into the way to a git server: logins that each go to one server, SSH keys,
// trusted CAs, and the key to sign with.
package gitaccess

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/github"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/openssh"
)

// Environment is the help on the variables that are read.
const Environment = ReadEnvironment + `  IMGBUMP_SIGN_KEY, IMGBUMP_SIGN_KEY_PASSPHRASE
                 private key to sign with, SSH or OpenPGP, and what unlocks it or --sign-key
`

// ReadEnvironment is that of commands which commit nothing.
const ReadEnvironment = `Environment:
  IMGBUMP_TOKEN  token for the git server, sent to its host alone
  GITHUB_TOKEN   the same, used only where that is the workflow's GitHub server or its API
  IMGBUMP_APP_ID, IMGBUMP_APP_KEY
                 a GitHub App instead, and its private key, as --app-id and --app-key-file
  IMGBUMP_SSH_KEY, IMGBUMP_SSH_KEY_PASSPHRASE
                 private key for SSH remotes, and what unlocks it or --ssh-key
`

// Flags say how the git server is reached.
type Flags struct {
	caFile     string
	username   string
	tokenFile  string
	appID      string
	appKey     string
	sshKey     string
	knownHosts string
}

// Bind declares the flags.
func (f *Flags) Bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.username, "git-username", "x-access-token", "`USER` that the token belongs to")
	flags.StringVar(&f.tokenFile, "git-token-file", "", "`FILE` with the token to push with, - is stdin (default: IMGBUMP_TOKEN, GITHUB_TOKEN, then what the checkout has)")
	flags.StringVar(&f.caFile, "git-ca-file", "", "PEM `FILE` of certificates to trust for the git server and GitHub's API")
	flags.StringVar(&f.appID, "app-id", "", "`ID` of the GitHub App to push as; its installation is found, its token lasts an hour (default: IMGBUMP_APP_ID)")
	flags.StringVar(&f.appKey, "app-key-file", "", "`FILE` with the App's private key (default: IMGBUMP_APP_KEY holds the key)")
	flags.StringVar(&f.sshKey, "ssh-key", "", "`FILE` with the private key for an SSH remote (default: IMGBUMP_SSH_KEY, then as ssh is configured)")
	flags.StringVar(&f.knownHosts, "known-hosts", "", "`FILE` with the host keys of SSH servers (default: as ssh is configured; GitHub's are known)")
}

// Options are what the flags say of the way to the server, without a login.
func (f *Flags) Options(c *cli.Console) repo.Options {
	passphrase := c.Getenv("IMGBUMP_SSH_KEY_PASSPHRASE")
	if passphrase != "" {
		c.Workflow.Mask(passphrase)
	}
	return repo.Options{
		CAFile: f.caFile,
		SSH: openssh.Options{
			KeyFile: f.sshKey, Key: c.Getenv("IMGBUMP_SSH_KEY"), KeyName: "IMGBUMP_SSH_KEY", Passphrase: passphrase, KnownHosts: f.knownHosts,
		},
		Getenv: c.Getenv,
		Warn:   func(text string) { c.Warnf("", 0, "%s", text) },
		Mask:   c.Workflow.Mask,
	}
}

// Keyring is what flags and environment hold. It has no login of its own for any server before Home.
func (f *Flags) Keyring(c *cli.Console) (*Keyring, error) {
	k := &Keyring{getenv: c.Getenv, username: f.username}
	if token := c.Getenv("IMGBUMP_TOKEN"); token != "" {
		c.Workflow.Mask(token)
	}
	k.github = github.Options{APIURL: cmp.Or(c.Getenv("GITHUB_API_URL"), GitHubAPI), UserAgent: c.Agent(), Wait: func(d time.Duration, why string) {
		c.Progressf("%s: waiting %v", why, d.Round(time.Second))
	}}
	app, err := f.app(c)
	if err == nil {
		k.token, err = f.token(c)
	}
	if err != nil || app.ID == "" {
		return k, err
	}
	k.app = &appTokens{id: app.ID, known: map[string]string{}, mint: func(ctx context.Context, owner, repository string) (string, error) {
		api, err := k.api()
		if err == nil {
			err = hidden("the key of the App "+app.ID, api)
		}
		if err != nil {
			return "", err
		}
		token, _, err := github.AppToken(ctx, k.github, app, owner, repository)
		c.Workflow.Mask(token)
		return token, err
	}}
	return k, nil
}

// app is the GitHub App to work as, without an ID when there is none.
func (f *Flags) app(c *cli.Console) (github.App, error) {
	app := github.App{ID: cmp.Or(f.appID, c.Getenv("IMGBUMP_APP_ID")), Key: []byte(c.Getenv("IMGBUMP_APP_KEY"))}
	if f.appKey != "" {
		var err error
		if app.Key, err = os.ReadFile(f.appKey); err != nil {
			return app, &fault.Error{Kind: fault.Usage, What: "--app-key-file", Where: f.appKey, Hint: "it is the .pem file that GitHub gives under the App's settings", Err: fault.Cause(err)}
		}
	}
	if (app.ID == "") != (len(app.Key) == 0) {
		return app, fault.Usagef("set --app-id and --app-key-file, or IMGBUMP_APP_ID and IMGBUMP_APP_KEY", "a GitHub App needs both its ID and its private key")
	}
	return app, nil
}

// token is what --git-token-file holds, or "".
func (f *Flags) token(c *cli.Console) (string, error) {
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
	if err == nil && token == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return "", &fault.Error{Kind: fault.Usage, What: "--git-token-file", Where: f.tokenFile, Hint: "it holds the token and nothing else", Err: fault.Cause(err)}
	}
	c.Workflow.Mask(token)
	return token, nil
}

// ReadsStdin reports whether the token comes from standard input.
func (f *Flags) ReadsStdin() bool { return f.tokenFile == "-" }
