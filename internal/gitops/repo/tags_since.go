package repo

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"

	"github.com/ksera524/imgbump/internal/fault"
)

// Since are the messages of the commits that lead to commit and not to the base, the newest first, as git log
// BASE..COMMIT has them; with slash-separated paths, those that change something there. What the checkout is too
// shallow to tell is asked of the remote, into memory: just these commits, without their files where it can leave them
// out.
func (t *Tags) Since(ctx context.Context, base, commit string, paths []string) ([]string, error) {
	from, to := plumbing.NewHash(base), plumbing.NewHash(commit)
	s := newSpan(t.remote.here)
	whole, err := s.walk(ctx, from, to)
	if err == nil && !whole {
		t.remote.history = t.remote.repo.newHistory() // so that what was fetched is what was asked for
		if err = t.fetchSince(ctx, from, to); err == nil {
			s = newSpan(t.fetched)
			_, err = s.walk(ctx, from, to)
		}
	}
	if err != nil {
		return nil, wrap("read the history of", t.remote.repo.root, err)
	}
	commits := s.found()
	if len(paths) > 0 {
		if commits, err = t.touching(ctx, commits, paths); err != nil {
			return nil, wrap("read the history of", t.remote.repo.root, err)
		}
	}
	messages := []string{}
	for _, c := range commits {
		messages = append(messages, c.Message)
	}
	return messages, nil
}

// fetchSince fetches what leads to a commit and not to the base. The server is told that we have the base: it sends
// nothing that is older.
func (t *Tags) fetchSince(ctx context.Context, base, commit plumbing.Hash) error {
	r := t.remote
	r.objects.mu.Lock()
	defer r.objects.mu.Unlock()
	if r.link == nil {
		if err := r.connect(ctx); err != nil {
			return err
		}
	}
	err := r.fetchFirst(ctx, commit, basis{haves: []plumbing.Hash{base}}, packp.FilterTreeDepth(0), "")
	if err == nil || r.final(ctx, err) {
		return r.explained(ctx, err)
	}
	return t.tooShallow(ctx, err)
}

func (t *Tags) tooShallow(ctx context.Context, err error) error {
	return &fault.Error{What: "read the commits since the last version from", Where: t.URL(), Err: t.remote.explained(ctx, err),
		Hint: "let the checkout have its history: fetch-depth: 0 of actions/checkout, or git fetch --unshallow"}
}

// fetched is a commit that the remote sent.
func (t *Tags) fetched(hash plumbing.Hash) (*object.Commit, error) {
	if _, sent := t.remote.objects.fetched.at[hash]; !sent {
		return nil, plumbing.ErrObjectNotFound
	}
	return t.remote.here(hash)
}

// span finds the commits that lead to one and not to another. Both are followed back at once, the youngest commit
// first, until what is left is old, and older than all that was found: as git does it, which trusts the dates too.
type span struct {
	read   func(plumbing.Hash) (*object.Commit, error)
	queue  ages
	met    map[plumbing.Hash]*passed
	order  []*passed
	oldest time.Time // of order
	open   int       // in the queue, and not old
}

// passed is a commit on the way, nil when it is not here. It is old when it leads to the base.
type passed struct {
	commit      *object.Commit
	old, queued bool
}

func newSpan(read func(plumbing.Hash) (*object.Commit, error)) *span {
	return &span{read: read, met: map[plumbing.Hash]*passed{}}
}

// walk reports whether everything was here that it takes to tell.
func (s *span) walk(ctx context.Context, base, tip plumbing.Hash) (whole bool, err error) {
	if err := errors.Join(s.meet(base, true), s.meet(tip, false)); err != nil {
		return false, err
	}
	for s.open > 0 || len(s.queue) > 0 && !s.queue[0].when.Before(s.oldest) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		c := heap.Pop(&s.queue).(aged).commit
		p := s.met[c.Hash]
		p.queued = false
		if !p.old {
			s.open--
			s.order = append(s.order, p)
			if when := c.Committer.When; len(s.order) == 1 || when.Before(s.oldest) {
				s.oldest = when
			}
		}
		for _, parent := range c.ParentHashes {
			if err := s.meet(parent, p.old); err != nil {
				return false, err
			}
		}
	}
	whole = s.met[base].commit != nil
	for _, p := range s.met {
		whole = whole && (p.commit != nil || p.old)
	}
	return whole, nil
}

// meet comes to a commit, the first time or to tell that it is old.
func (s *span) meet(hash plumbing.Hash, old bool) error {
	p, again := s.met[hash]
	if !again {
		c, err := s.read(hash)
		if err != nil && !errors.Is(err, plumbing.ErrObjectNotFound) {
			return err
		}
		p = &passed{commit: c}
		s.met[hash] = p
	} else if p.old || !old {
		return nil
	}
	if p.queued && old {
		s.open--
	}
	p.old = old
	if p.commit == nil || p.queued {
		return nil
	}
	p.queued = true
	if !old {
		s.open++
	}
	heap.Push(&s.queue, aged{p.commit, p.commit.Committer.When})
	return nil
}

func (s *span) found() []*object.Commit {
	var commits []*object.Commit
	for _, p := range s.order {
		if !p.old {
			commits = append(commits, p.commit)
		}
	}
	return commits
}

// aged is a commit in a queue.
type aged struct {
	commit *object.Commit
	when   time.Time
}

// ages is a heap, the youngest first.
type ages []aged

func (a ages) Len() int           { return len(a) }
func (a ages) Less(i, j int) bool { return a[i].when.After(a[j].when) }
func (a ages) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *ages) Push(x any)        { *a = append(*a, x.(aged)) }

func (a *ages) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}
