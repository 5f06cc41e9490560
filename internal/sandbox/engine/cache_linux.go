package engine

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// cache is a directory that steps share.
type cache struct {
	name string
	turn chan struct{} // who holds it has the cache as a locked or private one
}

// borrow finds the directory for each cache among mounts, by the place in mounts, and what gives all of them back. A locked
// cache is waited for; caches are taken in the order of their ids, so that two steps never wait for each other.
func (s *store) borrow(ctx context.Context, mounts []step.Mount) (names map[int]string, back func(), err error) {
	names = map[int]string{}
	var all []func()
	back = func() {
		for _, f := range slices.Backward(all) {
			f()
		}
	}
	var order []int
	for i := range mounts {
		if mounts[i].Kind == step.Cache {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(mounts[a].Cache, mounts[b].Cache) })
	for n, i := range order {
		if n > 0 && mounts[order[n-1]].Cache == mounts[i].Cache {
			names[i] = names[order[n-1]]
			continue
		}
		name, f, err := s.borrowOne(ctx, &mounts[i])
		if err != nil {
			back()
			return nil, nil, err
		}
		names[i] = name
		all = append(all, f)
	}
	return names, back, nil
}

func (s *store) borrowOne(ctx context.Context, m *step.Mount) (name string, back func(), err error) {
	c, err := s.cache(ctx, m)
	if err != nil {
		return "", nil, err
	}
	switch m.Sharing {
	case step.Locked:
		select {
		case c.turn <- struct{}{}:
			return c.name, func() { <-c.turn }, nil
		case <-ctx.Done():
			return "", nil, context.Cause(ctx)
		}
	case step.Private:
		select {
		case c.turn <- struct{}{}:
			return c.name, func() { <-c.turn }, nil
		default: // somebody else has it: a new one for this time
			name, err := s.newCache(ctx, m)
			return name, func() { s.drop(name) }, err
		}
	}
	return c.name, func() {}, nil
}

// cache is the cache that a mount names, which is made when it is not there yet.
func (s *store) cache(ctx context.Context, m *step.Mount) (*cache, error) {
	s.mu.Lock()
	c := s.caches[m.Cache]
	s.mu.Unlock()
	if c != nil {
		return c, nil
	}
	name, err := s.newCache(ctx, m)
	if err != nil {
		return nil, err
	}
	return s.addCache(m.Cache, name), nil
}

// addCache makes a folder a cache, unless there is one of that id by now.
func (s *store) addCache(id, name string) *cache {
	s.mu.Lock()
	c := s.caches[id]
	if c == nil {
		c = &cache{name: name, turn: make(chan struct{}, 1)}
		s.caches[id] = c
		name = ""
	}
	s.mu.Unlock()
	s.drop(name)
	return c
}

// newCache makes the directory of a cache, as the mount wants a new one.
func (s *store) newCache(ctx context.Context, m *step.Mount) (string, error) {
	var name string
	var err error
	if len(m.Layers) > 0 {
		name, err = s.copied(ctx, m)
	} else {
		name, err = s.folder()
	}
	if err != nil {
		return "", err
	}
	dir := s.path(name)
	if err := os.Chown(dir, int(m.UID), int(m.GID)); err != nil {
		return "", failed("chown", "a cache", err)
	}
	return name, failed("chmod", "a cache", os.Chmod(dir, m.Mode.Perm()))
}
