package gitaccess

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/github"
	"github.com/ksera524/imgbump/internal/gitops/repo"
)

// GitHubAPI is where the API of github.com is.
const GitHubAPI = "https://api.github.com"

// Keyring hands out the logins that flags and environment name, each to the server that it is meant for.
type Keyring struct {
	getenv   func(string) string
	username string
	token    string   // of --git-token-file
	home     *url.URL // the server that the command works with: another that a repository's files name is not to get its login
	app      *appTokens
	github   github.Options // for every client of GitHub's API, without a token
}

// appTokens are those of a GitHub App, each for one repository.
type appTokens struct {
	id    string
	mint  func(ctx context.Context, owner, repository string) (string, error)
	known map[string]string // by owner/repository
}

func (a *appTokens) credential(ctx context.Context, owner, repository string) (repo.Credential, error) {
	key := owner + "/" + repository
	if a.known[key] == "" {
		var err error
		if a.known[key], err = a.mint(ctx, owner, repository); err != nil {
			return repo.Credential{}, err
		}
	}
	return repo.Credential{Name: "the App " + a.id, Secret: a.known[key]}, nil
}

// Home says where the command works: with the repository r, whose git is configured for the way to GitHub's API too, and
// with a remote, by its address. Our own login is for the server of that alone.
func (k *Keyring) Home(r *repo.Repo, remote string) error {
	k.home = serverOf(remote)
	api, err := k.api()
	if err == nil {
		k.github.Transport, err = r.Transport(api)
	}
	return err
}

func (k *Keyring) api() (*url.URL, error) {
	api, err := url.Parse(k.github.APIURL)
	if err != nil {
		return nil, fault.Usagef("for example: "+GitHubAPI, "GITHUB_API_URL is not an address")
	}
	return api, nil
}

// Credential is the login for a server, without a secret when there is none for it. A token goes over an encrypted
// connection or stays on this machine.
func (k *Keyring) Credential(ctx context.Context, address *url.URL) (repo.Credential, error) {
	login, err := k.own(ctx, address)
	if login.Secret == "" && isGitHub(k.getenv, address) {
		login = repo.Credential{Name: "GITHUB_TOKEN", Secret: k.getenv("GITHUB_TOKEN")}
	}
	if err == nil && login.Secret != "" {
		err = hidden(login.Name, address)
	}
	if err != nil || login.Secret == "" {
		return repo.Credential{}, err
	}
	login.Username = k.username
	return login, nil
}

// hidden refuses to send what is named over a connection that others can read.
func hidden(name string, address *url.URL) error {
	if address.Scheme != "http" || loopback(address.Hostname()) {
		return nil
	}
	return &fault.Error{Kind: fault.Usage, What: "send " + name + " to", Where: "http://" + address.Host, Err: errors.New("it would be readable on the way"),
		Hint: "use an https:// address; only what git itself is configured to send (http.extraheader) goes over http://"}
}

// own is the login that was given to us, for the server that the command works with: the most explicit one.
func (k *Keyring) own(ctx context.Context, address *url.URL) (repo.Credential, error) {
	if !k.isHome(address) {
		return repo.Credential{}, nil
	}
	if k.token != "" {
		return repo.Credential{Name: "--git-token-file", Secret: k.token}, nil
	}
	owner, repository, found := github.Repository(address.String(), k.getenv("GITHUB_SERVER_URL"))
	if k.app != nil && found {
		return k.app.credential(ctx, owner, repository)
	}
	return repo.Credential{Name: "IMGBUMP_TOKEN", Secret: k.getenv("IMGBUMP_TOKEN")}, nil
}

// GitHub is a client of GitHub's API, to work on one repository, and what a person must know about its token, or "".
func (k *Keyring) GitHub(ctx context.Context, owner, repository string) (client *github.Client, warning string, err error) {
	login, err := k.forAPI(ctx, owner, repository)
	if err != nil {
		return nil, "", err
	}
	options := k.github
	options.Token, options.TokenName = login.Secret, login.Name
	client, err = github.New(options)
	return client, github.Warning(login.Name, login.Secret), err
}

func (k *Keyring) forAPI(ctx context.Context, owner, repository string) (repo.Credential, error) {
	api, err := k.api()
	switch {
	case err != nil:
		return repo.Credential{}, err
	case k.app != nil && k.token == "" && k.isHome(api):
		return k.app.credential(ctx, owner, repository)
	}
	return k.Credential(ctx, api)
}

// isHome reports whether the address is on the server that the command works with; GitHub's API is where GitHub is.
func (k *Keyring) isHome(address *url.URL) bool {
	return k.home != nil && (origin(k.home) == origin(address) || isGitHub(k.getenv, k.home) && isGitHub(k.getenv, address))
}

// serverOf is the server that a remote's address is on, as its web address; nil when it is on this machine.
func serverOf(address string) *url.URL {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		if u.Scheme == "ssh" {
			return &url.URL{Scheme: "https", Host: u.Hostname()}
		}
		return &url.URL{Scheme: u.Scheme, Host: u.Host}
	}
	login, _, scp := strings.Cut(address, ":")
	if !scp || strings.Contains(login, "/") {
		return nil
	}
	return &url.URL{Scheme: "https", Host: login[strings.LastIndexByte(login, '@')+1:]}
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// isGitHub reports whether the address is on the GitHub server that the workflow runs for, or on its API.
func isGitHub(getenv func(string) string, address *url.URL) bool {
	for variable, fallback := range map[string]string{"GITHUB_SERVER_URL": "https://github.com", "GITHUB_API_URL": GitHubAPI} {
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
