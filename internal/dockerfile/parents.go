package dockerfile

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
)

// copyParents copies what a source of COPY --parents names together with the directories above it, those after a /./ if
// it has one.
func (p *plan) copyParents(src source, name, dest string) error {
	above, below, pivoted := strings.Cut(name, "/./")
	if !pivoted {
		above, below = "/", name
	}
	below = strings.TrimPrefix(path.Join("/", below), "/")
	include, err := patternmatcher.New([]string{below})
	if err != nil {
		return fmt.Errorf("the pattern %s is broken: %w", below, err)
	}
	tops, err := glob(src, above)
	if err != nil {
		return err
	}
	found := false
	for _, top := range tops {
		from, f, err := follow(src, top)
		if err != nil {
			return err
		}
		target, err := p.target(f, top, dest)
		if err != nil {
			return err
		}
		c := copying{plan: p, src: src, links: map[*file]*file{}, include: include, pattern: strings.Split(below, "/")}
		if err := c.tree(entry{from: from, target: target, wanted: true}, f); err != nil {
			return err
		}
		found = found || c.found
	}
	if wild(above) || wild(below) {
		return nil
	}
	if !found {
		return fs.ErrNotExist
	}
	_, _, err = follow(src, path.Join("/", above, below)) // a link to nothing is there, but BuildKit refuses it
	return err
}

// mayHold reports whether something below a directory, named from the top of what is copied, can match the pattern.
func (c *copying) mayHold(dir string) bool {
	for i, part := range strings.Split(dir, "/") {
		if i >= len(c.pattern) {
			return false
		}
		if strings.HasPrefix(c.pattern[0], "!") || slices.Contains(c.pattern[:i+1], "**") {
			return true
		}
		if ok, err := path.Match(c.pattern[i], part); err == nil && !ok {
			return false
		}
	}
	return true
}
