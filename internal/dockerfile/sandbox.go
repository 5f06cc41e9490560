package dockerfile

import (
	"archive/tar"
	"context"
	"io"

	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// Sandbox runs RUN instructions. It keeps layers on disk by ids that the builder chooses; stacks of them are root
// filesystems. Its methods may be called at the same time. A layer is never changed once it is there.
type Sandbox interface {
	// Unpack makes a layer of tars as the OCI image specification's layer.md has them, each on top of those before it. A
	// layer that is to lie on others names every directory above what it holds.
	Unpack(ctx context.Context, id string, layers ...io.Reader) error

	// Run carries out a step. An error that is not a *step.ExitError tells that it could not be carried out.
	Run(ctx context.Context, p step.Process) error

	// Headers are the entries of a layer that Run made, in the order of its tar: every directory above what it holds,
	// whiteouts as layer.md has them, and no extended attributes but security.capability.
	Headers(ctx context.Context, id string) ([]*tar.Header, error)

	// Open is the tar of such a layer, the same bytes each time.
	Open(ctx context.Context, id string) (io.ReadCloser, error)

	// File is the content of a regular file of such a layer, by its entry's name.
	File(ctx context.Context, id, name string) (io.ReadCloser, error)

	// SaveCache is a tar of a cache mount's content, nil when there is no such cache. LoadCache is its inverse, for a cache
	// that is not there yet.
	SaveCache(ctx context.Context, id string) (io.ReadCloser, error)
	LoadCache(ctx context.Context, id string, content io.Reader) error
}
