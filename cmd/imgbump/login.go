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

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/github"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/spf13/pflag"
)

// loginFlags say how the git server is reached.
type loginFlags struct {
	username  string
	tokenFile string
	caFile    string
	appID     string
	appKey    string
	ssh       sshFlags
}

const gitEnvironment = `Environment:
  IMGBUMP_TOKEN  token to push with, sent to the host of --repo or of the checkout's remote alone
  GITHUB_TOKEN   the same, used only where that is the workflow's GitHub server, and for --pr
  IMGBUMP_APP_ID, IMGBUMP_APP_KEY
                 a GitHub App that commits instead, and its private key, as --app-id and --app-key-file
` + sshEnvironment + signEnvironment

func (f *loginFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.username, "git-username", "x-access-token", "`USER` that the token belongs to")
	flags.StringVar(&f.tokenFile, "git-token-file", "", "`FILE` with the token to push with, - is stdin (default: IMGBUMP_TOKEN, GITHUB_TOKEN, then what the checkout has)")
	flags.StringVar(&f.caFile, "git-ca-file", "", "PEM `FILE` of certificates to trust for the git server")
	flags.StringVar(&f.appID, "app-id", "", "`ID` of the GitHub App that commits; its installation is found, its token lasts an hour (default: IMGBUMP_APP_ID)")
	flags.StringVar(&f.appKey, "app-key-file", "", "`FILE` with the App's private key (default: IMGBUMP_APP_KEY holds the key)")
	f.ssh.bind(flags)
}

// app is the GitHub App to work as, without an ID when there is none.
func (f *loginFlags) app(c *cli.Console) (github.App, error) {
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
func (f *loginFlags) token(c *cli.Console) (string, error) {
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

// keyring hands out the logins that flags and environment name, each to the server that it is meant for.
type keyring struct {
	getenv   func(string) string
	username string
	token    string   // of --git-token-file
	home     *url.URL // the server of --repo or of the checkout's remote: a target that imgbump.yaml names is not to get its login
	app      *appTokens
}

// keyring is what the flags and the environment hold.
func (f *loginFlags) keyring(ctx context.Context, c *cli.Console) (*keyring, error) {
	k := &keyring{getenv: c.Getenv, username: f.username}
	app, err := f.app(c)
	if err == nil {
		k.token, err = f.token(c)
	}
	if err != nil || app.ID == "" {
		return k, err
	}
	options := github.Options{APIURL: c.Getenv("GITHUB_API_URL"), CAFile: f.caFile, UserAgent: userAgent}
	k.app = &appTokens{id: app.ID, known: map[string]string{}, mint: func(owner, repository string) (string, error) {
		token, _, err := github.AppToken(ctx, options, app, owner, repository)
		c.Workflow.Mask(token)
		return token, err
	}}
	return k, nil
}

// appTokens are those of a GitHub App, each for one repository.
type appTokens struct {
	id    string
	mint  func(owner, repository string) (string, error)
	known map[string]string // by owner/repository
}

func (a *appTokens) credential(owner, repository string) (repo.Credential, error) {
	key := owner + "/" + repository
	if a.known[key] == "" {
		var err error
		if a.known[key], err = a.mint(owner, repository); err != nil {
			return repo.Credential{}, err
		}
	}
	return repo.Credential{Name: "the App " + a.id, Secret: a.known[key]}, nil
}

// credential is the login for a server, without a secret when there is none for it. A token goes over an encrypted
// connection or stays on this machine.
func (k *keyring) credential(address *url.URL) (repo.Credential, error) {
	login, err := k.own(address)
	if login.Secret == "" && isGitHub(k.getenv, address) {
		login = repo.Credential{Name: "GITHUB_TOKEN", Secret: k.getenv("GITHUB_TOKEN")}
	}
	switch {
	case err != nil || login.Secret == "":
		return repo.Credential{}, err
	case address.Scheme == "http" && !loopback(address.Hostname()):
		return repo.Credential{}, &fault.Error{Kind: fault.Usage, What: "send " + login.Name + " to", Where: "http://" + address.Host, Err: errors.New("it would be readable on the way"),
			Hint: "use an https:// address; only what git itself is configured to send (http.extraheader) goes over http://"}
	}
	login.Username = k.username
	return login, nil
}

// own is the login that was given to us, for the server that the command works with: the most explicit one.
func (k *keyring) own(address *url.URL) (repo.Credential, error) {
	if !k.isHome(address) {
		return repo.Credential{}, nil
	}
	if k.token != "" {
		return repo.Credential{Name: "--git-token-file", Secret: k.token}, nil
	}
	owner, repository, found := github.Repository(address.String(), k.getenv("GITHUB_SERVER_URL"))
	if k.app != nil && found {
		return k.app.credential(owner, repository)
	}
	return repo.Credential{Name: "IMGBUMP_TOKEN", Secret: k.getenv("IMGBUMP_TOKEN")}, nil
}

// forAPI is the login for GitHub's API, to work on one repository.
func (k *keyring) forAPI(api *url.URL, owner, repository string) (repo.Credential, error) {
	if k.app != nil && k.token == "" && k.isHome(api) {
		return k.app.credential(owner, repository)
	}
	return k.credential(api)
}

// isHome reports whether the address is on the server that the command works with; GitHub's API is where GitHub is.
func (k *keyring) isHome(address *url.URL) bool {
	return k.home != nil && (origin(k.home) == origin(address) || isGitHub(k.getenv, k.home) && isGitHub(k.getenv, address))
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// isGitHub reports whether the address is on the GitHub server that the workflow runs for, or on its API.
func isGitHub(getenv func(string) string, address *url.URL) bool {
	for variable, fallback := range map[string]string{"GITHUB_SERVER_URL": "https://github.com", "GITHUB_API_URL": githubAPI} {
		u, err := url.Parse(cmp.Or(getenv(variable), fallback))
		if err == nil && origin(u) == origin(address) {
			return true
		}
	}
	return false
}

// origin is scheme, host and port of an address (RFC 6454), the port written out.
func origin(address *url.URL) string {
	port := cmp.Or(address.Port(), map[string]string{"http": "80", "https": "443"}[address.Scheme])
	return address.Scheme + "://" + net.JoinHostPort(strings.ToLower(address.Hostname()), port)
}
