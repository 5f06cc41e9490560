package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/ksera524/imgbump/internal/fault"
)

const (
	refusals     = 3                      // a lock held by another push looks like a refusal, but not thrice
	refusalPause = 100 * time.Millisecond // times the number of the refusal

	lastLook = 5 * time.Second // for a look at the branch when the time for everything else is up
)

// Remote is a branch of a remote repository, decided on and pushed to without the checkout's help.
type Remote struct {
	history
	server *server
	remote string // its name in the checkout
	branch string // full name; "" until the first Tip when it is the remote's default
	tip    plumbing.Hash
	warned bool // of commits that stay local
	fetching
}

// Remote is a branch of a remote, which is a name ("origin") or a URL. Without a branch it is the one checked out;
// on a detached HEAD the one a GitHub workflow runs for, else the remote's default.
func (r *Repo) Remote(remote, branch string) (*Remote, error) {
	s, err := r.dial(remote)
	if err != nil {
		return nil, err
	}
	if branch == "" {
		if branch, err = r.defaultBranch(s); err != nil {
			return nil, err
		}
	}
	if branch != "" {
		if branch, err = branchRef(branch); err != nil {
			return nil, err
		}
	}
	b := &Remote{history: r.newHistory(), server: s, remote: remote, branch: branch}
	b.sparse = r.promisor() != ""
	b.objects.missing, b.gather = b.fetchObject, b.fetchFiles
	r.closers = append(r.closers, b.hangUp)
	return b, nil
}

// defaultBranch is the checked-out branch, or on a detached HEAD that of the workflow run, or "". The run's branch
// counts only when the remote is the run's own repository.
func (r *Repo) defaultBranch(s *server) (string, error) {
	if branch, _, err := r.head(); branch != "" || err != nil {
		return branch, nil // without a commit yet, perhaps: the remote knows
	}
	getenv := r.options.Getenv
	own := getenv("GITHUB_REPOSITORY")
	if own != "" && !strings.HasSuffix(strings.TrimSuffix(s.url, ".git"), "/"+own) {
		return "", nil
	}
	if head := getenv("GITHUB_HEAD_REF"); head != "" {
		return head, nil
	}
	switch getenv("GITHUB_REF_TYPE") {
	case "branch":
		return getenv("GITHUB_REF_NAME"), nil
	case "tag":
		return "", fault.Usagef("name the branch to commit to, --branch main for example",
			"the workflow runs for the tag %s, and a tag cannot be committed to", getenv("GITHUB_REF_NAME"))
	}
	return "", nil
}

// Address is the URL of a remote, as git would push to it; a URL is its own. It may hold a login: it is not for messages.
func (r *Repo) Address(remote string) (string, error) { return r.address(remote) }

// Name is the name of the branch; the remote's default is known after the first Tip.
func (r *Remote) Name() string { return strings.TrimPrefix(r.branch, "refs/heads/") }

// URL is the remote's address, without a login.
func (r *Remote) URL() string { return r.server.url }

// Tip is the newest commit of the branch on the remote. What the repository lacks of it is fetched into memory.
func (r *Remote) Tip(ctx context.Context) (string, error) {
	o := r.objects
	o.mu.Lock()
	tip, err := r.look(ctx)
	o.mu.Unlock()
	if err != nil {
		return "", err
	}
	if _, err := o.commit(ctx, tip); err != nil {
		return "", wrap("read the tip of", r.server.url, err)
	}
	r.warnOfLocal(ctx, tip)
	return tip.String(), nil
}

// look asks the server where the branch is, and fetches that commit unless it is here.
func (r *Remote) look(ctx context.Context) (plumbing.Hash, error) {
	if err := r.connect(ctx); err != nil {
		return plumbing.ZeroHash, err
	}
	defer r.rest()
	tip, err := r.find(r.link.refs)
	if err != nil {
		return tip, err
	}
	if _, missing := r.objects.lookUp(plumbing.CommitObject, tip); missing != nil {
		err = r.explained(ctx, r.fetchTip(ctx, tip))
	}
	r.tip, r.whole = tip, false
	return tip, err
}

// tracking is the ref that remembers the remote's branch in the checkout.
func (r *Remote) tracking() string { return "refs/remotes/" + r.remote + "/" + r.Name() }

// tracked is where the remote's branch was, as far as the checkout knows it: not when the remote is given by its address.
func (r *Remote) tracked() (at plumbing.Hash, ok bool) {
	at, err := r.repo.ref(r.tracking())
	return at, err == nil
}

// Publish moves the remote's branch from parent to the last of the commits, if it still is at parent; else it fails with a
// Conflict and nothing has happened. Whether it lost a race is decided by where the branch is, never by the server's
// words. Afterwards the checkout follows if it can.
func (r *Remote) Publish(ctx context.Context, parent string, commits []string) ([]string, error) {
	d, err := r.series(parent, commits)
	if err != nil || d.commit == d.parent {
		return commits, err
	}
	if err := r.send(ctx, d); err != nil {
		return nil, err
	}
	r.follow(ctx, d)
	return commits, nil
}

// send pushes the draft, and again while the server's refusal may have been another push's lock.
func (r *Remote) send(ctx context.Context, d *draft) error {
	for try := 1; ; try++ {
		err := r.server.push(ctx, r.branch, d, r.objects.memory)
		if err == nil {
			return nil
		}
		landed, err := r.judge(ctx, d, err, try == refusals)
		if landed || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * refusalPause):
		}
	}
}

// judge looks where the branch is after a push failed, also when that was because the time was up: the push may have
// landed. Neither landed nor an error: try again.
func (r *Remote) judge(ctx context.Context, d *draft, failure error, last bool) (landed bool, err error) {
	if elsewhere, ok := errors.AsType[moved](failure); ok {
		return false, r.conflict(elsewhere.to)
	}
	then := ctx
	if ctx.Err() != nil {
		var cancel func()
		then, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastLook)
		defer cancel()
	}
	session, refs, look := advertised(then, r.server, r.server.client.NewUploadPackSession)
	if look != nil {
		return false, failure
	}
	defer session.Close()
	var no *refusal
	switch tip := refs.References[r.branch]; {
	case tip == d.commit:
		return true, nil // the answer was lost, not the push
	case tip != d.parent:
		return false, r.conflict(tip)
	case !errors.As(failure, &no):
		return false, failure
	case !last && !Protected(no):
		return false, nil
	}
	return false, r.refused(no)
}

func (r *Remote) refused(no *refusal) error {
	f := &fault.Error{What: "push to", Where: r.Name() + " of " + r.server.url, Err: no}
	switch {
	case no.unpacking:
		f.Hint = "the server could not store the commit: see whether its disk is full, or the size of a push limited"
	case Protected(no):
		f.Kind, f.Hint = fault.Denied, "the branch is protected: allow this credential to push to it, or propose the change with --on-protected pr"
	case no.byHook():
		f.Kind, f.Hint = fault.Denied, "a hook of the server refused: do what it says, or commit to another branch with --branch"
	case strings.Contains(no.status, "checked out"): // git's word, receive.denyCurrentBranch
		f.Hint = "somebody works in that repository, on this branch: push to a bare one, or to another branch with --branch"
	default:
		f.Hint = "that is the server's own word: do what it says, or commit to another branch with --branch"
	}
	return f
}

func (r *Remote) conflict(tip plumbing.Hash) error {
	return &fault.Error{Kind: fault.Conflict, What: "push to", Where: r.Name() + " of " + r.server.url,
		Err: fmt.Errorf("somebody was first: it is at %s by now", short(tip.String()))}
}

// follow brings the checkout to the commit that was pushed, when it stands on the branch and nothing of the user's is
// in the way. It only warns: the push stands. A branch that the checkout does not track is perhaps another repository's.
func (r *Remote) follow(ctx context.Context, d *draft) {
	was, tracked := r.tracked()
	if !tracked {
		return
	}
	err := r.remember(ctx, d, was)
	if head, at, _ := r.repo.head(); err == nil && head == r.branch {
		if err = errElsewhere; at == d.parent {
			err = r.checkOut(ctx, d)
		}
	}
	if err != nil {
		r.repo.options.Warn(fmt.Sprintf("pushed, but this checkout stays as it was: %v; `git pull` brings it up to date", err))
	}
}

var errElsewhere = errors.New("it is not at the commit that the remote had")

// remember stores the commit in the repository, and that the remote has it, as git push does. A commit whose parent
// is not there would be a hole in the history; git fetches it when it wants.
func (r *Remote) remember(ctx context.Context, d *draft, was plumbing.Hash) error {
	if !r.objects.stored(d.parent) {
		return nil
	}
	if err := r.objects.store(d.objects); err != nil {
		return err
	}
	return r.repo.moveRef(ctx, r.tracking(), was, d.commit, "update by push")
}

func (r *Remote) checkOut(ctx context.Context, d *draft) error {
	f, err := r.repo.prepare(ctx, r.objects, d.edits)
	if err != nil {
		return err
	}
	defer f.abandon()
	return r.repo.moveRefAfter(ctx, r.branch, d.parent, d.commit, d.reason, f.apply)
}

// warnOfLocal names commits of the local branch that the remote does not have, once: they are not part of what is
// pushed. Where the histories do not meet, a shallow checkout's for example, it is silent.
func (r *Remote) warnOfLocal(ctx context.Context, tip plumbing.Hash) {
	local, err := r.repo.ref(r.branch)
	if _, tracked := r.tracked(); !tracked || r.warned || err != nil || local == tip {
		return
	}
	r.warned = true
	const far = 1000
	pushed := map[plumbing.Hash]bool{}
	r.ancestors(ctx, tip, func(c *object.Commit) bool {
		pushed[c.Hash] = true
		return c.Hash != local && len(pushed) < far
	})
	var names []string
	meet := false
	r.ancestors(ctx, local, func(c *object.Commit) bool {
		if meet = pushed[c.Hash]; !meet {
			subject, _, _ := strings.Cut(c.Message, "\n")
			names = append(names, fmt.Sprintf("%s %q", short(c.Hash.String()), subject))
		}
		return !meet && len(names) < far
	})
	if meet && len(names) > 0 {
		r.repo.options.Warn(fmt.Sprintf("%s has local commits that are not pushed and stay local: %s", r.Name(), abridged(names)))
	}
}

// abridged is a list for a message: five of its elements at most.
func abridged(list []string) string {
	if more := len(list) - 5; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:5], ", "), more)
	}
	return strings.Join(list, ", ")
}

// ancestors visits a commit and its first parents, as far as the repository has them.
func (r *Remote) ancestors(ctx context.Context, from plumbing.Hash, visit func(*object.Commit) bool) {
	o := r.objects
	o.mu.Lock()
	defer o.mu.Unlock()
	for ctx.Err() == nil {
		found, err := o.lookUp(plumbing.CommitObject, from)
		if err != nil {
			return
		}
		commit, err := object.DecodeCommit(o.memory, found)
		if err != nil || !visit(commit) || len(commit.ParentHashes) == 0 {
			return
		}
		from = commit.ParentHashes[0]
	}
}
