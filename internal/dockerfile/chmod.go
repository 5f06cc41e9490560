package dockerfile

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	symbolic "github.com/tonistiigi/dchapes-mode"
)

// chmod is a mode to give to what is copied: the same to everything, or changes to each one's own.
type chmod struct {
	octal   int64
	changes *symbolic.Set
}

// parseChmod reads --chmod: octal, or as chmod(1) has it without a umask. An empty one keeps modes, as nil does.
func parseChmod(s string) (*chmod, error) {
	if s == "" {
		return nil, nil
	}
	if mode, err := strconv.ParseUint(s, 8, 32); err == nil && mode <= 0o7777 {
		return &chmod{octal: int64(mode)}, nil
	}
	changes, err := symbolic.ParseWithUmask(s, 0)
	if err != nil || strings.Trim(s, "0123456789") == "" {
		return nil, fmt.Errorf("--chmod=%s is no mode: octal up to 7777, or as in u=rwX,go=rX", s)
	}
	return &chmod{changes: &changes}, nil
}

// possibleMode is parseChmod's error, before variables are expanded.
func possibleMode(s string) error {
	if strings.Contains(s, "$") {
		return nil
	}
	_, err := parseChmod(s)
	return err
}

// of is the mode that f gets. Symbolic links have none.
func (c *chmod) of(f *file) int64 {
	switch {
	case c == nil || f.Typeflag == tar.TypeSymlink:
		return f.Mode
	case c.changes == nil:
		return c.octal
	}
	return tarMode(c.changes.Apply(f.FileInfo().Mode()))
}

// parents is the mode of directories that a copy creates above what it copies: as BuildKit has it, an octal mode counts
// for them too, but without its first digit.
func (c *chmod) parents() int64 {
	if c == nil || c.changes != nil {
		return 0o755
	}
	return c.octal & 0o777
}

// tarMode is the permissions of a mode, with the first octal digit, as tar(5) has them.
func tarMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	for bit, special := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			mode |= special
		}
	}
	return mode
}
