// Package folder keeps build steps in an OCI layout on disk, which several builds may use at once.
//
// A blob is there before something names it, and index.json is replaced as a whole, so that a build that is killed leaves
// nothing half kept.
package folder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/stepcache"
)

// Folder is a cache in a folder, which is made when something is to be kept.
type Folder struct {
	dir  string
	most int64 // bytes
	now  func() time.Time
}

// most is how large a folder grows, in bytes: then what was used longest ago goes.
const most = 10 << 30

// New is the cache in dir. It is held to 10 GiB.
func New(dir string) *Folder { return &Folder{dir: dir, most: most, now: time.Now} }

// refName is the annotation that names something in a layout (OCI image specification, annotations).
const refName = "org.opencontainers.image.ref.name"

func (f *Folder) failed(what string, err error) error {
	return &fault.Error{What: what + " the cache", Where: f.dir, Err: fault.Cause(err)}
}

func (f *Folder) blob(h v1.Hash) string { return filepath.Join(f.dir, "blobs", h.Algorithm, h.Hex) }

// Load is what is kept under a name, nil when nothing is.
func (f *Folder) Load(_ context.Context, name string) (*stepcache.Entry, error) {
	index, err := f.index()
	if err != nil {
		return nil, f.failed("read", err)
	}
	for _, d := range index.Manifests {
		if d.Annotations[refName] != name {
			continue
		}
		e, err := f.entry(d)
		if err != nil {
			return nil, f.failed("read", fmt.Errorf("%w: %w", stepcache.ErrLost, err))
		}
		_ = os.Chtimes(f.blob(d.Digest), f.now(), f.now()) // it was used
		return e, nil
	}
	return nil, nil
}

func (f *Folder) entry(d v1.Descriptor) (*stepcache.Entry, error) {
	raw, err := os.ReadFile(f.blob(d.Digest))
	if err != nil {
		return nil, fault.Cause(err)
	}
	if got, _, err := v1.SHA256(bytes.NewReader(raw)); err != nil || got != d.Digest {
		return nil, fmt.Errorf("%s is damaged", d.Digest)
	}
	e, err := stepcache.Read(raw, func(d v1.Descriptor) (io.ReadCloser, error) { return os.Open(f.blob(d.Digest)) })
	if err != nil || e.Layer == nil {
		return e, err
	}
	return e, f.has(e.Layer)
}

// has is an error unless the blob of a layer is there, as long as it is.
func (f *Folder) has(l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	size, err := l.Size()
	if err != nil {
		return err
	}
	stat, err := os.Stat(f.blob(digest))
	if err == nil && stat.Size() != size {
		err = fmt.Errorf("%s has %d bytes instead of %d", digest, stat.Size(), size)
	}
	return fault.Cause(err)
}

// Keep keeps an entry under names.
func (f *Folder) Keep(_ context.Context, e stepcache.Entry, names ...string) (v1.Layer, error) {
	kept, err := f.keep(e, names)
	if err != nil {
		return nil, f.failed("keep a step in", err)
	}
	return kept, nil
}

func (f *Folder) keep(e stepcache.Entry, names []string) (v1.Layer, error) {
	if err := os.MkdirAll(filepath.Join(f.dir, "blobs", "sha256"), 0o700); err != nil {
		return nil, err
	}
	artifact := stepcache.Artifact(e)
	layers, err := artifact.Layers()
	if err != nil {
		return nil, err
	}
	if err := f.layer(layers[0]); err != nil {
		return nil, err
	}
	manifest, err := artifact.Manifest()
	if err != nil {
		return nil, err
	}
	raw, err := artifact.RawManifest()
	if err != nil {
		return nil, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	for h, content := range map[v1.Hash][]byte{manifest.Config.Digest: manifest.Config.Data, digest: raw} {
		if err := replace(f.blob(h), content); err != nil {
			return nil, err
		}
	}
	if err := f.name(v1.Descriptor{MediaType: manifest.MediaType, Digest: digest, Size: size}, names); err != nil {
		return nil, err
	}
	kept, err := f.entry(v1.Descriptor{Digest: digest})
	if err != nil {
		return nil, err
	}
	return kept.Layer, nil
}

// layer makes a blob of a layer, unless it is there.
func (f *Folder) layer(l v1.Layer) error {
	pending, isPending := l.(image.Pending)
	if isPending {
		if digest, _, ok := pending.Guess(); ok && touch(f.blob(digest), f.now()) == nil {
			pending.Confirm()
		}
	}
	if f.has(l) == nil {
		digest, _ := l.Digest()
		return touch(f.blob(digest), f.now())
	}
	tmp, err := os.CreateTemp(filepath.Join(f.dir, "blobs", "sha256"), incoming)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	r, err := l.Compressed()
	if err != nil {
		tmp.Close()
		return err
	}
	_, err = io.Copy(tmp, r)
	if err := errors.Join(err, r.Close(), tmp.Close()); err != nil {
		return err
	}
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), f.blob(digest))
}

// incoming is what files are called that are still being written. What a build that was killed leaves of them goes as blobs do
// that nothing names.
const incoming = ".incoming-*"

// touch says of a blob that it is needed, before anything names it.
func touch(file string, now time.Time) error { return os.Chtimes(file, now, now) }

// replace makes a small file, at once.
func replace(file string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), incoming)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

// index is what index.json names; nothing when there is none, or none that makes sense.
func (f *Folder) index() (*v1.IndexManifest, error) {
	file, err := os.Open(filepath.Join(f.dir, "index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return &v1.IndexManifest{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	index, err := v1.ParseIndexManifest(io.LimitReader(file, maxIndex))
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	return index, nil
}

// maxIndex bounds index.json, in bytes.
const maxIndex = 64 << 20
