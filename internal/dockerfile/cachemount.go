package dockerfile

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/stepcache"
)

// maxMount is how large the files of a cache mount may be to be kept for other builds, in bytes of their tar.
var maxMount int64 = 2 << 30 // a test has less

// mountKeeper is a sandbox whose cache mounts begin as an earlier build left them, and are kept for later ones.
type mountKeeper struct {
	Sandbox
	caching *caching

	mu    sync.Mutex
	found map[string]func() v1.Hash // sums of what cache mounts began as, by their ids; a zero one is none
}

// keepMounts makes the sandbox of a build one that keeps its cache mounts.
func (c *caching) keepMounts(s Sandbox) Sandbox {
	if c == nil || s == nil {
		return s
	}
	return &mountKeeper{Sandbox: s, caching: c, found: map[string]func() v1.Hash{}}
}

// Run fills the cache mounts of the process before it begins.
func (k *mountKeeper) Run(ctx context.Context, p step.Process) error {
	for _, m := range p.Mounts {
		if m.Kind == step.Cache {
			k.fill(m.Cache)
		}
	}
	return k.Sandbox.Run(ctx, p)
}

func (k *mountKeeper) fill(id string) {
	k.mu.Lock()
	once := k.found[id]
	if once == nil {
		once = sync.OnceValue(func() v1.Hash { return k.load(id) })
		k.found[id] = once
	}
	k.mu.Unlock()
	once()
}

// load fills a cache mount, and returns the sum of what it holds then.
func (k *mountKeeper) load(id string) (sum v1.Hash) {
	e, err := k.caching.load(k.caching.life, mountName(id))
	if err != nil || e == nil || e.Layer == nil {
		return sum
	}
	plain, err := e.Layer.Uncompressed()
	if err == nil {
		defer plain.Close()
		err = k.LoadCache(k.caching.life, id, plain)
	}
	if err == nil {
		sum, err = e.Layer.DiffID()
	}
	if err != nil {
		k.caching.warn(fmt.Errorf("the cache mount %s begins empty: %w", id, err))
	}
	return sum
}

// mountName is what a cache mount is kept under. What a process keeps may be of use to others of its architecture only.
func mountName(id string) string {
	return nameOf("mount", []stepcache.Part{{Name: "id", Value: id}, {Name: "architecture", Value: runtime.GOARCH}})
}

// keepAll keeps the cache mounts that processes had, once there are no processes any more.
func (k *mountKeeper) keepAll() {
	for _, id := range slices.Sorted(maps.Keys(k.found)) {
		if !k.caching.keeps() || k.caching.life.Err() != nil {
			return
		}
		if err := k.save(id); err != nil && k.caching.life.Err() == nil {
			k.caching.warn(fmt.Errorf("the cache mount %s is not kept: %w", id, err))
		}
	}
}

// save keeps a cache mount, unless it is as it began.
func (k *mountKeeper) save(id string) error {
	sum := sha256.New()
	counted := &capped{to: sum, left: maxMount}
	tw := tar.NewWriter(counted)
	switch there, err := k.copyInto(tw, id); {
	case err != nil:
		return err
	case !there:
		return nil
	}
	if err := tw.Close(); err != nil {
		return err
	}
	if fmt.Sprintf("%x", sum.Sum(nil)) == k.found[id]().Hex {
		return nil
	}
	l := image.NewLayer(func(tw *tar.Writer) error {
		_, err := k.copyInto(tw, id)
		return err
	})
	image.Options{Compression: image.Compression{Algorithm: image.Zstd}}.ApplyTo(l)
	_, err := k.caching.put(stepcache.Entry{Layer: l, History: "mount " + id}, mountName(id))
	return err
}

// copyInto copies the files of a cache mount; there is false when there is none.
func (k *mountKeeper) copyInto(tw *tar.Writer, id string) (there bool, err error) {
	r, err := k.SaveCache(k.caching.life, id)
	if err != nil || r == nil {
		return false, err
	}
	defer r.Close()
	return true, copyDated(tw, tar.NewReader(r), time.Time{})
}

// capped takes so many bytes.
type capped struct {
	to   io.Writer
	left int64
}

var errLargeMount = errors.New("its files are larger than what is kept")

func (b *capped) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errLargeMount
	}
	return b.to.Write(p)
}
