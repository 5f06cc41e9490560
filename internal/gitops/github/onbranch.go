package github

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// maxPayload is how many bytes a single request for a commit may carry; GitHub times out on large ones.
const maxPayload = 1 << 20

// createCommitOnBranch makes a signed commit upon expectedHeadOid and moves the branch to it, or does nothing
// (docs.github.com/graphql/reference/mutations#createcommitonbranch).
const createCommitOnBranch = `mutation($input: CreateCommitOnBranchInput!) { createCommitOnBranch(input: $input) { commit { oid } } }`

// moderate reports whether createCommitOnBranch can do it: one commit of plain files, since it has no file modes.
func (s Series) moderate() bool {
	if len(s.Commits) != 1 {
		return false
	}
	size := 0
	for _, file := range s.Commits[0].Files {
		size += len(file.Content)
		if file.Executable {
			return false
		}
	}
	return size <= maxPayload
}

// commitOnBranch publishes a moderate series by one request. An error that is unknown to the server is returned as it is.
func (c *Client) commitOnBranch(ctx context.Context, s Series) ([]string, error) {
	headline, body, _ := strings.Cut(s.Commits[0].Message, "\n")
	additions := []map[string]string{}
	for _, file := range s.Commits[0].Files {
		additions = append(additions, map[string]string{"path": file.Path, "contents": base64.StdEncoding.EncodeToString(file.Content)})
	}
	input := map[string]any{
		"branch":          map[string]string{"repositoryNameWithOwner": s.Owner + "/" + s.Repository, "branchName": s.Branch},
		"expectedHeadOid": s.Parent,
		"message":         map[string]string{"headline": headline, "body": strings.Trim(body, "\n")},
		"fileChanges":     map[string]any{"additions": additions},
	}
	var made struct {
		CreateCommitOnBranch struct{ Commit struct{ OID string } }
	}
	err := c.query(ctx, createCommitOnBranch, map[string]any{"input": input}, &made)
	if err == nil || unknown(err) {
		return []string{made.CreateCommitOnBranch.Commit.OID}, err
	}
	return c.judge(ctx, s, err)
}

// judge looks where the branch is after createCommitOnBranch failed: our commit may be there, its answer lost.
func (c *Client) judge(ctx context.Context, s Series, failure error) ([]string, error) {
	then, cancel := looking(ctx)
	defer cancel()
	at, look := c.tip(then, s)
	if look != nil {
		return nil, c.explain(ctx, s.doing(), failure)
	}
	refusals, answered := errors.AsType[queryErrors](failure)
	switch {
	case at == "":
		return nil, c.conflict(s, at)
	case at != s.Parent:
		ours, err := c.alike(then, s, at, func() ([]string, error) { return c.trees(then, s) })
		if err != nil || ours == nil {
			return nil, c.conflict(s, at)
		}
		return ours, nil
	case refusals.is("STALE_DATA"): // the branch went away and came back, or what we see of it lags
		return nil, &fault.Error{Kind: fault.Conflict, What: s.doing().what, Where: s.doing().where, Err: errors.New("somebody was first")}
	case answered && !refusals.is("FORBIDDEN", "INSUFFICIENT_SCOPES", "NOT_FOUND"):
		return nil, c.protected(s, failure)
	}
	return nil, c.explain(ctx, s.doing(), failure)
}
