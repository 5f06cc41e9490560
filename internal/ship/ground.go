package ship

import (
	"archive/tar"
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
)

// ground is what additions land on: a base image, and the additions before. The base is read when one lands in a directory:
// its layer names the directories above, as they are, for some runtimes unpack each layer for itself and show a directory as
// the topmost layer has it.
type ground struct {
	base   v1.Image // nil is nothing
	name   string   // of the base, for errors
	names  *dockerfile.Names
	before []found
}

// read is what is there.
func (g *ground) read(ctx context.Context) (*dockerfile.Names, error) {
	if g.names == nil {
		var layers []v1.Layer
		var err error
		if g.base != nil {
			layers, err = g.base.Layers()
		}
		if err == nil {
			g.names, err = dockerfile.ReadNames(ctx, layers)
		}
		if err != nil {
			return nil, &fault.Error{What: "read the directories of", Where: g.name, Err: err}
		}
	}
	for _, f := range g.before {
		if err := g.names.Put(&f.header); err != nil {
			return nil, err
		}
	}
	g.before = nil
	return g.names, nil
}

// directory is one that an addition is in; hdr is nil when it is not there.
type directory struct {
	name string
	hdr  *tar.Header
}

// land finds out where in the image the addition goes, and which directories that is in. To itself, when it is a folder that
// nobody said an owner or a mode of, is one of them.
func (w *walk) land(ctx context.Context, g *ground) error {
	if path.Dir(w.To) == "/" && !w.folder {
		return nil
	}
	var err error
	if w.names, err = g.read(ctx); err != nil {
		return err
	}
	above, err := w.names.Resolve(path.Dir(w.To))
	if err != nil {
		return err
	}
	w.To = path.Join(above, path.Base(w.To))
	if w.folder {
		if w.To, err = w.names.Resolve(w.To); err != nil {
			return err
		}
		above = path.Dir(w.To)
	}
	if w.folder && w.Mode == 0 && w.UID == 0 && w.GID == 0 {
		above = w.To
	}
	for ; above != "/"; above = path.Dir(above) {
		hdr, err := w.names.Directory(above)
		if err != nil {
			return err
		}
		w.above = append(w.above, directory{above, hdr})
	}
	slices.Reverse(w.above)
	return nil
}

// raise puts those directories before what is added. New ones are of the time of the newest file. A folder does not come in
// the place of a link or a file.
func (w *walk) raise() error {
	var newest time.Time
	for _, f := range w.files {
		if w.names != nil && f.header.Typeflag == tar.TypeDir {
			if _, err := w.names.Directory(path.Join("/", f.header.Name)); err != nil {
				return err
			}
		}
		if f.header.ModTime.After(newest) && f.header.Typeflag == tar.TypeReg {
			newest = f.header.ModTime
		}
	}
	var above []found
	for _, dir := range w.above {
		if dir.name == w.To {
			w.files = w.files[1:]
		}
		hdr := tar.Header{Typeflag: tar.TypeDir, Name: dir.name[1:] + "/", Mode: 0o755, ModTime: newest}
		if dir.hdr != nil {
			hdr = *dir.hdr
			hdr.ModTime = w.clamped(hdr.ModTime)
		}
		fmt.Fprintf(w.state, "%q %o %d:%d %d ", hdr.Name, hdr.Mode, hdr.Uid, hdr.Gid, hdr.ModTime.Unix())
		above = append(above, found{header: hdr})
	}
	w.files = append(above, w.files...)
	return nil
}
