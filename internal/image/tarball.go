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

	"github.com/ksera524/imgbump/internal/fault"
)

// WriteArchive makes file an archive as `docker save` writes it and `docker load` reads it, with img under the given
// tags. file is never half-written.
func WriteArchive(file string, img v1.Image, tags []string) error {
	return WriteFile("docker archive", file, func(w io.Writer) error { return Archive(w, img, tags) })
}

// WriteFile makes file what write gives; errors call it kind. It is never half-written, and on an error neither it nor a
// folder for it is left behind.
func WriteFile(kind, file string, write func(io.Writer) error) (err error) {
	failed := func(err error) error { return &fault.Error{What: "write " + kind, Where: file, Err: err} }
	undo, err := makeDir(filepath.Dir(file))
	defer func() {
		if err != nil {
			undo()
		}
	}()
	if err != nil {
		return failed(fault.Cause(err))
	}
	target, err := destination(file)
	if err != nil {
		return failed(fault.Cause(err))
	}
	tmp, err := os.CreateTemp(filepath.Dir(target), ".incoming-*")
	if err != nil {
		return failed(fault.Cause(err))
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(write(tmp), tmp.Chmod(0o644), tmp.Close()); err != nil {
		return failed(err)
	}
	if err := os.Rename(tmp.Name(), target); err != nil {
		return failed(fault.Cause(err))
	}
	return nil
}

// makeDir makes a folder and those above it; undo takes away again which of them were missing, unless something is in them.
func makeDir(dir string) (undo func(), err error) {
	var made []string
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		made = append(made, at)
	}
	undo = func() {
		for _, dir := range made {
			os.Remove(dir)
		}
	}
	return undo, os.MkdirAll(dir, 0o755)
}

// destination is the file that name leads to through links. Only a file may be there already.
func destination(name string) (string, error) {
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

// LayoutArchive writes the artifact, an image or one joined here, as a tar of an OCI layout, under the given names. Layers
// that are not known yet are read twice.
func LayoutArchive(w io.Writer, a Artifact, names []string) error {
	if err := Settle(a); err != nil {
		return err
	}
	top, err := topIndex(a, names)
	if err != nil {
		return err
	}
	out := blobWriter{tar.NewWriter(w), map[v1.Hash]bool{}}
	if err := writeEntry(out.Writer, "oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	for _, img := range Parts(a) {
		if err := out.image(img); err != nil {
			return err
		}
	}
	if _, ok := a.(v1.ImageIndex); ok {
		if err := out.document(a.RawManifest()); err != nil {
			return err
		}
	}
	return errors.Join(writeEntry(out.Writer, "index.json", top), out.Close())
}

// blobWriter puts blobs into a tar, each once.
type blobWriter struct {
	*tar.Writer
	written map[v1.Hash]bool
}

func (w blobWriter) image(img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := w.layer(l); err != nil {
			return err
		}
	}
	return errors.Join(w.document(img.RawConfigFile()), w.document(img.RawManifest()))
}

func (w blobWriter) layer(l v1.Layer) error {
	mediaType, err := l.MediaType()
	if err != nil || !mediaType.IsDistributable() { // its own URL serves it
		return err
	}
	digest, err := l.Digest()
	if err != nil || w.written[digest] {
		return err
	}
	w.written[digest] = true
	size, err := l.Size()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: blobName(digest), Size: size, Mode: 0o644}); err != nil {
		return err
	}
	return copyLayer(w, l)
}

// document puts what is there whole.
func (w blobWriter) document(data []byte, err error) error {
	if err != nil {
		return err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(data))
	if err != nil || w.written[digest] {
		return err
	}
	w.written[digest] = true
	return writeEntry(w.Writer, blobName(digest), data)
}

// Archive is WriteArchive into a stream. Layers that are not known yet are read twice: a tar has sizes before contents.
func Archive(w io.Writer, img v1.Image, tags []string) error {
	if err := Settle(img); err != nil {
		return err
	}
	tw := tar.NewWriter(w)
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
