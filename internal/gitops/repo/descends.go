package repo

import (
	"context"
	"errors"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// unbuilt is how much history is fetched that nothing here is a part of, in commits.
const unbuilt = 500

// Descends reports whether a commit is another one, or has it among its ancestors. What the checkout lacks to tell is
// fetched: the history of the branch since that other commit. Where even that does not tell, known is false.
func (r *Remote) Descends(ctx context.Context, commit, from string) (yes, known bool, err error) {
	tip, base := plumbing.NewHash(commit), plumbing.NewHash(from)
	yes, whole, err := r.descends(ctx, tip, base)
	if yes || whole || err != nil {
		return yes, yes || whole, err
	}
	sent, err := r.fetchOnto(ctx, base)
	if err != nil {
		return false, false, wrap("read the history of", r.server.url, err)
	}
	yes, whole, err = r.descends(ctx, tip, base)
	// What is not here now of a commit that was sent is older than the base: the server left it out.
	return yes, yes || whole || sent && r.wasFetched(tip), err
}

// descends looks for base among the ancestors of tip, and reports whether it could look at all of them.
func (r *Remote) descends(ctx context.Context, tip, base plumbing.Hash) (yes, whole bool, err error) {
	whole = true
	seen := map[plumbing.Hash]bool{tip: true}
	for queue := []plumbing.Hash{tip}; len(queue) > 0; queue = queue[1:] {
		if queue[0] == base {
			return true, true, nil
		}
		c, err := r.here(queue[0])
		switch {
		case errors.Is(err, plumbing.ErrObjectNotFound):
			whole = false
			continue
		case err != nil || ctx.Err() != nil:
			return false, false, errors.Join(err, ctx.Err())
		}
		for _, parent := range c.ParentHashes {
			if !seen[parent] {
				seen[parent] = true
				queue = append(queue, parent)
			}
		}
	}
	return false, whole, nil
}

// fetchOnto fetches the history of the branch since a commit, without files, and reports whether that commit is here, which
// makes the history whole.
func (r *Remote) fetchOnto(ctx context.Context, base plumbing.Hash) (bool, error) {
	r.objects.mu.Lock()
	defer r.objects.mu.Unlock()
	if err := r.connect(ctx); err != nil {
		return false, r.explained(ctx, err)
	}
	defer r.rest()
	tip, err := r.find(r.link.refs)
	if err != nil {
		return false, err
	}
	onto := basis{haves: []plumbing.Hash{base}}
	_, missing := r.objects.lookUp(plumbing.CommitObject, base)
	if missing != nil {
		onto = basis{depth: unbuilt}
	}
	if r.objects.has(tip) && missing == nil {
		return true, nil // nothing has happened since
	}
	return missing == nil, r.explained(ctx, r.fetchFirst(ctx, tip, onto, packp.FilterTreeDepth(0), ""))
}

func (r *Remote) wasFetched(hash plumbing.Hash) bool {
	r.objects.mu.Lock()
	defer r.objects.mu.Unlock()
	_, fetched := r.objects.fetched.at[hash]
	return fetched
}

// Changed are the files that differ between a commit and its first parent, also those that are not there any more, in the
// order of their paths. The parent is fetched when the checkout does not have it.
func (r *Remote) Changed(ctx context.Context, commit string) ([]string, error) {
	of := plumbing.NewHash(commit)
	c, err := r.deep(ctx, of)
	if err != nil {
		return nil, wrap("read commit", short(commit), err)
	}
	var before plumbing.Hash
	if len(c.ParentHashes) > 0 {
		parent, err := r.objects.commit(ctx, c.ParentHashes[0])
		if err != nil {
			return nil, wrap("read the parent of commit", short(commit), err)
		}
		before = parent.TreeHash
	}
	var changed []string
	if err := r.compare(ctx, before, c.TreeHash, "", &changed); err != nil {
		return nil, wrap("read commit", short(commit), err)
	}
	slices.Sort(changed)
	return slices.Compact(changed), nil
}

// deep is a commit that is here with its parent, if it has one.
func (r *Remote) deep(ctx context.Context, hash plumbing.Hash) (*object.Commit, error) {
	c, err := r.here(hash)
	if err == nil && len(c.ParentHashes) > 0 {
		_, err = r.here(c.ParentHashes[0])
	}
	if !errors.Is(err, plumbing.ErrObjectNotFound) {
		return c, err
	}
	r.objects.mu.Lock()
	defer r.objects.mu.Unlock()
	if err := r.connect(ctx); err != nil {
		return nil, r.explained(ctx, err)
	}
	defer r.rest()
	r.sparse = true
	if err := r.explained(ctx, r.fetchFirst(ctx, hash, basis{depth: 2}, packp.FilterBlobNone(), "")); err != nil {
		return nil, err
	}
	found, err := r.objects.lookUp(plumbing.CommitObject, hash)
	if err != nil {
		return nil, err
	}
	return object.DecodeCommit(r.objects.memory, found)
}

// compare finds the files that differ between two folders, of which either may be none.
func (r *Remote) compare(ctx context.Context, before, after plumbing.Hash, dir string, changed *[]string) error {
	entries := map[string][2]object.TreeEntry{}
	for i, hash := range []plumbing.Hash{before, after} {
		if hash.IsZero() {
			continue
		}
		tree, err := r.objects.tree(ctx, hash)
		if err != nil {
			return err
		}
		for _, e := range tree.Entries {
			pair := entries[e.Name]
			pair[i] = e
			entries[e.Name] = pair
		}
	}
	for name, pair := range entries {
		if pair[0].Hash == pair[1].Hash && pair[0].Mode == pair[1].Mode {
			continue
		}
		var folders [2]plumbing.Hash
		for i, e := range pair {
			if e.Mode == filemode.Dir {
				folders[i] = e.Hash
			} else if !e.Hash.IsZero() {
				*changed = append(*changed, path.Join(dir, name))
			}
		}
		if folders != [2]plumbing.Hash{} {
			if err := r.compare(ctx, folders[0], folders[1], path.Join(dir, name), changed); err != nil {
				return err
			}
		}
	}
	return nil
}
