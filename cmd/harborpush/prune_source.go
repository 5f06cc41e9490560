package main

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/ksera524/imgbump/internal/gitops/folder"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/prune"
)

// sources opens what --keep-referenced names. Close them when done, with an error too.
type sources struct {
	flags   *pruneFlags
	console *cli.Console
	keys    *gitaccess.Keyring
	homed   bool // keys know their server: that of the first URL
	all     []prune.Source
	closers []func() error
}

func (s *sources) close() {
	for _, closer := range s.closers {
		closer()
	}
}

func (s *sources) open(ctx context.Context) (err error) {
	if s.keys, err = s.flags.login.Keyring(s.console); err != nil {
		return err
	}
	for _, named := range s.flags.referenced {
		var source prune.Source
		if isURL(named) {
			source, err = s.remote(ctx, named)
		} else {
			source, err = s.folder(ctx, named)
		}
		if err != nil {
			return err
		}
		s.all = append(s.all, source)
	}
	return nil
}

// isURL reports whether a source is the address of a repository: URL, or USER@HOST:PATH as ssh has it.
func isURL(source string) bool {
	host, _, scp := strings.Cut(source, ":")
	return strings.Contains(source, "://") || scp && strings.Contains(host, "@") && !strings.Contains(host, "/")
}

// folder is the folder as it is now, and at the last commits when it is in a git checkout.
func (s *sources) folder(ctx context.Context, dir string) (prune.Source, error) {
	tree, err := folder.Open(dir)
	if err != nil {
		return prune.Source{}, &fault.Error{What: "read the manifests of", Where: dir, Err: errors.Unwrap(err),
			Hint: "--keep-referenced names a folder with manifests, or the URL of a git repository; nothing was removed"}
	}
	s.closers = append(s.closers, tree.Close)
	tree.WithIgnored = true
	history := func(func(repo.Version, error) bool) {}
	prefix := ""
	if inGit(dir) {
		r, err := repo.Open(dir, s.flags.login.Options(s.console))
		if err != nil {
			return prune.Source{}, err
		}
		s.closers = append(s.closers, r.Close)
		if prefix, err = r.Prefix(dir); err != nil {
			return prune.Source{}, err
		}
		history = r.Local().Recent(ctx, s.flags.commits, under(prefix))
	} else {
		s.console.Progressf("%s is in no git checkout: its files count as they are, without a history", dir)
	}
	return prune.Source{Name: dir, Files: func(yield func(prune.File, error) bool) {
		for f, err := range tree.Files(ctx, nil) {
			if !yield(prune.File{File: f}, err) {
				return
			}
		}
		versions(history, prefix)(yield)
	}}, nil
}

// remote is the last commits of a branch of the repository at address: URL, or URL#BRANCH.
func (s *sources) remote(ctx context.Context, address string) (prune.Source, error) {
	address, branch, _ := strings.Cut(address, "#")
	options := s.flags.login.Options(s.console)
	options.Credential = s.keys.Credential
	r, err := repo.NoCheckout(options)
	if err != nil {
		return prune.Source{}, err
	}
	s.closers = append(s.closers, r.Close)
	if !s.homed {
		s.homed = true
		if err := s.keys.Home(r, address); err != nil {
			return prune.Source{}, err
		}
	}
	remote, err := r.Remote(address, branch)
	if err != nil {
		return prune.Source{}, err
	}
	return prune.Source{Name: remote.URL(), Files: versions(remote.Recent(ctx, s.flags.commits, nil), "")}, nil
}

// versions are the files of commits below prefix, by their paths from there.
func versions(of iter.Seq2[repo.Version, error], prefix string) iter.Seq2[prune.File, error] {
	return func(yield func(prune.File, error) bool) {
		for v, err := range of {
			f := prune.File{File: v.File, Commit: v.Commit}
			f.Path = strings.TrimPrefix(strings.TrimPrefix(f.Path, prefix), "/")
			if !yield(f, err) {
				return
			}
		}
	}
}

// inGit reports whether a folder lies in a git checkout.
func inGit(dir string) bool {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return false
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}

func under(prefix string) []string {
	if prefix == "" {
		return nil
	}
	return []string{prefix}
}
