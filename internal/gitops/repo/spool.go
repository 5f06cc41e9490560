package repo

import (
	"os"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// maxObject is the largest object, in bytes, that is kept and read; no manifest may be larger. Tests lower it.
var maxObject int64 = manifest.MaxSize

// spool keeps the objects that servers sent, unpacked: the first in memory, then all in a temporary file. The file has
// no name, so that nothing stays behind however the program ends; memory holds a line for each object.
type spool struct {
	file     *os.File
	written  int64  // bytes in the file
	tail     []byte // what is not in the file yet
	at       map[plumbing.Hash]spooled
	inflated int64 // bytes so far, kept or not
}

// spooled is where an object lies. One larger than maxObject is not kept: its offset is negative.
type spooled struct {
	kind         plumbing.ObjectType
	offset, size int64
}

// spoolTail is how much is gathered in memory, in bytes, before it goes to the file. A lost race brings less.
const spoolTail = 1 << 20

func (s *spool) end() int64 { return s.written + int64(len(s.tail)) }

// Write appends to the object that is being unpacked.
func (s *spool) Write(p []byte) (int, error) {
	s.tail = append(s.tail, p...)
	return len(p), nil
}

// flush writes the gathered objects to the file, when they are many. No object may be under way.
func (s *spool) flush() error {
	if len(s.tail) < spoolTail {
		return nil
	}
	if s.file == nil {
		file, err := os.CreateTemp("", "imgbump-*")
		if err != nil {
			return err
		}
		s.file = file
		if err := os.Remove(file.Name()); err != nil {
			return err
		}
	}
	n, err := s.file.Write(s.tail)
	s.written += int64(n)
	if err != nil {
		return err
	}
	if s.tail = s.tail[:0]; cap(s.tail) > 4*spoolTail {
		s.tail = nil
	}
	return nil
}

// content reads so many bytes at an offset, into buf when that has room.
func (s *spool) content(offset, size int64, buf []byte) ([]byte, error) {
	if offset >= s.written {
		return append(buf[:0], s.tail[offset-s.written:][:size]...), nil
	}
	if int64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	_, err := s.file.ReadAt(buf, offset)
	return buf, err
}

// read is an object's content, in buf when that has room.
func (s *spool) read(kind plumbing.ObjectType, hash plumbing.Hash, buf []byte) ([]byte, error) {
	found, ok := s.at[hash]
	switch {
	case !ok || found.kind != kind:
		return nil, plumbing.ErrObjectNotFound
	case found.offset < 0:
		return nil, manifest.ErrTooLarge
	}
	return s.content(found.offset, found.size, buf)
}

func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
