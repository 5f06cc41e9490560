package main

import (
	"context"
	"iter"
	"path"
	"path/filepath"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/ksera524/imgbump/internal/gitops/folder"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/gitops/repo"
)

// workplace is the repository that a command works with: a checkout, or with --repo just an address.
type workplace struct {
	*repo.Repo
	keys    *gitaccess.Keyring
	root    string // --root as typed
	prefix  string // the folder of the repository that paths are relative to
	message bump.Message
	pages   *pages
	several bool // targets are served, not one
}

// open finds the repository that root lies in, or that --repo names.
func (f *gitFlags) open(ctx context.Context, c *cli.Console, root string) (*workplace, error) {
	options, err := f.options(c)
	if err != nil {
		return nil, err
	}
	w := &workplace{root: root, message: f.words.message}
	if w.keys, err = f.login.Keyring(c); err != nil {
		return nil, err
	}
	options.Credential = w.keys.Credential
	if f.repo != "" {
		return w, f.openWithout(w, options)
	}
	if w.Repo, err = repo.Open(root, options); err != nil {
		return nil, err
	}
	if w.prefix, err = w.Prefix(root); err != nil {
		w.Close()
		return nil, err
	}
	address, _ := w.Address(f.remote) // of a remote that is not there Remote tells
	if err = w.keys.Home(w.Repo, address); err != nil {
		w.Close()
	}
	return w, err
}

// openWithout makes a workplace without a checkout, where root is a folder of the repository.
func (f *gitFlags) openWithout(w *workplace, options repo.Options) error {
	if filepath.IsAbs(w.root) || !filepath.IsLocal(w.root) {
		return fault.Usagef("for example: --root clusters/home", "with --repo, --root is a folder of that repository, and %s is none", w.root)
	}
	if w.prefix = path.Clean(filepath.ToSlash(w.root)); w.prefix == "." {
		w.prefix = ""
	}
	var err error
	if w.Repo, err = repo.NoCheckout(options); err != nil {
		return err
	}
	return w.keys.Home(w.Repo, f.repo)
}

// remoteOf is what a target without a repository of its own is pushed to.
func (f *gitFlags) remoteOf(target config.Target) string {
	switch {
	case target.Repo != "":
		return target.Repo
	case f.repo != "":
		return f.repo
	}
	return f.remote
}

// config is the imgbump.yaml that names the targets: that of the checkout, or of the tip of --repo.
func (f *gitFlags) config(ctx context.Context, w *workplace) (config.Config, error) {
	data, err := f.readConfig(ctx, w)
	if err != nil {
		return config.Config{}, err
	}
	parsed, problems, _ := config.Parse(data)
	return parsed, config.Err(problems)
}

func (f *gitFlags) readConfig(ctx context.Context, w *workplace) ([]byte, error) {
	if f.repo == "" {
		tree, err := folder.Open(w.root)
		if err != nil {
			return nil, err
		}
		defer tree.Close()
		return bump.FilesIn(ctx, tree).Config()
	}
	remote, err := w.Remote(f.repo, "")
	if err != nil {
		return nil, err
	}
	tip, err := remote.Tip(ctx)
	if err != nil {
		return nil, err
	}
	return bump.Files(func(under []string) iter.Seq2[manifest.File, error] {
		return bump.FilesAt(ctx, remote, tip, w.prefix, under)
	}).Config()
}
