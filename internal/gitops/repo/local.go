package repo

import (
	"context"
	"errors"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// Local is the checked-out branch of a repository, committed to without a remote.
type Local struct{ history }

// Local is the branch that HEAD points to; a detached HEAD is moved itself, as git commit does.
func (r *Repo) Local() *Local {
	l := &Local{r.newHistory()}
	if promisor := r.promisor(); promisor != "" {
		l.fillFrom(promisor)
	}
	return l
}

// Name is the name of the branch, "" when HEAD is detached.
func (l *Local) Name() string {
	branch, _, _ := l.repo.head()
	return strings.TrimPrefix(branch, "refs/heads/")
}

// Tip is the checked-out commit.
func (l *Local) Tip(ctx context.Context) (string, error) {
	_, commit, err := l.repo.head()
	if err != nil {
		f := &fault.Error{What: "read HEAD of", Where: l.repo.root, Err: err}
		if errors.Is(err, errUnborn) {
			f.Hint = "make a first commit with git"
		}
		return "", f
	}
	return commit.String(), nil
}

// Publish moves the branch from parent to the last of the commits, and index and working files along. It fails with a
// Conflict when the branch is not at parent any more, and it refuses a file with changes of the user's, staged or not;
// nothing has changed then.
func (l *Local) Publish(ctx context.Context, parent string, commits []string) ([]string, error) {
	d, err := l.series(parent, commits)
	if err != nil || d.commit == d.parent {
		return commits, err
	}
	return commits, l.moveTo(ctx, d)
}

func (l *Local) moveTo(ctx context.Context, d *draft) error {
	f, err := l.repo.prepare(ctx, l.objects, d.edits)
	if err != nil {
		return err
	}
	defer f.abandon()
	if err := l.objects.store(d.objects); err != nil {
		return &fault.Error{What: "store the commit in", Where: l.repo.root, Err: err}
	}
	branch, _, _ := l.repo.head()
	return l.repo.moveRefAfter(ctx, branch, d.parent, d.commit, d.reason, f.apply)
}
