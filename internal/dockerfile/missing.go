package dockerfile

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// missing says why a source was not found, when err is that it was not.
func (b *builder) missing(src source, from origin, pattern string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", pattern, err)
	}
	files, isContext := src.(*buildContext)
	switch {
	case isContext && files == b.files && outside(pattern):
		return &fault.Error{Hint: "a source is inside the build context: name a higher folder as CONTEXT",
			Err: fmt.Errorf("%s is not in the build context", pattern)}
	case isContext:
		return files.explain(pattern)
	case from.stage != nil:
		return absent(src, pattern, "the stage "+from.stage.label())
	}
	return absent(src, pattern, "the image "+from.image)
}

// outside reports whether a path leads out of where it starts.
func outside(name string) bool {
	clean := path.Clean(name)
	return clean == ".." || strings.HasPrefix(clean, "../")
}

// explain says why nothing in the context was found for a source. What the ignore file hides is there when it does not
// count.
func (c *buildContext) explain(pattern string) error {
	all := unignored{c}
	names, _ := glob(all, pattern)
	for _, name := range names {
		asked := &asking{source: all}
		if _, _, err := follow(asked, name); err != nil {
			continue
		}
		hidden := ""
		for _, on := range asked.way {
			if _, err := c.lstat(on); errors.Is(err, fs.ErrNotExist) {
				hidden = relative(on)
			}
		}
		if hidden != "" {
			return c.leftOut(relative(name), hidden)
		}
	}
	return absent(c, pattern, "the build context")
}

// leftOut is the error for a source that the ignore file hides, or that leads to what it hides.
func (c *buildContext) leftOut(name, hidden string) error {
	err := fmt.Errorf("%s is left out by %s", hidden, c.ignoreFile)
	if hidden != name {
		err = fmt.Errorf("%s leads to %s, which is left out by %s", name, hidden, c.ignoreFile)
	}
	return &fault.Error{Hint: "a line with ! brings it back: !" + hidden, Err: err}
}

// unignored is a context with what its ignore file hides.
type unignored struct{ *buildContext }

func (u unignored) lstat(name string) (*file, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.files.lstat(name)
}

// asking notes what is asked for and there, in its order.
type asking struct {
	source
	way []string
}

func (a *asking) lstat(name string) (*file, error) {
	f, err := a.source.lstat(name)
	if err == nil {
		a.way = append(a.way, name)
	}
	return f, err
}

// absent is the error for what is not in src, which place names: for a link to nothing where that is, else what may have
// been meant.
func absent(src source, name, place string) error {
	asked := &asking{source: src}
	if _, _, err := follow(asked, path.Join("/", name)); err != nil {
		for _, on := range asked.way {
			f, err := src.lstat(on)
			if err != nil || f.Typeflag != tar.TypeSymlink {
				continue
			}
			if _, _, err := follow(src, on); err == nil {
				continue
			}
			link, reason := relative(on), "not in "
			if !path.IsAbs(f.Linkname) && outside(path.Join(path.Dir(link), f.Linkname)) {
				reason = "outside of "
			}
			return fmt.Errorf("%s is a link to %s, which is %s%s", link, f.Linkname, reason, place)
		}
	}
	return fmt.Errorf("%s is not in %s%s", name, place, nearest(src, name))
}

// nearest is a question that offers the name that is most like a source that is not there, or nothing.
func nearest(src source, name string) string {
	dir, err := resolve(src, path.Dir(path.Join("/", name)))
	if err != nil {
		return ""
	}
	names, err := src.list(dir)
	if err != nil {
		return ""
	}
	word := near(path.Base(name), names)
	if before, after, ok := strings.Cut(word, " mean "); ok && path.Dir(name) != "." {
		return before + " mean " + path.Join(path.Dir(name), after)
	}
	return word
}
