package dockerfile

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// buildContext is the folder that COPY and ADD read, without what .dockerignore names. Only what an instruction
// names is looked at, and nothing outside the folder is, wherever its links point.
type buildContext struct {
	root    *os.Root
	ignore  *patternmatcher.PatternMatcher
	parents map[string]patternmatcher.MatchInfo // of directories
	linked  map[inode]*file                     // files with several names
}

type inode struct{ device, number uint64 }

func newContext(root *os.Root, ignore []byte) (*buildContext, error) {
	patterns, err := ignorefile.ReadAll(bytes.NewReader(ignore))
	if err != nil {
		return nil, err
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, err
	}
	return &buildContext{root: root, ignore: matcher,
		parents: map[string]patternmatcher.MatchInfo{}, linked: map[inode]*file{}}, nil
}

// contextFile is the content of a file in the build context.
type contextFile struct {
	root *os.Root
	name string
}

func (f contextFile) open() (io.ReadCloser, error) { return f.root.Open(f.name) }

// relative is a path as os.Root wants it.
func relative(name string) string { return path.Join(".", name) }

func (c *buildContext) lstat(name string) (*file, error) {
	info, err := c.stat(name)
	if err != nil {
		return nil, err
	}
	hidden, err := c.hidden(name, info.IsDir())
	if err != nil {
		return nil, err
	}
	if hidden {
		return nil, fs.ErrNotExist
	}
	id, linked := identity(info)
	if f := c.linked[id]; linked && f != nil {
		return f, nil
	}
	f, err := c.file(name, info)
	if linked && err == nil {
		c.linked[id] = f
	}
	return f, err
}

// stat is os.Lstat in the context. A path through a file or an unresolved link names nothing.
func (c *buildContext) stat(name string) (fs.FileInfo, error) {
	info, err := c.root.Lstat(relative(name))
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, fs.ErrNotExist
	}
	return info, err
}

// list is what is in a directory, ignored or not, sorted.
func (c *buildContext) list(dir string) ([]string, error) {
	d, err := c.root.Open(relative(dir))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// file describes a name of the context: as on disk, but owned by root, as BuildKit sends it.
func (c *buildContext) file(name string, info fs.FileInfo) (*file, error) {
	f := &file{Header: tar.Header{ModTime: info.ModTime(), Mode: int64(info.Mode().Perm())}}
	for bit, special := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if info.Mode()&bit != 0 {
			f.Mode |= special
		}
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		f.Typeflag = tar.TypeDir
	case fs.ModeSymlink:
		target, err := c.root.Readlink(relative(name))
		if err != nil {
			return nil, err
		}
		f.Typeflag, f.Linkname = tar.TypeSymlink, target
	case fs.ModeNamedPipe:
		f.Typeflag = tar.TypeFifo
	case fs.ModeSocket: // a socket arrives as an empty file, as with BuildKit
		f.Typeflag = tar.TypeReg
	case 0:
		f.Typeflag, f.Size = tar.TypeReg, info.Size()
		f.content = contextFile{c.root, relative(name)}
	default:
		return nil, notYet("the device "+name, "leave it out with .dockerignore")
	}
	return f, nil
}

// identity tells names of one file from others; ok is false when it has only one name.
func identity(info fs.FileInfo) (id inode, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.IsDir() || st.Nlink < 2 {
		return inode{}, false
	}
	return inode{uint64(st.Dev), st.Ino}, true
}

// hidden reports whether .dockerignore leaves a name out. An ignored directory is still there when a ! pattern
// brings something in it back.
func (c *buildContext) hidden(name string, dir bool) (bool, error) {
	name = relative(name)
	if name == "." {
		return false, nil
	}
	ignored, err := c.ignored(name)
	if err != nil || !ignored || !dir || !c.mayHoldException(name) {
		return ignored, err
	}
	names, err := c.list(name)
	if err != nil {
		return false, err
	}
	for _, child := range names {
		child = path.Join(name, child)
		info, err := c.stat(child)
		if err != nil {
			return false, err
		}
		if hidden, err := c.hidden(child, info.IsDir()); err != nil || !hidden {
			return false, err
		}
	}
	return true, nil
}

// ignored matches one path; a parent's result counts for what is in it, as patternmatcher has it.
func (c *buildContext) ignored(name string) (bool, error) {
	parent, err := c.parent(path.Dir(name))
	if err != nil {
		return false, err
	}
	ignored, _, err := c.ignore.MatchesUsingParentResults(name, parent)
	return ignored, err
}

func (c *buildContext) parent(dir string) (patternmatcher.MatchInfo, error) {
	if dir == "." {
		return patternmatcher.MatchInfo{}, nil
	}
	if known, ok := c.parents[dir]; ok {
		return known, nil
	}
	above, err := c.parent(path.Dir(dir))
	if err != nil {
		return above, err
	}
	_, matched, err := c.ignore.MatchesUsingParentResults(dir, above)
	c.parents[dir] = matched
	return matched, err
}

// mayHoldException reports whether a ! pattern could match below dir; one with wildcards could anywhere.
func (c *buildContext) mayHoldException(dir string) bool {
	return slices.ContainsFunc(c.ignore.Patterns(), func(p *patternmatcher.Pattern) bool {
		return p.Exclusion() && (strings.ContainsAny(p.String(), `*?[\`) || strings.HasPrefix(p.String(), dir+"/"))
	})
}

// explain says why a source was not found. What .dockerignore hides is there when asked for itself.
func (c *buildContext) explain(name string) error {
	if resolved, err := resolve(c, path.Join("/", name)); err == nil {
		if _, err := c.stat(resolved); err == nil {
			return fmt.Errorf("%s is left out by .dockerignore", name)
		}
	}
	return fmt.Errorf("%s is not in the build context", name)
}
