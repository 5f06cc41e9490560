package image

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// unpacking finds the sum of what compressed bytes hold that are written to it, a chunk behind their writer. Closing it ends
// it.
type unpacking struct {
	*io.PipeWriter
	done  chan struct{}
	plain hash.Hash
	err   error
}

func unpack() *unpacking {
	r, w := io.Pipe()
	u := &unpacking{PipeWriter: w, done: make(chan struct{}), plain: sha256.New()}
	go func() {
		defer close(u.done)
		plain, err := decompress(r)
		if err == nil {
			_, err = io.CopyBuffer(u.plain, plain, make([]byte, chunk))
			plain.Close()
		}
		if err != nil {
			u.err = fmt.Errorf("%w: a layer cannot be unpacked: %w", ErrCorrupt, err)
		}
		r.CloseWithError(u.err)
	}()
	return u
}

// sum is that of all that was written.
func (u *unpacking) sum() (v1.Hash, error) {
	u.Close()
	<-u.done
	return sum256(u.plain), u.err
}
