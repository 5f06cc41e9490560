package repo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// Version is a file as a commit has it.
type Version struct {
	Commit string
	manifest.File
}

// Recent are the files of the last n commits of the checked-out branch, below the slash-separated paths in under (all,
// when there are none): the newest commit's, then what differs in each one before. The commits of a branch that was merged
// do not count, the merge does. Files come as from Files. That the checkout has no such long history although there is one
// is an error.
func (l *Local) Recent(ctx context.Context, n int, under []string) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		tip, err := l.Tip(ctx)
		if err != nil {
			yield(Version{}, err)
			return
		}
		l.recent(ctx, plumbing.NewHash(tip), n, under, yield)
	}
}

// Recent are the files of the last n commits of the remote's branch, as Local's. They are fetched at once.
func (r *Remote) Recent(ctx context.Context, n int, under []string) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		if err := r.fetchRecent(ctx, n); err != nil {
			yield(Version{}, err)
			return
		}
		r.recent(ctx, r.tip, n, under, yield)
	}
}

func (r *Remote) fetchRecent(ctx context.Context, n int) error {
	r.objects.mu.Lock()
	defer r.objects.mu.Unlock()
	if err := r.connect(ctx); err != nil {
		return err
	}
	tip, err := r.find(r.link.refs)
	if err != nil {
		return err
	}
	r.tip = tip
	return r.explained(ctx, r.fetch(ctx, order{wants: []plumbing.Hash{tip}, onto: basis{depth: n}}))
}

func (h *history) recent(ctx context.Context, tip plumbing.Hash, n int, under []string, yield func(Version, error) bool) {
	commits, err := h.last(tip, n)
	if err != nil {
		yield(Version{}, err)
		return
	}
	w := versions{history: h, under: under, seen: map[string]bool{}, yield: yield}
	for _, c := range commits {
		w.commit = c.Hash.String()
		if more, err := w.walk(ctx, c.TreeHash, ""); err != nil {
			yield(Version{}, wrap("read commit", short(w.commit), err))
			return
		} else if !more {
			return
		}
	}
}

// versions walks commits and leaves out what it has been to: the same content at the same path.
type versions struct {
	*history
	commit string
	under  []string
	seen   map[string]bool
	yield  func(Version, error) bool
}

func (w *versions) walk(ctx context.Context, hash plumbing.Hash, dir string) (more bool, err error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	tree, err := w.objects.tree(ctx, hash)
	if err != nil {
		return false, err
	}
	for _, entry := range tree.Entries {
		p := path.Join(dir, entry.Name)
		key := entry.Hash.String() + p
		folder := entry.Mode == filemode.Dir
		if w.seen[key] || folder && !leadsInto(p, w.under) || !folder && !within(p, w.under) {
			continue
		}
		w.seen[key] = true
		if folder {
			if more, err := w.walk(ctx, entry.Hash, p); !more || err != nil {
				return more, err
			}
		} else if !w.yield(Version{w.commit, w.file(ctx, p, entry)}, nil) {
			return false, nil
		}
	}
	return true, nil
}

// last are tip and the commits before it on its branch, n in all: first parents only. What a branch was merged from was
// never what the branch said.
func (h *history) last(tip plumbing.Hash, n int) ([]*object.Commit, error) {
	var commits []*object.Commit
	for next := tip; ; next = commits[len(commits)-1].ParentHashes[0] {
		c, err := h.here(next)
		switch {
		case errors.Is(err, plumbing.ErrObjectNotFound):
			return nil, &fault.Error{What: "read the history of", Where: h.repo.root, Err: fmt.Errorf("it holds %d of the last %d commits, and not those before", len(commits), n),
				Hint: fmt.Sprintf("fetch more of it (git fetch --depth %d; fetch-depth of actions/checkout), or ask for less", n)}
		case err != nil:
			return nil, wrap("read the history of", h.repo.root, err)
		}
		if commits = append(commits, c); len(commits) == n || len(c.ParentHashes) == 0 {
			return commits, nil
		}
	}
}

// here is a commit, if that needs no fetching: a shallow clone lacks those before some.
func (h *history) here(hash plumbing.Hash) (*object.Commit, error) {
	h.objects.mu.Lock()
	defer h.objects.mu.Unlock()
	found, err := h.objects.lookUp(plumbing.CommitObject, hash)
	if err != nil {
		return nil, err
	}
	return object.DecodeCommit(h.objects.memory, found)
}
