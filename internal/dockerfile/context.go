package dockerfile

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// buildContext is the folder that COPY and ADD read, without what .dockerignore names. Only what an instruction
// names is looked at, and nothing outside the folder is, wherever its links point.
type buildContext struct {
	root       *os.Root
	ignore     *patternmatcher.PatternMatcher
	ignoreFile string
	patterns   []string

	mu      sync.Mutex                          // of what follows, for stages read at the same time
	parents map[string]patternmatcher.MatchInfo // of directories
	linked  map[inode]*file                     // files with several names
}

type inode struct{ device, number uint64 }

// dockerignore is the file in a build context that says what is not of it.
const dockerignore = ".dockerignore"

// openContext is a folder without what the .dockerignore in it names.
func openContext(root *os.Root) (*buildContext, error) {
	ignore, err := root.ReadFile(dockerignore)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", dockerignore, fault.Cause(err))
	}
	return newContext(root, ignore, dockerignore)
}

func newContext(root *os.Root, ignore []byte, ignoreFile string) (*buildContext, error) {
	patterns, err := ignorefile.ReadAll(bytes.NewReader(ignore))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", ignoreFile, err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", ignoreFile, err)
	}
	return &buildContext{root: root, ignore: matcher, ignoreFile: cmp.Or(ignoreFile, dockerignore), patterns: patterns,
		parents: map[string]patternmatcher.MatchInfo{}, linked: map[inode]*file{}}, nil
}

// contextFile is the content of a file in the build context.
type contextFile struct {
	root  *os.Root
	name  string
	inode inode
	state state
}

var now = time.Now // a test has a later one

// state tells what a file held at one time from what it held at others.
type state struct {
	size, modified, changed int64 // bytes, and times in ns
	settled                 bool  // the last change is long enough ago for the next one to have another time
}

func stateOf(info fs.FileInfo) state {
	s := state{size: info.Size(), modified: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		changed := image.Changed(sys)
		s.changed, s.settled = changed.UnixNano(), now().Sub(changed) >= image.Rest
	}
	return s
}

func (f contextFile) identity() (string, bool) {
	return fmt.Sprint("file ", f.inode.device, f.inode.number, f.state.size, f.state.modified, f.state.changed), f.state.settled
}

// open insists on the file that was seen: what came in its place meanwhile may be a link to what .dockerignore hides, or a
// pipe that nobody writes to.
func (f contextFile) open() (io.ReadCloser, error) {
	file, err := f.root.OpenFile(f.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && inodeOf(info) != f.inode {
		err = fmt.Errorf("%s is another file now: %w", f.name, image.ErrChanged)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// relative is a path as os.Root wants it.
func relative(name string) string { return path.Join(".", name) }

func (c *buildContext) lstat(name string) (*file, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
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
	f := &file{Header: tar.Header{ModTime: info.ModTime(), Mode: tarMode(info.Mode())}}
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
		f.content = contextFile{c.root, relative(name), inodeOf(info), stateOf(info)}
	default:
		return nil, &fault.Error{Hint: "leave it out with .dockerignore", Err: fmt.Errorf("%s is a device", name)}
	}
	return f, nil
}

// identity tells names of one file from others; ok is false when it has only one name.
func identity(info fs.FileInfo) (id inode, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	return inodeOf(info), ok && !info.IsDir() && st.Nlink > 1
}

// inodeOf is what tells a file from others, whatever its name.
func inodeOf(info fs.FileInfo) inode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}
	}
	return inode{uint64(st.Dev), st.Ino}
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
	resolved, err := resolve(c, path.Join("/", name))
	if err == nil {
		_, err = c.stat(resolved)
	}
	if err == nil {
		return &fault.Error{Hint: "a line with ! brings it back: !" + relative(name),
			Err: fmt.Errorf("%s is left out by %s", name, c.ignoreFile)}
	}
	return fmt.Errorf("%s is not in the build context%s", name, nearest(c, name))
}
