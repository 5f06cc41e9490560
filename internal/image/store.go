package image

import (
	"context"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
)

// Store is blobs by their digests, fs.ErrNotExist for one that is not there. The size is in bytes.
type Store interface {
	Blob(digest string) (r io.ReadCloser, size int64, err error)
	Close() error
}

// OpenStore is the image or index in a store with a digest. Layers are read when they are asked for, until the store is
// closed or ctx ends; errors call the store name.
func OpenStore(ctx context.Context, name string, s Store, mediaType, digest string) (Artifact, error) {
	top, err := v1.NewHash(digest)
	b := &blobs{bounded{shelf{s}, ctx}}
	var artifact Artifact
	switch kind := types.MediaType(mediaType); {
	case err != nil:
	case kind.IsIndex():
		artifact, err = b.index(top)
	case kind.IsImage():
		artifact, err = b.image(top)
	default:
		err = fmt.Errorf("%s is no image", mediaType)
	}
	if err != nil {
		return nil, &fault.Error{What: "read image", Where: name, Err: err}
	}
	return artifact, nil
}

// shelf are the blobs of a store by the names that a layout has for them.
type shelf struct{ Store }

func (s shelf) open(name string) (io.ReadCloser, int64, error) {
	algorithm, hex, _ := strings.Cut(strings.TrimPrefix(name, "blobs/"), "/")
	return s.Blob(algorithm + ":" + hex)
}
