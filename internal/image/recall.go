package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// content is what an archive holds, as far as it takes to find its image in a registry.
type content struct {
	Config []byte    `json:"config"`
	Layers []packing `json:"layers"`
}

// packing is how a layer is compressed in its archive, and to how many bytes; "" is not at all.
type packing struct {
	Algorithm Algorithm `json:"algorithm,omitempty"`
	Size      int64     `json:"size,omitempty"`
}

// maxRecalled is how much of a configuration is remembered, in bytes: one that has more is not.
const maxRecalled = 64 << 10

// Rest is how long ago a file must have been changed for its times to tell of the next change: some ticks of the kernel's
// clock.
const Rest = 100 * time.Millisecond

// Open is what the function Open does; but an archive that is compressed as a whole, and that the ledger knows by the
// state of its file, is not unpacked before a layer is read that no registry has.
func (o Options) Open(ctx context.Context, path string) (artifact Artifact, closer io.Closer, err error) {
	if o.Ledger == nil {
		return Open(ctx, path)
	}
	key := stateOf(path)
	if key == "" {
		return Open(ctx, path)
	}
	if known, ok := o.Ledger.known(key); ok && known.Archive != nil {
		u := &unopened{open: func() (Artifact, io.Closer, error) { return Open(ctx, path) }}
		if img, err := u.recalled(known.Archive); err == nil {
			return img, u, nil
		}
	}
	artifact, closer, err = Open(ctx, path)
	if img, ok := artifact.(*assembled); ok && len(img.config) <= maxRecalled && stateOf(path) == key {
		o.Ledger.note(line{Key: key, Archive: img.content()})
	}
	return artifact, closer, err
}

// stateOf tells one state of a compressed file from the next, "" when it is something else. It waits for a file to rest.
func stateOf(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	stat, err := os.Stat(path)
	if err != nil || !stat.Mode().IsRegular() {
		return ""
	}
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	head := make([]byte, len(zstdMagic))
	if _, err := io.ReadFull(file, head); err != nil || compressionOf(head) == None {
		return ""
	}
	sys, ok := stat.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	time.Sleep(min(Rest, Rest-time.Since(Changed(sys))))
	return fmt.Sprintf("archive %s %d %d %d %d %d", path, stat.Size(), stat.ModTime().UnixNano(), Changed(sys).UnixNano(), sys.Dev, sys.Ino)
}

func (a *assembled) content() *content {
	c := &content{Config: a.config}
	for _, l := range a.layers {
		p := packing{}
		if l := l.(*layer); l.packed != nil {
			p = packing{l.compression.named(), l.packedSize}
		}
		c.Layers = append(c.Layers, p)
	}
	return c
}

// unopened is an archive that is opened when a layer is read.
type unopened struct {
	open func() (Artifact, io.Closer, error)

	mu     sync.Mutex
	image  *assembled
	closer io.Closer
}

func (u *unopened) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closer == nil {
		return nil
	}
	return u.closer.Close()
}

// recalled is the archive's image as it was when c was noted. Its layers are held to their sums when they are read.
func (u *unopened) recalled(c *content) (*assembled, error) {
	var config v1.ConfigFile
	if err := decode("its configuration", c.Config, &config); err != nil {
		return nil, err
	}
	if len(config.RootFS.DiffIDs) != len(c.Layers) {
		return nil, ErrCorrupt
	}
	img := &assembled{config: c.Config}
	for i, p := range c.Layers {
		l := &layer{diffID: config.RootFS.DiffIDs[i], packedSize: p.Size, compression: Compression{Algorithm: p.Algorithm}}
		if p.Algorithm == "" {
			l.write = func(w io.Writer) error {
				now, err := u.layer(i, l)
				if err != nil {
					return err
				}
				return now.write(w)
			}
		} else {
			l.packed = func() (io.ReadCloser, error) {
				now, err := u.layer(i, l)
				if err != nil {
					return nil, err
				}
				return now.packed()
			}
		}
		img.layers = append(img.layers, l)
	}
	return img, nil
}

// layer is the one at place i of the archive as it is now, which must be as it was.
func (u *unopened) layer(i int, was *layer) (*layer, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.image == nil {
		a, closer, err := u.open()
		if err != nil {
			return nil, err
		}
		u.closer = closer
		u.image, _ = a.(*assembled)
	}
	if u.image == nil || i >= len(u.image.layers) {
		return nil, ErrChanged
	}
	now := u.image.layers[i].(*layer)
	if (now.packed == nil) != (was.packed == nil) || now.packedSize != was.packedSize {
		return nil, ErrChanged
	}
	return now, nil
}
