package github

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/ksera524/imgbump/internal/fault"
)

const maxSaid = 500 // of a server's own words in a message, in bytes

const hintAddress = "GITHUB_API_URL is https://api.github.com, or https://HOST/api/v3 for GitHub Enterprise Server"

// The permissions of a workflow's token that this package needs.
const (
	contents     = "contents"
	pullRequests = "pull-requests"
)

// deed is what was being done when a request failed, on what, and the permission that it takes.
type deed struct{ what, where, needs string }

// explain says what it means that a request failed, and what to do.
func (c *Client) explain(ctx context.Context, doing deed, err error) error {
	f := &fault.Error{What: doing.what, Where: doing.where}
	refusal, refused := errors.AsType[*github.ErrorResponse](err)
	query, refusedQuery := errors.AsType[queryErrors](err)
	limit, limited := errors.AsType[*limitError](err)
	switch {
	case ctx.Err() != nil:
		f.Err = context.Cause(ctx)
	case limited:
		f.Err, f.Hint = fmt.Errorf("%s takes no more requests with %s: %w", c.host, c.tokenName, limit), "try again "+limit.when()
	case refused:
		c.refused(f, doing, refusal)
	case refusedQuery:
		c.refusedQuery(f, doing, query)
	default:
		c.unreachable(f, err)
	}
	return f
}

// refused tells the answers of docs.github.com/rest apart by their status; what they say is for the reader.
func (c *Client) refused(f *fault.Error, doing deed, refusal *github.ErrorResponse) {
	status := refusal.Response.StatusCode
	f.Err = fmt.Errorf("%s answers %d %s: %s", c.host, status, http.StatusText(status), said(refusal))
	switch {
	case status >= http.StatusInternalServerError:
		f.Err = fmt.Errorf("%s answers %d %s", c.host, status, http.StatusText(status))
		f.Hint = "GitHub has trouble (www.githubstatus.com tells of its own): run it again"
	case refusal.Message == "":
		f.Err, f.Hint = fmt.Errorf("%s answers %d, and not as GitHub's API does", c.host, status), hintAddress
	case status == http.StatusUnauthorized:
		f.Kind, f.Err = fault.Denied, fmt.Errorf("%s does not accept %s", c.host, c.tokenName)
		f.Hint = "check that it has not expired, and that it belongs to this server"
	case status == http.StatusForbidden:
		f.Kind, f.Hint = fault.Denied, c.lacks(doing, refusal.Response.Header.Get("X-Accepted-GitHub-Permissions"))
	case status == http.StatusNotFound:
		c.hidden(f)
	case status == http.StatusUnprocessableEntity && doing.needs == pullRequests:
		f.Hint = "both branches must be there, and the one to merge must be ahead of the other"
	}
}

// refusedQuery tells the errors of GraphQL apart by their type.
func (c *Client) refusedQuery(f *fault.Error, doing deed, refusals queryErrors) {
	f.Err = fmt.Errorf("%s answers: %s", c.host, printable(refusals.Error()))
	switch {
	case refusals.is("NOT_FOUND"):
		c.hidden(f)
	case refusals.is("FORBIDDEN", "INSUFFICIENT_SCOPES"):
		f.Kind, f.Hint = fault.Denied, c.lacks(doing, "")
	}
}

func (c *Client) hidden(f *fault.Error) {
	f.Err = fmt.Errorf("%s has no such repository, or hides it from %s", c.host, c.tokenName)
	f.Hint = "check the address; a workflow's GITHUB_TOKEN reaches its own repository only, another one needs a personal access token or an App's"
}

// permissions is what X-Accepted-GitHub-Permissions looks like: "contents=write; contents=write,workflows=write".
var permissions = regexp.MustCompile(`^[a-z_]+=[a-z]+([,;] ?[a-z_]+=[a-z]+)*$`)

// lacks says which permission the token lacks. accepted is what GitHub says it asks for, sets of permissions of which one
// suffices (docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api#resource-not-accessible).
func (c *Client) lacks(doing deed, accepted string) string {
	wanted := "the right to write " + strings.ReplaceAll(doing.needs, "-", " ")
	if permissions.MatchString(accepted) && len(accepted) < 200 {
		wanted = "the permission " + strings.ReplaceAll(accepted, ";", " or")
	}
	hint := c.tokenName + " needs " + wanted + ": a workflow's own gets it by `permissions: " + doing.needs + ": write`"
	if doing.needs == pullRequests {
		hint += ", and with \"Allow GitHub Actions to create and approve pull requests\" ticked under Settings, Actions, General"
	}
	return hint
}

// said is GitHub's message with its details on one line.
func said(refusal *github.ErrorResponse) string {
	parts := []string{refusal.Message}
	for _, e := range refusal.Errors {
		if e.Message == "" {
			e.Message = strings.TrimSpace(e.Field + " " + e.Code)
		}
		parts = append(parts, e.Message)
	}
	return printable(strings.Join(parts, "; "))
}

func printable(text string) string { return fault.Said(text, maxSaid) }

// unreachable is for requests without an answer, and for answers that are none.
func (c *Client) unreachable(f *fault.Error, err error) {
	if web, ok := errors.AsType[*url.Error](err); ok {
		err = web.Err
	}
	_, noJSON := errors.AsType[*json.SyntaxError](err)
	_, otherJSON := errors.AsType[*json.UnmarshalTypeError](err)
	_, unknownCA := errors.AsType[x509.UnknownAuthorityError](err)
	_, known := errors.AsType[*fault.Error](err)
	f.Err, f.Hint = fmt.Errorf("reach %s: %w", c.host, err), "check GITHUB_API_URL, and that this machine reaches it (network, proxy)"
	switch {
	case known:
		f.Kind, f.Err, f.Hint = fault.KindOf(err), err, ""
	case noJSON || otherJSON:
		f.Err, f.Hint = fmt.Errorf("%s does not answer as GitHub's API does", c.host), hintAddress
	case unknownCA:
		f.Hint = "name the file of the server's CA certificate: --git-ca-file, or git's http.sslCAInfo"
	case errors.Is(err, context.DeadlineExceeded):
		f.Err = fmt.Errorf("reach %s: no answer in time", c.host)
	}
}
