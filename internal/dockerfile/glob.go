package dockerfile

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// follow finds what a path names, through all links.
func follow(src source, name string) (string, *file, error) {
	resolved, err := resolve(src, name)
	if err != nil {
		return "", nil, err
	}
	f, err := src.lstat(resolved)
	return resolved, f, err
}

// glob is the paths that a COPY source names: itself, or what its wildcards match, sorted. A wildcard matches
// within one path component and follows no links after the first wildcard, as in BuildKit.
func glob(src source, pattern string) ([]string, error) {
	parts := strings.Split(strings.Trim(path.Clean("/"+pattern), "/"), "/")
	first := slices.IndexFunc(parts, wild)
	if first < 0 {
		return []string{path.Join("/", path.Join(parts...))}, nil
	}
	dir, f, err := follow(src, path.Join("/", path.Join(parts[:first]...)))
	if err == nil && !f.isDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	matches := map[string]*file{dir: f}
	for _, part := range parts[first:] {
		next := map[string]*file{}
		for dir, f := range matches {
			if err := match(src, dir, f, part, next); err != nil {
				return nil, err
			}
		}
		matches = next
	}
	if len(matches) == 0 && dir != "/" {
		if err := notHidden(src, dir); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(matches)), nil
}

// notHidden is an error when .dockerignore leaves out all that is in a directory: to BuildKit it is not there then.
func notHidden(src source, dir string) error {
	names, err := src.list(dir)
	if err != nil || len(names) == 0 {
		return err
	}
	for _, name := range names {
		if _, err := src.lstat(path.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fs.ErrNotExist
}

// match adds what is in a directory and matches one pattern component.
func match(src source, dir string, f *file, pattern string, found map[string]*file) error {
	if !f.isDir() {
		return nil
	}
	names, err := src.list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return fmt.Errorf("the pattern %s is broken: %w", pattern, err)
		}
		if !ok {
			continue
		}
		child, err := src.lstat(path.Join(dir, name))
		if err == nil {
			found[path.Join(dir, name)] = child
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func wild(part string) bool {
	for i := 0; i < len(part); i++ {
		switch part[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}
