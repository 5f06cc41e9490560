package repo

import (
	"context"

	"github.com/go-git/go-git/v5/plumbing"
)

// Parent is a commit's first parent, "" when it has none. It is fetched when the checkout does not have it.
func (r *Remote) Parent(ctx context.Context, commit string) (string, error) {
	c, err := r.deep(ctx, plumbing.NewHash(commit))
	if err != nil {
		return "", wrap("read commit", short(commit), err)
	}
	if len(c.ParentHashes) == 0 {
		return "", nil
	}
	return c.ParentHashes[0].String(), nil
}
