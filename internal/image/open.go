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

// standardInput is how commands name it.
const standardInput = "-"

func openFiles(ctx context.Context, path string) (files, error) {
	if path == standardInput {
		return nil, errNoFile
	}
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
	t, err := openTar(ctx, file)
	if err != nil {
		file.Close()
		return nil, err
	}
	return t, nil
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
		return "name an archive or an OCI layout; an image in a registry cannot be a source yet"
	case errors.Is(err, errNoFile):
		return "write the image to a file first; a pipe or standard input cannot be read yet"
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

type compression uint8

const (
	notCompressed compression = iota
	compressedGzip
	compressedZstd
)

// compressionOf tells the compression from the first bytes.
func compressionOf(head []byte) compression {
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return compressedGzip
	case bytes.HasPrefix(head, zstdMagic):
		return compressedZstd
	}
	return notCompressed
}
