package folder

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/ignore"
)

const gitignore = ".gitignore"

// rules are those of one .gitignore, and of the ones in the folders above it. Folder is its place below the top.
type rules struct {
	ignore.Rules
	folder string
	above  *rules
}

// ignore reports whether the rules leave out the file or folder at p, which lies below prefix below the top. The
// .gitignore next to it has the first word.
func (r *rules) ignore(prefix, p string, folder bool) bool {
	if r != nil && prefix != "." {
		p = path.Join(prefix, p)
	}
	for ; r != nil; r = r.above {
		switch r.Match(strings.TrimPrefix(p[len(r.folder):], "/"), folder) {
		case ignore.Ignored:
			return true
		case ignore.Kept:
			return false
		}
	}
	return false
}

// rulesIn are the rules for the entries of the folder at dir.
func (f *Folder) rulesIn(dir string, entries []fs.DirEntry, above *rules) *rules {
	own := func(e fs.DirEntry) bool { return e.Name() == gitignore }
	if f.WithIgnored || !slices.ContainsFunc(entries, own) {
		return above
	}
	return f.readRules(path.Join(f.prefix, dir), above)
}

// rulesAbove are the rules for the folder at p itself: those of the folders above it, from the repository's top on.
func (f *Folder) rulesAbove(p string) (above *rules) {
	full := path.Join(f.prefix, p)
	if f.WithIgnored || full == "." {
		return nil
	}
	parts := strings.Split(full, "/")
	for i := range parts {
		above = f.readRules(path.Join(parts[:i]...), above)
	}
	return above
}

// readRules reads the .gitignore in a folder below the top. Like git it does not follow a symbolic link; what cannot be
// read has no rules.
func (f *Folder) readRules(folder string, above *rules) *rules {
	if folder == "." {
		folder = ""
	}
	data, err := read(filepath.Join(f.top, folder, gitignore), "", nil)
	if err != nil || len(data) == 0 {
		return above
	}
	return &rules{Rules: ignore.Parse(data), folder: folder, above: above}
}

// topOf finds the top of the git repository that dir lies in, and the path from there to dir; dir itself and "." when
// there is none.
func topOf(dir string) (top, prefix string) {
	full, err := filepath.Abs(dir)
	if err == nil {
		full, err = filepath.EvalSymlinks(full)
	}
	if err != nil {
		return dir, "."
	}
	for top = full; ; top = filepath.Dir(top) {
		if _, err := os.Lstat(filepath.Join(top, ".git")); err == nil {
			prefix, _ = filepath.Rel(top, full)
			return top, filepath.ToSlash(prefix)
		}
		if top == filepath.Dir(top) {
			return full, "."
		}
	}
}
