package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/ksera524/imgbump/internal/fault"
)

const (
	refusals     = 3                      // a branch that is read from a copy that lags looks protected, but not thrice
	refusalPause = 200 * time.Millisecond // times the number of the refusal

	lastLook = 5 * time.Second // for a look at the branch when the time for everything else is up
)

// File is a file as a commit leaves it. Path is relative to the repository.
type File struct {
	Path       string
	Content    []byte
	Executable bool
}

// Commit is a commit to be made. Author and committer are GitHub's choice: the token's owner and GitHub, which signs it.
type Commit struct {
	Message string
	Files   []File // those that change
}

// Series are commits for a branch, at least one, one upon the other and the first upon Parent.
type Series struct {
	Owner, Repository string
	Branch, Parent    string
	Commits           []Commit
}

func (s Series) ref() string { return "refs/heads/" + s.Branch }

func (s Series) doing() deed {
	return deed{"commit to", s.Branch + " of " + s.Owner + "/" + s.Repository, "contents"}
}

// Publish makes the commits and moves the branch from Parent to the last, at once. When the branch is not at Parent, nothing
// happens and the error is of kind Conflict; that is decided by where the branch is, never by the server's words. A commit
// that changes nothing is none: its parent stands in its place.
func (c *Client) Publish(ctx context.Context, s Series) (commits []string, err error) {
	if s.moderate() {
		commits, err = c.commitOnBranch(ctx, s)
		if err == nil || !unknown(err) {
			return commits, err
		}
	}
	trees, err := c.trees(ctx, s)
	if err != nil {
		return nil, c.explain(ctx, s.doing(), err)
	}
	commits, err = c.commits(ctx, s, trees)
	if err != nil {
		return nil, c.explain(ctx, s.doing(), err)
	}
	return commits, c.advance(ctx, s, commits[len(commits)-1])
}

// Propose makes the commits and puts the branch on the last, wherever it was, unless somebody else's commits are on it. When
// the branch has the same content with the same messages upon Parent already, it stays, and the commits are those that it
// has. Somebody else moving it meanwhile is an error of kind Conflict.
func (c *Client) Propose(ctx context.Context, s Series) (commits []string, err error) {
	trees := sync.OnceValues(func() ([]string, error) { return c.trees(ctx, s) })
	at, err := c.tip(ctx, s)
	if err == nil && at != "" {
		if commits, err = c.alike(ctx, s, at, trees); commits != nil {
			return commits, nil
		}
		if err == nil {
			err = c.replaceable(ctx, s, at)
		}
	}
	if err != nil {
		return nil, c.explain(ctx, s.doing(), err)
	}
	made, err := trees()
	if err == nil {
		commits, err = c.commits(ctx, s, made)
	}
	if err != nil {
		return nil, c.explain(ctx, s.doing(), err)
	}
	return commits, c.replace(ctx, s, at, commits[len(commits)-1])
}

// replaceable is an error when the branch has commits of somebody else's.
func (c *Client) replaceable(ctx context.Context, s Series, at string) error {
	ours, err := c.ours(ctx, s.Owner, s.Repository, s.Parent, at)
	if err == nil && !ours {
		err = &fault.Error{Err: errors.New("somebody else's commits are on it"), Hint: "name another branch with --pr-branch, or merge this one"}
	}
	return err
}

// tip is where the branch is, "" when it is nowhere.
func (c *Client) tip(ctx context.Context, s Series) (string, error) {
	ref, answer, err := c.api.Git.GetRef(ctx, s.Owner, s.Repository, s.ref())
	if answer != nil && answer.StatusCode == http.StatusNotFound {
		_, _, err = c.api.Repositories.Get(ctx, s.Owner, s.Repository) // a repository that is hidden has no branches either
		return "", err
	}
	return ref.GetObject().GetSHA(), err
}

// advance moves the branch from Parent to commit. REST moves a branch forward from anywhere, so that we look first; and look
// again when it fails, because the answer may be lost and not the race, even when the time was up.
func (c *Client) advance(ctx context.Context, s Series, commit string) error {
	var failure error
	for try := 0; ; try++ {
		at, err := c.lastTip(ctx, s)
		switch {
		case err != nil:
			return c.explain(ctx, s.doing(), err)
		case at == commit:
			return nil
		case at != s.Parent:
			return c.conflict(s, at)
		case failure != nil && (!refused(failure) || ctx.Err() != nil):
			return c.explain(ctx, s.doing(), failure)
		case try == refusals:
			return c.protected(s, failure)
		}
		if _, _, failure = c.api.Git.UpdateRef(ctx, s.Owner, s.Repository, reference(s, commit), false); failure == nil {
			return nil
		}
		_ = c.patient.pause(ctx, time.Duration(try+1)*refusalPause) // when it ends early, the look is the last
	}
}

// looking is for a look at what became of a request, when the time is up too: it may have been done.
func looking(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() == nil {
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), lastLook)
}

func (c *Client) lastTip(ctx context.Context, s Series) (string, error) {
	ctx, cancel := looking(ctx)
	defer cancel()
	return c.tip(ctx, s)
}

// replace puts the branch on commit if it still is where it was, or creates it.
func (c *Client) replace(ctx context.Context, s Series, was, commit string) error {
	if was == commit || commit == s.Parent {
		return nil
	}
	at, err := c.tip(ctx, s)
	switch {
	case err != nil:
		return c.explain(ctx, s.doing(), err)
	case at != was:
		return c.conflict(s, at)
	case at == "":
		_, _, err = c.api.Git.CreateRef(repeatable(ctx), s.Owner, s.Repository, reference(s, commit))
	default:
		_, _, err = c.api.Git.UpdateRef(ctx, s.Owner, s.Repository, reference(s, commit), true)
	}
	if err == nil {
		return nil
	}
	switch at, look := c.lastTip(ctx, s); {
	case look == nil && at == commit:
		return nil
	case look == nil && at != was:
		return c.conflict(s, at)
	case refused(err):
		return c.protected(s, err)
	}
	return c.explain(ctx, s.doing(), err)
}

func reference(s Series, commit string) *github.Reference {
	ref := s.ref()
	return &github.Reference{Ref: &ref, Object: &github.GitObject{SHA: &commit}}
}

// refused reports whether the server understood and would not: 422, or 409 on servers that only resemble GitHub.
func refused(err error) bool {
	refusal, ok := errors.AsType[*github.ErrorResponse](err)
	return ok && (refusal.Response.StatusCode == http.StatusUnprocessableEntity || refusal.Response.StatusCode == http.StatusConflict)
}

func (c *Client) conflict(s Series, at string) error {
	f := &fault.Error{Kind: fault.Conflict, What: s.doing().what, Where: s.doing().where, Err: errors.New("the branch is gone")}
	if at != "" {
		f.Err = fmt.Errorf("somebody was first: it is at %.8s by now", at)
	}
	return f
}

// protectedError is a refusal that the branch's rules are the reason for.
type protectedError struct{ error }

// Protected reports whether a commit was refused by the rules of its branch: only a pull request can bring it there.
func Protected(err error) bool {
	_, ok := errors.AsType[*protectedError](err)
	return ok
}

func (c *Client) protected(s Series, refusal error) error {
	text := printable(refusal.Error())
	if response, ok := errors.AsType[*github.ErrorResponse](refusal); ok {
		text = said(response)
	}
	return &fault.Error{Kind: fault.Denied, What: s.doing().what, Where: s.doing().where,
		Err:  &protectedError{fmt.Errorf("%s refuses it: %s", c.host, text)},
		Hint: "the branch's rules refuse the commit: let " + c.tokenName + " bypass them, or propose it with --pr"}
}
