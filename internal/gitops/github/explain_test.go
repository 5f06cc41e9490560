package github

import (
	"context"
	"net/url"
	"testing"
)

// A real silence would take as long as the timeout.
func TestExplainSilence(t *testing.T) {
	c := &Client{host: "api.example.com"}
	silence := &url.Error{Op: "Get", URL: "https://api.example.com/repos/acme/gitops/pulls", Err: context.DeadlineExceeded}
	want := "open a pull request in acme/gitops: reach api.example.com: no answer in time"
	if got := c.explain(t.Context(), deed{"open a pull request in", "acme/gitops", pullRequests}, silence).Error(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
