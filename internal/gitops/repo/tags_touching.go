package repo

import (
	"context"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// touching are those of the commits that change something at or below the paths; a merge does where it differs there
// from each of its parents.
func (t *Tags) touching(ctx context.Context, commits []*object.Commit, paths []string) ([]*object.Commit, error) {
	if err := t.fetchTrees(ctx, commits); err != nil {
		return nil, err
	}
	var touching []*object.Commit
	for _, c := range commits {
		own, err := t.entries(ctx, c.Hash, paths)
		if err != nil {
			return nil, err
		}
		changed := len(c.ParentHashes) > 0 || slices.ContainsFunc(own, func(h plumbing.Hash) bool { return !h.IsZero() })
		for _, parent := range c.ParentHashes {
			theirs, err := t.entries(ctx, parent, paths)
			if err != nil {
				return nil, err
			}
			changed = changed && !slices.Equal(own, theirs)
		}
		if changed {
			touching = append(touching, c)
		}
	}
	return touching, nil
}

// fetchTrees fetches the folders of commits and of their parents that are not here, at once.
func (t *Tags) fetchTrees(ctx context.Context, commits []*object.Commit) error {
	r := t.remote
	r.objects.mu.Lock()
	defer r.objects.mu.Unlock()
	var lacking []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	for _, c := range commits {
		for _, hash := range append(slices.Clone(c.ParentHashes), c.Hash) {
			if !seen[hash] && !t.hasTree(hash) {
				lacking = append(lacking, hash)
			}
			seen[hash] = true
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	if r.link == nil {
		if err := r.connect(ctx); err != nil {
			return err
		}
	}
	o := order{wants: lacking, onto: basis{depth: 1}}
	if givesParts(r.link.refs.Capabilities) {
		o.filter = packp.FilterBlobNone()
	}
	err := r.fetch(ctx, o)
	if err == nil || r.final(ctx, err) {
		return r.explained(ctx, err)
	}
	return t.tooShallow(ctx, err)
}

func (t *Tags) hasTree(commit plumbing.Hash) bool {
	found, err := t.remote.objects.lookUp(plumbing.CommitObject, commit)
	if err != nil {
		return false
	}
	c, err := object.DecodeCommit(t.remote.objects.memory, found)
	return err == nil && t.remote.objects.has(c.TreeHash)
}

// entries are what a commit has at the paths, zero where it has nothing.
func (t *Tags) entries(ctx context.Context, commit plumbing.Hash, paths []string) ([]plumbing.Hash, error) {
	c, err := t.remote.objects.commit(ctx, commit)
	if err != nil {
		return nil, err
	}
	at := make([]plumbing.Hash, len(paths))
	for i, p := range paths {
		if at[i], err = t.entry(ctx, c.TreeHash, p); err != nil {
			return nil, err
		}
	}
	return at, nil
}

func (t *Tags) entry(ctx context.Context, folder plumbing.Hash, p string) (plumbing.Hash, error) {
	tree, err := t.remote.objects.tree(ctx, folder)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	name, below, deeper := strings.Cut(p, "/")
	for _, e := range tree.Entries {
		switch {
		case e.Name != name:
		case !deeper:
			return e.Hash, nil
		case e.Mode == filemode.Dir:
			return t.entry(ctx, e.Hash, below)
		}
	}
	return plumbing.ZeroHash, nil
}
