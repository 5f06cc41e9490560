package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/stream"

	"github.com/ksera524/imgbump/internal/fault"
)

// Settle reads the layers whose digests are not known yet, and keeps nothing of them but their digests and sizes.
func Settle(img v1.Image) error {
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

// WriteLayout makes dir an OCI layout that holds img under the given names. A layout that is there already is
// replaced, anything else is left alone. At every moment dir holds the old image, the new one, or none.
func WriteLayout(dir string, img v1.Image, names []string) error {
	failed := func(err error) error { return &fault.Error{What: "write OCI layout", Where: dir, Err: err} }
	if err := replaceable(dir); err != nil {
		return failed(err)
	}
	incoming := filepath.Join(dir, incoming)
	if err := os.RemoveAll(incoming); err != nil {
		return failed(fault.Cause(err))
	}
	if err := os.MkdirAll(incoming, 0o755); err != nil {
		return failed(fault.Cause(err))
	}
	defer os.RemoveAll(incoming)
	if err := fill(incoming, img, names); err != nil {
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
func fill(dir string, img v1.Image, names []string) error {
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		var opts []layout.Option
		if name != "" {
			opts = append(opts, layout.WithAnnotations(map[string]string{annotationName: name}))
		}
		if err := path.AppendImage(img, opts...); err != nil {
			return err
		}
	}
	return nil
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

// WriteArchive makes file an archive as `docker save` writes it and `docker load` reads it, with img under the given
// tags. file is never half-written.
func WriteArchive(file string, img v1.Image, tags []string) error {
	failed := func(err error) error { return &fault.Error{What: "write docker archive", Where: file, Err: err} }
	target, err := destination(file)
	if err != nil {
		return failed(fault.Cause(err))
	}
	if err := Settle(img); err != nil {
		return failed(err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(target), ".docker-*")
	if err != nil {
		return failed(fault.Cause(err))
	}
	defer os.Remove(tmp.Name())
	err = errors.Join(writeArchive(tar.NewWriter(tmp), img, tags), tmp.Chmod(0o644), tmp.Close())
	if err != nil {
		return failed(err)
	}
	if err := os.Rename(tmp.Name(), target); err != nil {
		return failed(err)
	}
	return nil
}

// destination is the file that name leads to through links; its folder is made. Only a file may be there already.
func destination(name string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return "", err
	}
	switch stat, err := os.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		return name, nil
	case err != nil:
		return "", err
	case !stat.Mode().IsRegular():
		return "", errors.New("what is there is no file")
	}
	return filepath.EvalSymlinks(name)
}

func writeArchive(tw *tar.Writer, img v1.Image, tags []string) error {
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	id, err := img.ConfigName()
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	names, written := []string{}, map[string]bool{}
	for _, l := range layers {
		name, size, err := archiveName(l)
		if err != nil {
			return err
		}
		names = append(names, name)
		if written[name] {
			continue
		}
		written[name] = true
		if err := tw.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644}); err != nil {
			return err
		}
		if err := copyLayer(tw, l); err != nil {
			return err
		}
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": id.Hex + ".json", "RepoTags": tags, "Layers": names}})
	if err != nil {
		return err
	}
	return errors.Join(writeEntry(tw, id.Hex+".json", config), writeEntry(tw, "manifest.json", manifest), tw.Close())
}

func archiveName(l v1.Layer) (name string, size int64, err error) {
	digest, err := l.Digest()
	if err != nil {
		return "", 0, err
	}
	size, err = l.Size()
	return fmt.Sprintf("%s.tar.gz", digest.Hex), size, err
}

func writeEntry(tw *tar.Writer, name string, data []byte) error {
	if err := tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
		return err
	}
	_, err := io.Copy(tw, bytes.NewReader(data))
	return err
}
