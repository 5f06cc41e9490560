package dockerfile_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/registrytest"
	"github.com/ksera524/imgbump/internal/stepcache"
)

// dead is a cache that always fails.
type dead struct{ err error }

func (d dead) Load(context.Context, string) (*stepcache.Entry, error) { return nil, d.err }

func (d dead) Keep(context.Context, stepcache.Entry, ...string) (v1.Layer, error) { return nil, d.err }

// counting counts what a cache is asked.
type counting struct {
	dockerfile.Cache
	loads, keeps atomic.Int32
}

func (c *counting) Load(ctx context.Context, name string) (*stepcache.Entry, error) {
	c.loads.Add(1)
	return c.Cache.Load(ctx, name)
}

func (c *counting) Keep(ctx context.Context, e stepcache.Entry, names ...string) (v1.Layer, error) {
	c.keeps.Add(1)
	return c.Cache.Keep(ctx, e, names...)
}

// TestCacheSeveral does without a cache that fails, after one warning, and neither steps nor cache mounts are lost to the
// others.
func TestCacheSeveral(t *testing.T) {
	for _, deadFirst := range []bool{true, false} {
		s := registrytest.Start(t, registrytest.Config{})
		build := func(command string) (w *withMounts, verdicts string) {
			m := newMachine(t, s, withFiles(t, "FROM debian:12\nRUN --mount=type=cache,id=list,target=/c "+command, nil))
			broken := &counting{Cache: dead{errors.New("it is down")}}
			caches := []dockerfile.Cache{broken, m.caching.From[0]}
			if !deadFirst {
				caches = []dockerfile.Cache{m.caching.From[0], broken}
			}
			m.caching.From, m.caching.To = caches, caches
			w = &withMounts{pretend: m.sandbox, mounts: map[string]string{}}
			m.runner = w
			verdicts = m.verdicts(t)
			if broken.loads.Load() > 1 || broken.keeps.Load() > 1 || len(m.warned) != int(broken.loads.Load()+broken.keeps.Load()) {
				t.Errorf("asked a cache that failed for %d steps, gave it %d, and warned %q", broken.loads.Load(), broken.keeps.Load(), m.warned)
			}
			return w, verdicts
		}
		build("one")
		if _, got := build("one"); got != "hit" {
			t.Errorf("a step that one cache has, dead first %t: %s", deadFirst, got)
		}
		if w, _ := build("two"); w.mounts["list"] != "one\ntwo\n" {
			t.Errorf("a cache mount that one cache has, dead first %t: %q", deadFirst, w.mounts)
		}
	}
}

// TestCacheSeveralDamaged asks the next cache for what is damaged in the first, which goes on being asked.
func TestCacheSeveralDamaged(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	c := stagedCase(t)
	newMachine(t, s, c).run(t)
	m := newMachine(t, s, c)
	damaged := &counting{Cache: dead{stepcache.ErrLost}}
	m.caching.From = []dockerfile.Cache{damaged, m.caching.From[0]}
	m.sealed = true
	if got := m.verdicts(t); got != "hit; hit" || damaged.loads.Load() != 2 || len(m.warned) != 1 {
		t.Errorf("%s, asked %d times, warned %q", got, damaged.loads.Load(), m.warned)
	}
}

// TestCacheKeepsElsewhere does not blame a cache for a layer that another one has lost.
func TestCacheKeepsElsewhere(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{})
	m := newMachine(t, s, withFiles(t, "FROM scratch\nCOPY a /a\nCOPY a /b", map[string][]byte{"a": []byte("1")}))
	refusing := &counting{Cache: dead{stepcache.ErrLost}}
	m.caching.To = []dockerfile.Cache{refusing}
	m.run(t)
	if refusing.keeps.Load() != 2 || !strings.Contains(strings.Join(m.warned, ""), stepcache.ErrLost.Error()) {
		t.Errorf("gave it %d steps, warned %q", refusing.keeps.Load(), m.warned)
	}
}
