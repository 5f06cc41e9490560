// Package stepcache describes what is kept of build steps, so that later builds need not carry them out again: the entry of
// a step, and the OCI artifact that it is stored as.
package stepcache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Entry is what is kept of one step, or of one cache mount.
type Entry struct {
	Layer   v1.Layer // what the step added, nil for nothing; of a cache mount its files
	History string   // what the image's history says of the step
	Content string   // the step's name by what it really read, "" when that is the name it is kept under
	Parts   []Part   // what the name was made of; no secret is among them
}

// Part is one of the things that a step depends on. The Value of what is too long to be shown is Hidden.
type Part struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Hidden stands for a value of which only a sum is kept.
func Hidden(value string) string { return hidden + sum(value)[:12] }

// IsHidden reports whether v is what Hidden returns.
func (p Part) IsHidden() bool { return len(p.Value) > 0 && p.Value[:1] == hidden }

const hidden = "#"

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// ErrLost is the cause when the bytes of a layer that was found cannot be read, or are not those that were kept. A build
// that looks nothing up does without them.
var ErrLost = errors.New("what the cache keeps of a step cannot be read")

// stored is a layer whose bytes are in a store.
type stored struct {
	of     v1.Descriptor
	diffID v1.Hash
	open   func(v1.Descriptor) (io.ReadCloser, error)
}

func (s *stored) Digest() (v1.Hash, error)             { return s.of.Digest, nil }
func (s *stored) DiffID() (v1.Hash, error)             { return s.diffID, nil }
func (s *stored) Size() (int64, error)                 { return s.of.Size, nil }
func (s *stored) MediaType() (types.MediaType, error)  { return s.of.MediaType, nil }
func (s *stored) Compressed() (io.ReadCloser, error)   { return hold(s.of.Digest, s.of.Size, s.packed) }
func (s *stored) Uncompressed() (io.ReadCloser, error) { return hold(s.diffID, unsized, s.plain) }

// packed are the bytes that the store has, as many as there should be and one more.
func (s *stored) packed() (io.ReadCloser, error) {
	r, err := s.open(s.of)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(r, s.of.Size+1), r}, nil
}

func (s *stored) plain() (io.ReadCloser, error) {
	l, err := partial.CompressedToLayer(packedOnly{s})
	if err != nil {
		return nil, err
	}
	return l.Uncompressed()
}

// packedOnly hides that a layer can unpack itself.
type packedOnly struct{ of *stored }

func (p packedOnly) Digest() (v1.Hash, error)            { return p.of.Digest() }
func (p packedOnly) Size() (int64, error)                { return p.of.Size() }
func (p packedOnly) MediaType() (types.MediaType, error) { return p.of.MediaType() }
func (p packedOnly) Compressed() (io.ReadCloser, error)  { return p.of.packed() }

// unsized is the size of what ends where it ends.
const unsized = -1

// hold opens bytes that must have the sum want at their end.
func hold(want v1.Hash, size int64, open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	r, err := open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	return &held{ReadCloser: r, want: want, left: size, sum: sha256.New()}, nil
}

type held struct {
	io.ReadCloser
	want v1.Hash
	left int64 // bytes, less than zero when nobody knows
	sum  hash.Hash
}

func (h *held) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.sum.Write(p[:n])
	h.left -= int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		err = fmt.Errorf("%w: %w", ErrLost, err)
	case err != nil || h.left == 0: // at the last byte: nobody may wait for the end
		if got := hex.EncodeToString(h.sum.Sum(nil)); got != h.want.Hex {
			err = fmt.Errorf("%w: it should be %s, and is sha256:%s", ErrLost, h.want, got)
		}
	}
	return n, err
}
