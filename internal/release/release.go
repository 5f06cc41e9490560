// Package release gives a commit its next version and the tag that names it, and counts again when somebody else takes
// that version first.
package release

import (
	"context"
	"slices"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/version"
)

// Tag is a tag's name with the commit that it leads to.
type Tag struct {
	Name, Commit string
	Pushed       bool // the remote has it
}

// Tags are those of a remote, and of the checkout.
type Tags interface {
	List(ctx context.Context) ([]Tag, error)
	// Since are the messages of the commits that lead to tip and not to base, of those that change one of the paths in
	// within (all, when there are none).
	Since(ctx context.Context, base, tip string, within []string) ([]string, error)
	// Create makes an annotated tag in the checkout, Push on the remote too. One of that name is a fault.Conflict.
	Create(ctx context.Context, name, commit, message string) error
	Push(ctx context.Context, name, commit, message string) error
}

// Job is which version is wanted, and what becomes of it.
type Job struct {
	Scheme version.Scheme
	Bump   version.Bump
	Pre    string   // the kind of pre-release, "" for a release
	Within []string // with Auto: the paths whose commits count

	Create  bool // make the tag in the checkout
	Push    bool // make it on the remote
	Message func(version.Next) (string, error)
	Lost    func(attempt int, err error) // is told of each race that was lost
}

// Result is a version with what became of it.
type Result struct {
	version.Next
	Created, Pushed bool // by us
}

// A run waits after a lost race, the longer the more it lost: a server that refuses without a cause is not to be asked
// without end.
const (
	lostPause    = 20 * time.Millisecond // times the number of races
	longestPause = time.Second
)

// Run computes the version of a commit and makes its tag, again while others take the same one. When the time is up after
// lost races, the error is that of the last: a Conflict.
func (j Job) Run(ctx context.Context, tags Tags, commit string) (Result, error) {
	var lost error
	for attempt := 1; ; attempt++ {
		r, err := j.once(ctx, tags, commit)
		switch {
		case fault.KindOf(err) == fault.Conflict:
			lost = err
		case err != nil && lost != nil && ctx.Err() != nil:
			return r, lost
		default:
			return r, err
		}
		j.Lost(attempt, lost)
		select {
		case <-ctx.Done():
			return r, lost
		case <-time.After(min(time.Duration(attempt)*lostPause, longestPause)):
		}
	}
}

// once computes the version from the tags that there are now, and makes its tag.
func (j Job) once(ctx context.Context, tags Tags, commit string) (r Result, err error) {
	listed, err := tags.List(ctx)
	if err != nil {
		return r, err
	}
	if r.Next, err = j.decide(ctx, tags, listed, commit); err != nil || !j.Create && !j.Push {
		return r, err
	}
	message, err := j.Message(r.Next)
	if err != nil {
		return r, err
	}
	there := slices.ContainsFunc(listed, func(t Tag) bool { return t.Name == r.Tag && t.Pushed })
	switch {
	case j.Push && !there:
		err = tags.Push(ctx, r.Tag, commit, message)
		r.Pushed = err == nil
	case !r.Tagged:
		err = tags.Create(ctx, r.Tag, commit, message)
	}
	r.Created = !r.Tagged && err == nil
	return r, err
}

// decide is the version that the commit has, or else the one after the last.
func (j Job) decide(ctx context.Context, tags Tags, listed []Tag, commit string) (version.Next, error) {
	var all, here []string
	commits := map[string]string{}
	for _, t := range listed {
		all = append(all, t.Name)
		commits[t.Name] = t.Commit
		if t.Commit == commit {
			here = append(here, t.Name)
		}
	}
	if n, found := j.Scheme.Here(here, all, j.Pre); found {
		return n, nil
	}
	var messages []string
	if last := j.Scheme.Latest(all); j.Bump == version.Auto && last != "" {
		var err error
		if messages, err = tags.Since(ctx, commits[last], commit, j.Within); err != nil {
			return version.Next{}, err
		}
	}
	return j.Scheme.After(all, j.Bump, j.Pre, messages)
}
