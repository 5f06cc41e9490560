package dockerfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"sync"

	"github.com/ksera524/imgbump/internal/fault"
)

// FS shows a context to somebody else, who may ask for several things at once. Nothing in it follows a link: Stat and
// ReadDir describe the links themselves. What Sys gives is a *tar.Header, the same for all names of one file. Devices are
// left out.
func FS(c Context) fs.FS { return &shown{files: c} }

type shown struct {
	mu    sync.Mutex
	files Context
}

func (s *shown) lstat(name string) (*file, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrInvalid}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.files.lstat(path.Join("/", name))
	var device *fault.Error
	if errors.As(err, &device) {
		return nil, fs.ErrNotExist
	}
	return f, err
}

// Stat describes a name.
func (s *shown) Stat(name string) (fs.FileInfo, error) {
	f, err := s.lstat(name)
	if err != nil {
		return nil, err
	}
	return info{f.FileInfo(), path.Base(name)}, nil
}

// ReadDir is what is in a directory, sorted.
func (s *shown) ReadDir(name string) ([]fs.DirEntry, error) {
	s.mu.Lock()
	names, err := s.files.list(path.Join("/", name))
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var all []fs.DirEntry
	for _, base := range names {
		i, err := s.Stat(path.Join(name, base))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, fs.FileInfoToDirEntry(i))
	}
	return all, nil
}

// Open reads a regular file.
func (s *shown) Open(name string) (fs.File, error) {
	f, err := s.lstat(name)
	switch {
	case err != nil:
		return nil, err
	case !f.isRegular():
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	o := opened{io.NopCloser(&bytes.Reader{}), info{f.FileInfo(), path.Base(name)}}
	if f.content != nil {
		o.ReadCloser, err = f.content.open()
	}
	return o, err
}

// info is that of a header under the name by which it was asked for.
type info struct {
	fs.FileInfo
	name string
}

func (i info) Name() string { return i.name }

type opened struct {
	io.ReadCloser
	info fs.FileInfo
}

func (o opened) Stat() (fs.FileInfo, error) { return o.info, nil }
