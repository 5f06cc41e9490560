package engine

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// stubs are what is missing in a root filesystem to be mounted on, and the directories above.
type stubs struct {
	paths []string // missing, without symbolic links
	files map[string]bool
	above map[string]unix.Stat_t // directories that are there
}

// findStubs looks for everything that will be mounted on. What lies below another mount is that mount's business.
func findStubs(root tree, s *spec, sources []source) (*stubs, error) {
	found := &stubs{files: map[string]bool{}, above: map[string]unix.Stat_t{}}
	var mounted []string
	find := func(target string, file bool) error {
		at, err := root.target(target)
		if err != nil {
			return err
		}
		if !under(at.real, mounted) && at.mode == 0 {
			found.paths = append(found.paths, at.real)
			found.files[at.real] = file
			if err := found.ancestors(root, at.real); err != nil {
				return failed("find", target, err)
			}
		}
		mounted = append(mounted, at.real)
		return nil
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if err := find(dir, false); err != nil {
			return nil, err
		}
	}
	for _, file := range []string{"/etc/hosts", "/etc/resolv.conf"} {
		if err := find(file, true); err != nil {
			return nil, err
		}
	}
	for i, m := range s.Mounts {
		if err := find(m.Target, sources[i].file); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// ancestors notes what the directories above a missing path are like, for the layer of stubs to say the same of them.
func (s *stubs) ancestors(root tree, real string) error {
	for dir := parent(real); dir != ""; dir = parent(dir) {
		fd, err := root.open(dir, unix.O_PATH)
		if errors.Is(err, unix.ENOENT) {
			continue // which is a stub then
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		unix.Close(fd)
		if err != nil {
			return err
		}
		s.above[dir] = st
	}
	return nil
}

// write makes the stubs in an empty directory.
func (s *stubs) write(dir string) error {
	for _, path := range s.paths {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if s.files[path] {
			if err := os.WriteFile(full, nil, 0o644); err != nil {
				return err
			}
		} else if err := os.MkdirAll(full, 0o755); err != nil {
			return err
		}
	}
	var above []string
	for path := range s.above {
		above = append(above, path)
	}
	slices.SortFunc(above, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	for _, path := range above {
		st := s.above[path]
		if err := like(filepath.Join(dir, path), &st); err != nil {
			return err
		}
	}
	return nil
}
