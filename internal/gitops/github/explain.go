package github

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/ksera524/imgbump/internal/fault"
)

const hintAddress = "GITHUB_API_URL is https://api.github.com, or https://HOST/api/v3 for GitHub Enterprise Server"

// explain says what it means that a request failed, and what to do.
func (c *Client) explain(ctx context.Context, what, where string, err error) error {
	f := &fault.Error{What: what, Where: where}
	refusal, refused := errors.AsType[*github.ErrorResponse](err)
	when, limited := retry(err)
	switch {
	case ctx.Err() != nil:
		f.Err = context.Cause(ctx)
	case limited:
		f.Err, f.Hint = fmt.Errorf("%s takes no more requests with %s: its rate limit is reached", c.host, c.tokenName), "try again "+when
	case refused:
		c.refused(f, refusal)
	default:
		c.unreachable(f, err)
	}
	return f
}

// refused tells the answers of docs.github.com/rest apart by their status; what they say is for the reader.
func (c *Client) refused(f *fault.Error, refusal *github.ErrorResponse) {
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
		f.Kind, f.Hint = fault.Denied, c.tokenName+" needs the right to write pull requests: a workflow's own gets it by `permissions: pull-requests: write`, "+
			"and with \"Allow GitHub Actions to create and approve pull requests\" ticked under Settings, Actions, General"
	case status == http.StatusNotFound:
		f.Err = fmt.Errorf("%s has no such repository, or hides it from %s", c.host, c.tokenName)
		f.Hint = "check the address; a workflow's GITHUB_TOKEN reaches its own repository only, another one needs a personal access token or an App's"
	case status == http.StatusUnprocessableEntity:
		f.Hint = "both branches must be there, and the one to merge must be ahead of the other"
	}
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
	return strings.Join(strings.Fields(strings.Join(parts, "; ")), " ")
}

// retry tells a rate limit from other refusals, and when it will be over. GitHub answers 403 or 429 to both kinds of
// limits (docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).
func retry(err error) (when string, limited bool) {
	if primary, ok := errors.AsType[*github.RateLimitError](err); ok {
		return after(primary.Rate.Reset.Time), true
	}
	var header http.Header
	if secondary, ok := errors.AsType[*github.AbuseRateLimitError](err); ok {
		header, limited = secondary.Response.Header, true
	}
	if refusal, ok := errors.AsType[*github.ErrorResponse](err); ok {
		header = refusal.Response.Header
		status := refusal.Response.StatusCode
		limited = status == http.StatusTooManyRequests || status == http.StatusForbidden && header.Get("Retry-After") != ""
	}
	if !limited {
		return "", false
	}
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
		return "in " + (time.Duration(seconds) * time.Second).String(), true
	}
	if reset, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64); err == nil && header.Get("X-RateLimit-Remaining") == "0" {
		return after(time.Unix(reset, 0)), true
	}
	return "in a few minutes", true
}

func after(t time.Time) string { return "after " + t.UTC().Format(time.DateTime+" MST") }

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
		f.Err, f.Hint = err, ""
	case noJSON || otherJSON:
		f.Err, f.Hint = fmt.Errorf("%s does not answer as GitHub's API does", c.host), hintAddress
	case unknownCA:
		f.Hint = "name the file of the server's CA certificate"
	case errors.Is(err, context.DeadlineExceeded):
		f.Err = fmt.Errorf("reach %s: no answer in time", c.host)
	}
}
