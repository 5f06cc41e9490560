package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
)

// Artifact is what a reference names: a v1.Image, or a v1.ImageIndex of images for several platforms.
type Artifact interface {
	MediaType() (types.MediaType, error)
	Digest() (v1.Hash, error)
	RawManifest() ([]byte, error)
}

// Open reads the image at path: a `docker save` archive or an OCI layout, the latter as a folder or a tar; either tar
// may be compressed with gzip or zstd. Layers are read when they are asked for, until closer is closed or ctx ends.
func Open(ctx context.Context, path string) (artifact Artifact, closer io.Closer, err error) {
	f, err := openFiles(ctx, path)
	if err == nil {
		f = bounded{f, ctx}
		if artifact, err = read(f); err == nil {
			return artifact, f, nil
		}
		f.Close()
	}
	return nil, nil, &fault.Error{What: "read image", Where: path, Hint: hint(err), Err: err}
}

// Read reads the image that r gives from its beginning to its end: what Open takes as one file. It is kept in a temporary
// file until closer is closed.
func Read(ctx context.Context, name string, r io.Reader) (artifact Artifact, closer io.Closer, err error) {
	t, err := readTar(ctx, r)
	if err == nil {
		f := bounded{t, ctx}
		if artifact, err = read(f); err == nil {
			return artifact, f, nil
		}
		f.Close()
	}
	return nil, nil, &fault.Error{What: "read image", Where: name, Hint: hint(err), Err: err}
}

func openFiles(ctx context.Context, path string) (files, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, fault.Cause(err)
	}
	if stat.IsDir() {
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, fault.Cause(err)
		}
		return folder{root}, nil
	}
	if !stat.Mode().IsRegular() {
		return nil, errNoFile
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fault.Cause(err)
	}
	return openTar(ctx, file)
}

var (
	errNoFile  = errors.New("it is neither a file nor a folder")
	errNoImage = errors.New("it has neither manifest.json (docker save) nor index.json (OCI layout)")
)

// read prefers manifest.json where an archive has both: docker save writes an index.json that also names the
// platforms which it did not save.
func read(f files) (Artifact, error) {
	switch data, err := readFile(f, "manifest.json"); {
	case err == nil:
		return readArchive(f, data)
	case !errors.Is(err, errMissing):
		return nil, err
	}
	switch data, err := readFile(f, "index.json"); {
	case err == nil:
		return readLayout(f, data)
	case !errors.Is(err, errMissing):
		return nil, err
	}
	return nil, errNoImage
}

// hint says what to do about an image that cannot be read.
func hint(err error) string {
	var several *severalError
	switch {
	case errors.As(err, &several):
		return several.hint()
	case errors.Is(err, fs.ErrNotExist):
		return "name an archive, an OCI layout, or an image in a registry with its host: HOST/PROJECT/NAME:TAG"
	case errors.Is(err, errNoFile):
		return "give it on standard input: 'harborpush push -'"
	case errors.Is(err, errMissing), errors.Is(err, ErrCorrupt):
		return "the image is incomplete or damaged: save it again"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the file ends too early: was it copied or downloaded completely?"
	case errors.Is(err, tar.ErrHeader), errors.Is(err, errNoImage):
		return "harborpush reads what 'docker save', 'podman save' or 'buildctl --output type=oci' write"
	}
	return ""
}

// severalError is the cause when more than one image is there and none is named.
type severalError struct {
	images int
	names  []string
}

func (e *severalError) Error() string { return fmt.Sprintf("it holds %d images", e.images) }

func (e *severalError) hint() string {
	return "it holds " + strings.Join(e.names, ", ") + ": save one image to a file of its own"
}

// maxMetadata is the largest manifest, index or configuration that is read into memory, in bytes.
const maxMetadata = 16 << 20

func readFile(f files, name string) ([]byte, error) {
	r, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxMetadata {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxMetadata)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// decode reads the JSON document called name; what is wrong with it is told with that name.
func decode(name string, data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// compressionOf tells the compression from the first bytes.
func compressionOf(head []byte) Algorithm {
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return Gzip
	case bytes.HasPrefix(head, zstdMagic):
		return Zstd
	}
	return None
}
