package buildkit

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
)

// The names of the folders of every build.
const (
	contextName    = "context"
	dockerfileName = "dockerfile"
	fileName       = "Dockerfile"
	ignoreName     = fileName + ".dockerignore"
)

// folders are those of a build. The Dockerfile is in one of its own, with the ignore file that counts beside it, which
// goes before the one in the context.
func (r Request) folders() (map[string]fsutil.FS, error) {
	texts := memory{fileName: r.Text}
	if r.Sources.Ignore != nil {
		texts[ignoreName] = r.Sources.Ignore
	}
	all := map[string]fsutil.FS{dockerfileName: texts, contextName: folder{dockerfile.FS(r.Sources.Context)}}
	for name, files := range r.Sources.Contexts {
		if name == contextName || name == dockerfileName {
			return nil, fault.Usagef("give it another name", "BuildKit takes no build context called %s", name)
		}
		all[name] = folder{dockerfile.FS(files)}
	}
	return all, nil
}

// memory are files that are nowhere else, by their names.
type memory map[string][]byte

// Walk visits what is called top, or all. They are as old as can be: BuildKit reads them anew each time.
func (m memory) Walk(_ context.Context, top string, visit fs.WalkDirFunc) error {
	names := slices.Sorted(maps.Keys(m))
	if top = path.Join(".", top); top != "." {
		if m[top] == nil {
			return visit(top, nil, fs.ErrNotExist)
		}
		names = []string{top}
	}
	for _, name := range names {
		stat := &types.Stat{Path: name, Mode: 0o644, Size: int64(len(m[name]))}
		if err := visit(name, &fsutil.DirEntryInfo{Stat: stat}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (m memory) Open(name string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m[path.Join(".", name)])), nil
}

// folder is files of the build as fsutil wants them.
type folder struct{ fs.FS }

// Walk describes what is at and below a name as the protocol wants it: all but the first name of a file are links to that.
func (f folder) Walk(ctx context.Context, top string, visit fs.WalkDirFunc) error {
	first := map[any]string{}
	return fs.WalkDir(f.FS, path.Join(".", top), func(name string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if name == "." && err == nil {
			return nil
		}
		if err == nil {
			entry, err = described(name, entry, first)
		}
		return visit(name, entry, err)
	})
}

func described(name string, entry fs.DirEntry, first map[any]string) (fs.DirEntry, error) {
	i, err := entry.Info()
	if err != nil {
		return nil, err
	}
	stat := &types.Stat{Path: name, Mode: uint32(i.Mode()), ModTime: i.ModTime().UnixNano()}
	if header, ok := i.Sys().(*tar.Header); ok {
		stat.Uid, stat.Gid, stat.Linkname = uint32(header.Uid), uint32(header.Gid), header.Linkname
		if before, seen := first[header]; seen && !i.IsDir() {
			stat.Linkname = before
		}
		first[header] = name
	}
	if i.Mode().IsRegular() {
		stat.Size = i.Size()
	}
	return &fsutil.DirEntryInfo{Stat: stat}, nil
}

// Open reads one file.
func (f folder) Open(name string) (io.ReadCloser, error) { return f.FS.Open(path.Join(".", name)) }

// sendFolder sends as much of a folder as the daemon asks for and lacks.
func (s *session) sendFolder(x *exchange) error {
	name := x.header.Get("Dir-Name")
	from, ok := s.folders[name]
	if !ok {
		return &status{code: codeNotFound, message: fmt.Sprintf("there is no folder %q", name)}
	}
	filtered, err := fsutil.NewFilterFS(from, &fsutil.FilterOpt{
		IncludePatterns: listed(x.header, "Include-Patterns"),
		ExcludePatterns: listed(x.header, "Exclude-Patterns"),
		FollowPaths:     listed(x.header, "Followpaths"),
	})
	if err != nil {
		return err
	}
	return fsutil.Send(x.ctx, packets{x}, filtered, nil)
}

// listed are the values of a header, as BuildKit encodes those that are not ASCII.
func listed(header http.Header, key string) []string {
	values := header.Values(key)
	if header.Get(key+"-Encoded") != "1" {
		return values
	}
	var decoded []string
	for _, v := range values {
		if text, err := url.QueryUnescape(v); err == nil {
			decoded = append(decoded, text)
		}
	}
	return decoded
}

// packets are the messages of fsutil on a call.
type packets struct{ *exchange }

func (p packets) Context() context.Context { return p.ctx }

func (p packets) SendMsg(m any) error {
	raw, err := m.(*types.Packet).MarshalVT()
	if err != nil {
		return err
	}
	return p.Send(raw)
}

func (p packets) RecvMsg(m any) error {
	raw, err := p.Receive()
	if err != nil {
		return err
	}
	if err := m.(*types.Packet).UnmarshalVT(raw); err != nil {
		return errors.Join(errProtocol, err)
	}
	return nil
}
