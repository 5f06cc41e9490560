// Package github commits and proposes through the API of GitHub and GitHub Enterprise Server.
//
// The token is for the API's own host: a redirect that leaves it is an error, not a way for the token to travel.
package github

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/ksera524/imgbump/internal/fault"
)

// Options say which GitHub is spoken to, and as whom.
type Options struct {
	APIURL    string // GITHUB_API_URL; empty is https://api.github.com
	Token     string
	TokenName string // where the token came from ("GITHUB_TOKEN"), for messages
	UserAgent string // empty is the library's own

	Transport http.RoundTripper // the way to the server; nil is http.DefaultTransport

	// Wait is told of each wait for a rate limit, before it, and why; nil is nobody.
	Wait func(d time.Duration, why string)
}

// Client speaks to the API of one GitHub server. It is safe for use by several goroutines.
type Client struct {
	api       *github.Client
	patient   *patient
	graphQL   string // the address for queries
	host      string
	tokenName string
}

// New is a client; it sends nothing before it is asked to. A bad address is an error of kind Usage, a missing token one of
// kind Denied.
func New(options Options) (*Client, error) {
	base, err := url.Parse(cmp.Or(options.APIURL, "https://api.github.com"))
	if err != nil || base.Scheme != "https" && base.Scheme != "http" || base.Host == "" || base.User != nil {
		return nil, fault.Usagef(hintAddress, "GITHUB_API_URL is not the address of GitHub's API")
	}
	if options.Token == "" {
		return nil, &fault.Error{Kind: fault.Denied, What: "reach", Where: base.Host, Err: errors.New("the API needs a token, and there is none for this host"),
			Hint: "set GITHUB_TOKEN; a workflow's own is ${{ github.token }}, and needs `permissions: contents: write` and `pull-requests: write`"}
	}
	p := &patient{next: options.Transport, waiting: options.Wait, now: time.Now, pause: sleep}
	if p.next == nil {
		p.next = http.DefaultTransport
	}
	if p.waiting == nil {
		p.waiting = func(time.Duration, string) {}
	}
	web := &http.Client{Transport: p, CheckRedirect: stay}
	c := &Client{
		api: github.NewClient(web).WithAuthToken(options.Token), patient: p,
		host: base.Host, tokenName: cmp.Or(options.TokenName, "the token"),
	}
	c.api.BaseURL = base.JoinPath("/")
	c.graphQL = queries(c.api.BaseURL)
	c.api.UserAgent = cmp.Or(options.UserAgent, c.api.UserAgent)
	return c, nil
}

// queries is where GraphQL is: https://api.github.com/graphql, or https://HOST/api/graphql beside https://HOST/api/v3
// (docs.github.com/enterprise-server/graphql/guides/forming-calls-with-graphql).
func queries(api *url.URL) string {
	root := *api
	root.Path = strings.TrimSuffix(root.Path, "v3/")
	return root.JoinPath("graphql").String()
}

// stay follows redirects to the same host only: go-github sends the token with every request, wherever it goes. Nor is a
// request followed that net/http turned into a GET; GitHub answers 307 for a repository that was renamed.
func stay(next *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case next.URL.Scheme != first.URL.Scheme || next.URL.Host != first.URL.Host:
		return &fault.Error{Err: fmt.Errorf("%s redirects to %s://%s, which the token is not for", first.URL.Host, next.URL.Scheme, next.URL.Host), Hint: hintAddress}
	case next.Method != first.Method || len(via) == 10:
		return &fault.Error{Err: fmt.Errorf("%s redirects, and not as GitHub does", first.URL.Host), Hint: hintAddress}
	}
	return nil
}
