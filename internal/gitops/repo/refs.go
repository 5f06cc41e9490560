package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/ksera524/imgbump/internal/fault"
)

const (
	lockPatience = time.Second // how long another process may hold a ref; git's own lasts milliseconds
	lockPause    = 10 * time.Millisecond
)

var (
	errUnborn     = errors.New("it has no commit yet")
	errNoCheckout = errors.New("there is no checkout")
)

// branchRef is the full name of a branch. A name may be a server's, and becomes part of a path: git's rules for it
// (git-check-ref-format) keep it below refs/heads.
func branchRef(name string) (string, error) {
	ref := plumbing.ReferenceName("refs/heads/" + strings.TrimPrefix(name, "refs/heads/"))
	if ref.Validate() != nil {
		return "", fault.Usagef("for example: main", "%q is not a branch's name", name)
	}
	return string(ref), nil
}

// CheckedOut is the name of the branch that is checked out, "" when none is.
func (r *Repo) CheckedOut() string {
	branch, _, err := r.head()
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(branch, "refs/heads/")
}

// head is the commit that is checked out and the full name of its branch, "" when HEAD is detached.
func (r *Repo) head() (branch string, commit plumbing.Hash, err error) {
	if r.gitDir == "" {
		return "", commit, errNoCheckout
	}
	data, err := os.ReadFile(filepath.Join(r.gitDir, "HEAD"))
	if err != nil {
		return "", commit, err
	}
	text := strings.TrimSpace(string(data))
	branch, attached := strings.CutPrefix(text, "ref: ")
	if !attached {
		return "", plumbing.NewHash(text), nil
	}
	commit, err = r.ref(branch)
	return branch, commit, err
}

// ref reads a ref that all worktrees share.
func (r *Repo) ref(name string) (plumbing.Hash, error) {
	if r.common == "" {
		return plumbing.ZeroHash, errNoCheckout
	}
	if err := plumbing.ReferenceName(name).Validate(); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("%q: %w", name, err)
	}
	data, err := os.ReadFile(filepath.Join(r.common, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return r.packedRef(name)
	} else if err != nil {
		return plumbing.ZeroHash, err
	}
	text := strings.TrimSpace(string(data))
	if !plumbing.IsHash(text) {
		return plumbing.ZeroHash, fmt.Errorf("%s is not a commit but %q", name, text)
	}
	return plumbing.NewHash(text), nil
}

func (r *Repo) packedRef(name string) (plumbing.Hash, error) {
	data, err := os.ReadFile(filepath.Join(r.common, "packed-refs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return plumbing.ZeroHash, err
	}
	for line := range bytes.Lines(data) {
		if hash, found, _ := strings.Cut(strings.TrimSpace(string(line)), " "); found == name {
			return plumbing.NewHash(hash), nil
		}
	}
	return plumbing.ZeroHash, fmt.Errorf("%s: %w", name, errUnborn)
}

// moveRef changes a ref from one commit to another, or a detached HEAD when name is "", and fails with a Conflict when
// it is elsewhere by now. From zero it is made. It holds the lock file that git itself would, and writes the reflog where there is one;
// go-git's own compare-and-swap does neither.
func (r *Repo) moveRef(ctx context.Context, name string, from, to plumbing.Hash, reason string) error {
	return r.moveRefAfter(ctx, name, from, to, reason, func() error { return nil })
}

// moveRefAfter does something else before it moves the ref, while that cannot move. When that fails the ref stays.
func (r *Repo) moveRefAfter(ctx context.Context, name string, from, to plumbing.Hash, reason string, before func() error) (err error) {
	file, current := filepath.Join(r.common, filepath.FromSlash(name)), func() (plumbing.Hash, error) { return r.ref(name) }
	if name == "" {
		file, current = filepath.Join(r.gitDir, "HEAD"), func() (plumbing.Hash, error) {
			branch, hash, err := r.head()
			if branch != "" {
				hash = plumbing.ZeroHash // a branch was checked out meanwhile
			}
			return hash, err
		}
	}
	lock, err := lockRef(ctx, file+".lock")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(lock.Name())
		}
	}()
	defer lock.Close()
	now, err := current()
	if err != nil && !(from.IsZero() && errors.Is(err, errUnborn)) {
		return err
	}
	if now != from {
		return &fault.Error{Kind: fault.Conflict, What: "move", Where: filepath.Base(file),
			Err: fmt.Errorf("somebody was first: it is at %s, not at %s", short(now.String()), short(from.String()))}
	}
	if _, err := fmt.Fprintln(lock, to); err != nil {
		return err
	}
	if err := lock.Close(); err != nil {
		return err
	}
	if err := before(); err != nil {
		return err
	}
	if err := os.Rename(lock.Name(), file); err != nil {
		return err
	}
	if err := r.logMove(name, from, to, reason); err != nil {
		r.options.Warn(fmt.Sprintf("moved %s, but could not write its log: %v", filepath.Base(file), err))
	}
	return nil
}

func lockRef(ctx context.Context, file string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockPatience); ; {
		lock, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return lock, err
		}
		if time.Now().After(deadline) {
			return nil, &fault.Error{What: "lock", Where: file, Err: errors.New("another git process holds it"),
				Hint: "wait for it; when none is running, remove the file"}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// logMove appends to the reflogs that exist. A branch that HEAD points to is logged for HEAD too.
func (r *Repo) logMove(name string, from, to plumbing.Hash, reason string) error {
	who := r.author()
	now := r.options.Now()
	line := fmt.Sprintf("%s %s %s <%s> %d %s\t%s\n", from, to, who.Name, who.Email, now.Unix(), now.Format("-0700"), reason)
	logs := []string{filepath.Join(r.common, "logs", filepath.FromSlash(name))}
	if name == "" {
		logs = nil
	}
	if branch, _, _ := r.head(); branch == name {
		logs = append(logs, filepath.Join(r.gitDir, "logs", "HEAD"))
	}
	for _, file := range logs {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		_, err = f.WriteString(line)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
