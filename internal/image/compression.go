package image

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/ksera524/imgbump/internal/fault"
)

// Compression is how layers are compressed. The zero value is what layers get when nobody asks for anything: gzip at its
// fastest, which every runtime reads.
type Compression struct {
	Algorithm Algorithm
	Level     int // 0 is the algorithm's fastest
}

// Algorithm names a compression as in flags; "" is gzip.
type Algorithm string

const (
	Gzip Algorithm = "gzip"
	Zstd Algorithm = "zstd"
	None Algorithm = "none"
)

// levels are how many levels each algorithm has.
var levels = map[Algorithm]int{Gzip: 9, Zstd: 22, None: 0}

// ParseCompression reads an algorithm, "" for the default, and a level, 0 for the default.
func ParseCompression(algorithm string, level int) (Compression, error) {
	c := Compression{Algorithm(algorithm), level}
	most, known := levels[c.named()]
	switch {
	case !known:
		return c, fault.Usagef("it is gzip, zstd or none", "--compression %q", algorithm)
	case level < 0 || level > most && most == 0:
		return c, fault.Usagef("leave --compression-level out", "--compression-level %d: %s has no such level", level, c.named())
	case level > most:
		return c, fault.Usagef(fmt.Sprintf("%s has levels from 1 to %d", c.named(), most), "--compression-level %d", level)
	}
	return c, nil
}

func (c Compression) named() Algorithm {
	if c.Algorithm == "" {
		return Gzip
	}
	return c.Algorithm
}

// encoding counts changes of what the same input is compressed to. A test holds that it moves with the bytes.
const encoding = 1

// String tells all that decides what bytes a tar is compressed to.
func (c Compression) String() string {
	return fmt.Sprintf("%s-%d.%d", c.named(), max(c.Level, 1), encoding)
}

// heavy reports whether compressing so takes more than 32 MiB of memory: the tables of zstd's best encoder are as large.
func (c Compression) heavy() bool {
	return c.named() == Zstd && zstd.EncoderLevelFromZstd(c.Level) == zstd.SpeedBestCompression
}

// writer compresses what is written to it into w; Close ends the stream. What comes out depends on nothing but what goes in.
func (c Compression) writer(w io.Writer) (io.WriteCloser, error) {
	level := max(c.Level, 1)
	switch c.named() {
	case Gzip:
		return newGzip(w, level), nil
	case Zstd:
		return newZstd(w, level)
	}
	return endless{w}, nil
}

// zstdStream is an encoder that another layer gets when it is closed: its tables are what takes memory.
type zstdStream struct {
	*zstd.Encoder
	free *sync.Pool
}

var freeZstd [23]sync.Pool // by level

func newZstd(w io.Writer, level int) (zstdStream, error) {
	free := &freeZstd[level]
	if zw, ok := free.Get().(*zstd.Encoder); ok {
		zw.Reset(w)
		return zstdStream{zw, free}, nil
	}
	zw, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(4<<20), zstd.WithLowerEncoderMem(true))
	return zstdStream{zw, free}, err
}

func (z zstdStream) Close() error {
	err := z.Encoder.Close()
	z.free.Put(z.Encoder)
	return err
}

// endless is a stream that needs no end.
type endless struct{ io.Writer }

func (endless) Close() error { return nil }

// dockerZstd is what BuildKit and containerd call such a layer in manifests of Docker's family.
const dockerZstd types.MediaType = "application/vnd.docker.image.rootfs.diff.tar.zstd"

// mediaType is that of a layer in a manifest of Docker's family, or of OCI's.
func (c Compression) mediaType(docker bool) types.MediaType {
	switch {
	case c.named() == Zstd && docker:
		return dockerZstd
	case c.named() == Zstd:
		return types.OCILayerZStd
	case c.named() == None && docker:
		return types.DockerUncompressedLayer
	case c.named() == None:
		return types.OCIUncompressedLayer
	case docker:
		return types.DockerLayer
	}
	return types.OCILayer
}

// algorithmOf is how a layer of that media type is compressed, "" when it is no layer of an image.
func algorithmOf(m types.MediaType) Algorithm {
	switch {
	case m == types.OCIUncompressedLayer || m == types.DockerUncompressedLayer:
		return None
	case strings.HasSuffix(string(m), "zstd"):
		return Zstd
	case m == types.OCILayer || m == types.DockerLayer:
		return Gzip
	}
	return ""
}
