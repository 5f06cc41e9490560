package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
// replaced, anything else is left alone; dir is never half-written.
func WriteLayout(dir string, img v1.Image, names []string) error {
	failed := func(err error) error { return &fault.Error{What: "write OCI layout", Where: dir, Err: err} }
	if err := replaceable(dir); err != nil {
		return failed(err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".oci-*")
	if err != nil {
		return failed(cause(err))
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return failed(cause(err))
	}
	path, err := layout.Write(tmp, empty.Index)
	if err != nil {
		return failed(err)
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
			return failed(err)
		}
	}
	if err := swap(tmp, dir); err != nil {
		return failed(err)
	}
	return nil
}

// replaceable reports as an error what stands at dir and is not ours to replace.
func replaceable(dir string) error {
	switch entries, err := os.ReadDir(dir); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return cause(err)
	case len(entries) == 0:
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err != nil {
		return errors.New("the folder holds other files")
	}
	return nil
}

// swap moves tmp to dir; what was at dir goes away after that.
func swap(tmp, dir string) error {
	old := tmp + ".old"
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	return os.RemoveAll(old)
}

// WriteArchive makes file an archive as `docker save` writes it and `docker load` reads it, with img under the given
// tags. file is never half-written.
func WriteArchive(file string, img v1.Image, tags []string) error {
	failed := func(err error) error { return &fault.Error{What: "write docker archive", Where: file, Err: err} }
	if err := Settle(img); err != nil {
		return failed(err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".docker-*")
	if err != nil {
		return failed(cause(err))
	}
	defer os.Remove(tmp.Name())
	err = errors.Join(writeArchive(tar.NewWriter(tmp), img, tags), tmp.Chmod(0o644), tmp.Close())
	if err != nil {
		return failed(err)
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return failed(cause(err))
	}
	return nil
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
