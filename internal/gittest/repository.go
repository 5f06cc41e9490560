package gittest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Repository is a bare repository of a Server.
type Repository struct {
	Dir string // its folder: a file:// or local remote
	URL string // its address, without credentials
}

// Commit adds a commit to a branch, as somebody with access to the server would, and returns its hash. Files are
// added or replaced; a first commit creates the branch. The mode of a file is kept as far as git knows it:
// executable or not, or a symbolic link.
func (r *Repository) Commit(branch, message string, files fs.FS) (string, error) {
	var stream bytes.Buffer
	fmt.Fprintf(&stream, "commit refs/heads/%s\ncommitter Somebody Else <somebody@example.com> 1700000000 +0000\n", branch)
	fmt.Fprintf(&stream, "data %d\n%s\n", len(message), message)
	if _, err := r.Tip(branch); err == nil {
		fmt.Fprintf(&stream, "from refs/heads/%s^0\n", branch)
	}
	err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return writeFile(&stream, files, path, entry)
	})
	if err != nil {
		return "", fmt.Errorf("read the files of a commit: %w", err)
	}
	if _, err := git(r.Dir, &stream, "fast-import", "--quiet"); err != nil {
		return "", err
	}
	return r.Tip(branch)
}

// writeFile writes one file in the language of git fast-import.
func writeFile(stream *bytes.Buffer, files fs.FS, path string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	mode, content := "100644", []byte(nil)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		mode = "120000"
		var target string
		target, err = fs.ReadLink(files, path)
		content = []byte(target)
	case info.Mode()&0o111 != 0:
		mode = "100755"
		content, err = fs.ReadFile(files, path)
	default:
		content, err = fs.ReadFile(files, path)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stream, "M %s inline %s\ndata %d\n%s\n", mode, path, len(content), content)
	return nil
}

// Tip is the hash of a branch's newest commit; a branch that does not exist is an error.
func (r *Repository) Tip(branch string) (string, error) {
	out, err := Git(r.Dir, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch)
	return strings.TrimSpace(out), err
}

// File is the content of a file at the tip of a branch.
func (r *Repository) File(branch, path string) (string, error) {
	return Git(r.Dir, "cat-file", "blob", "refs/heads/"+branch+":"+path)
}

// Hook installs a shell script as one of git's hooks: a "pre-receive" or "update" that exits 1 is a protected branch.
func (r *Repository) Hook(name, script string) error {
	return os.WriteFile(filepath.Join(r.Dir, "hooks", name), []byte("#!/bin/sh\n"+script+"\n"), 0o755)
}

// Fsck asks git whether every object is whole and reachable; nil means sound.
func (r *Repository) Fsck() error {
	_, err := Git(r.Dir, "fsck", "--full", "--strict")
	return err
}
