package image

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
)

// Settle reads the layers whose digests are not known yet, and keeps nothing of them but their digests and sizes.
func Settle(a Artifact) error {
	for _, img := range Parts(a) {
		layers, err := img.Layers()
		if err != nil {
			return err
		}
		for _, l := range layers {
			if _, err := l.Digest(); err == nil {
				continue
			} else if !errors.Is(err, stream.ErrNotComputed) {
				return err
			}
			if err := copyLayer(io.Discard, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// Parts are the images that an artifact was made of here: itself, or those that were joined.
func Parts(a Artifact) []v1.Image {
	switch a := a.(type) {
	case v1.Image:
		return []v1.Image{a}
	case *Joined:
		return a.Images
	}
	return nil
}

func copyLayer(w io.Writer, l v1.Layer) error {
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

// WriteLayout makes dir an OCI layout that holds the artifact, an image or one joined here, under the given names. A layout
// that is there already is replaced, anything else is left alone. At every moment dir holds the old artifact, the new one, or
// none; one that it is not made for is not left behind.
func WriteLayout(dir string, a Artifact, names []string) (err error) {
	failed := func(err error) error { return &fault.Error{What: "write OCI layout", Where: dir, Err: err} }
	if err := replaceable(dir); err != nil {
		return failed(err)
	}
	undo, err := makeDir(dir)
	defer func() {
		if err != nil {
			undo()
		}
	}()
	if err != nil {
		return failed(fault.Cause(err))
	}
	incoming := filepath.Join(dir, incoming)
	if err := os.RemoveAll(incoming); err != nil {
		return failed(fault.Cause(err))
	}
	if err := os.Mkdir(incoming, 0o755); err != nil {
		return failed(fault.Cause(err))
	}
	defer os.RemoveAll(incoming)
	if err := fill(incoming, a, names); err != nil {
		return failed(err)
	}
	if err := publish(incoming, dir); err != nil {
		return failed(err)
	}
	return nil
}

// incoming is the folder in a layout where the next image grows. It is inside, for the layout may be a volume or a link.
const incoming = ".incoming"

// replaceable reports as an error what stands at dir and is not ours to replace.
func replaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Cause(err)
	}
	for _, e := range entries {
		if e.Name() == "oci-layout" {
			return nil
		}
	}
	if len(entries) > 1 || len(entries) == 1 && entries[0].Name() != incoming {
		return errors.New("the folder holds other files")
	}
	return nil
}

// fill makes the empty folder dir a layout.
func fill(dir string, a Artifact, names []string) error {
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	for _, img := range Parts(a) {
		if err := path.WriteImage(img); err != nil {
			return err
		}
	}
	if index, ok := a.(v1.ImageIndex); ok {
		if err := path.WriteIndex(index); err != nil {
			return err
		}
	}
	top, err := topIndex(a, names)
	if err != nil {
		return err
	}
	return path.WriteFile("index.json", top, 0o644)
}

// topIndex is the index.json of a layout that holds the artifact under the given names.
func topIndex(a Artifact, names []string) ([]byte, error) {
	raw, err := a.RawManifest()
	if err != nil {
		return nil, err
	}
	is := v1.Descriptor{Size: int64(len(raw))}
	if is.Digest, err = a.Digest(); err != nil {
		return nil, err
	}
	if is.MediaType, err = a.MediaType(); err != nil {
		return nil, err
	}
	top := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for _, name := range names {
		named := is
		named.Annotations = map[string]string{annotationName: name}
		top.Manifests = append(top.Manifests, named)
	}
	if len(names) == 0 {
		top.Manifests = append(top.Manifests, is)
	}
	return json.Marshal(top)
}

// publish moves the layout at from into dir: blobs first, then the index that names them; then blobs that it does not
// name go away.
func publish(from, dir string) error {
	store := filepath.Join("blobs", "sha256")
	if err := os.MkdirAll(filepath.Join(dir, store), 0o755); err != nil {
		return err
	}
	blobs, err := os.ReadDir(filepath.Join(from, store))
	if err != nil {
		return err
	}
	files := []string{"oci-layout"}
	current := map[string]bool{}
	for _, b := range blobs {
		files = append(files, filepath.Join(store, b.Name()))
		current[b.Name()] = true
	}
	for _, name := range append(files, "index.json") {
		file := filepath.Join(from, name)
		if err := errors.Join(os.Chmod(file, 0o644), os.Rename(file, filepath.Join(dir, name))); err != nil {
			return err
		}
	}
	all, err := os.ReadDir(filepath.Join(dir, store))
	for _, b := range all {
		if !current[b.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(dir, store, b.Name())))
		}
	}
	return err
}
