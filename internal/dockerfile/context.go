package dockerfile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/ksera524/imgbump/internal/fault"
)

// Context is the files that COPY and ADD may read: a Folder, an Archive or a Single file.
type Context interface {
	source
	// ReadFile is a file of it, for a Dockerfile or an ignore file; fs.ErrNotExist when there is none.
	ReadFile(name string) ([]byte, error)
}

// archived is a context that was unpacked into headers.
type archived struct{ *tree }

// maxText is how much of a context's file ReadFile reads, in bytes.
const maxText = 16 << 20

func (a archived) ReadFile(name string) ([]byte, error) { return read(a.tree, "/"+name, maxText) }

// Archive is what a tar holds, with the owners it tells, as ADD would unpack it; nil when f is no archive. f, which may be
// compressed, must stay open until the image has been read.
func Archive(ctx context.Context, f *os.File) (Context, error) {
	content, err := newSpooled(f)
	if err != nil || content.size == 0 {
		return nil, err
	}
	a, err := asArchive(regular(content))
	if err != nil || a == nil {
		return nil, err
	}
	p := newPlan(newTree())
	err = p.unpack(ctx, a, "/")
	if newest := p.date(); !newest.IsZero() {
		p.tree.root.file.ModTime = newest
	}
	return archived{p.tree}, err
}

// Single is one file, which must stay open, and when it was changed last, zero if nobody knows.
func Single(name string, f *os.File, modified time.Time) (Context, error) {
	content, err := newSpooled(f)
	if err != nil {
		return nil, err
	}
	t, file := newTree(), regular(content)
	if !modified.IsZero() {
		file.ModTime = modified
	}
	t.put("/"+name, file, ours)
	return archived{t}, nil
}

// Empty is a context that holds nothing.
func Empty() Context { return archived{newTree()} }

// buildContext is a context without what its ignore file names. Only what an instruction names is looked at.
type buildContext struct {
	files      Context
	ignore     *patternmatcher.PatternMatcher
	ignoreFile string
	patterns   []string

	mu      sync.Mutex                          // of what follows, and of files, for stages read at the same time
	parents map[string]patternmatcher.MatchInfo // of directories
}

// dockerignore is the file in a build context that says what is not of it.
const dockerignore = ".dockerignore"

// openContext is a context without what the .dockerignore in it names.
func openContext(files Context) (*buildContext, error) {
	ignore, err := files.ReadFile(dockerignore)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", dockerignore, fault.Cause(err))
	}
	return newContext(files, ignore, dockerignore)
}

func newContext(files Context, ignore []byte, ignoreFile string) (*buildContext, error) {
	patterns, err := ignorefile.ReadAll(bytes.NewReader(ignore))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", ignoreFile, err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", ignoreFile, err)
	}
	return &buildContext{files: files, ignore: matcher, ignoreFile: cmp.Or(ignoreFile, dockerignore), patterns: patterns,
		parents: map[string]patternmatcher.MatchInfo{}}, nil
}

// lstat is that of the files. What is wrong with one that is left out does not matter.
func (c *buildContext) lstat(name string) (*file, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := c.files.lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if hidden, err := c.hidden(name, f); err != nil || hidden {
		return nil, cmp.Or(err, fs.ErrNotExist)
	}
	return f, err
}

// list is what is in a directory, ignored or not, sorted.
func (c *buildContext) list(dir string) ([]string, error) { return c.files.list(dir) }

// hidden reports whether .dockerignore leaves a name out. An ignored directory is still there when a ! pattern
// brings something in it back. f may be nil, for what is no directory.
func (c *buildContext) hidden(name string, f *file) (bool, error) {
	name = relative(name)
	if name == "." {
		return false, nil
	}
	ignored, err := c.ignored(name)
	if err != nil || !ignored || f == nil || !f.isDir() || !c.mayHoldException(name) {
		return ignored, err
	}
	names, err := c.list("/" + name)
	if err != nil {
		return false, err
	}
	for _, child := range names {
		child = path.Join("/", name, child)
		f, _ := c.files.lstat(child)
		if hidden, err := c.hidden(child, f); err != nil || !hidden {
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
