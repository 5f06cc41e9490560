package main

import (
	"cmp"
	"context"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/rollout"
)

// past is what git knows of the commit that is waited for.
type past struct {
	flags   *waitFlags
	console *cli.Console
	repo    *repo.Repo   // nil outside of a checkout
	branch  *repo.Remote // likewise
	commit  string
	address string // of the repository, "" when it is not known
	prefix  string // the folder of it that --root is

	known  map[string]rollout.Relation
	asked  map[string]time.Time // when it could not be told
	warned bool
}

// past opens the repository and finds the commit. Outside of a checkout the commit must be named, and only it counts.
func (f *waitFlags) past(ctx context.Context, c *cli.Console) (*past, error) {
	p := &past{flags: f, console: c, commit: f.revision, known: map[string]rollout.Relation{}, asked: map[string]time.Time{}}
	keys, err := f.login.Keyring(c)
	if err != nil {
		return nil, err
	}
	options := f.login.Options(c)
	options.Credential = keys.Credential
	if f.repo != "" {
		p.prefix = strings.TrimPrefix(path.Clean(filepath.ToSlash(f.root)), ".")
		p.repo, err = repo.NoCheckout(options)
	} else if p.repo, err = repo.Open(f.root, options); err != nil {
		if f.revision != "" && !f.allChanged {
			c.Detailf("without a checkout or --repo just this commit counts, and no newer one: %v", err)
			return p, nil
		}
		return nil, fault.Usagef("run it in a checkout, or name --repo and, unless it is the branch's newest commit, --revision", "which commit is waited for? %w", err)
	} else if p.prefix, err = p.repo.Prefix(f.root); err != nil {
		p.close()
		return nil, err
	}
	if err == nil {
		err = p.open(ctx, keys)
	}
	if err != nil {
		p.close()
	}
	return p, err
}

func (p *past) open(ctx context.Context, keys *gitaccess.Keyring) (err error) {
	remote := cmp.Or(p.flags.repo, p.flags.remote)
	if p.address, err = p.repo.Address(remote); err != nil {
		return err
	}
	if err = keys.Home(p.repo, p.address); err != nil {
		return err
	}
	if p.branch, err = p.repo.Remote(remote, p.flags.branch); err != nil {
		return err
	}
	tip := ""
	if p.flags.repo != "" || p.branch.Name() == "" { // which is known then
		if tip, err = p.branch.Tip(ctx); err != nil {
			return err
		}
	}
	if p.commit == "" && p.flags.repo == "" {
		tip, err = p.repo.Local().Tip(ctx)
	}
	p.commit = cmp.Or(p.commit, tip)
	return err
}

func (p *past) close() {
	if p.repo != nil {
		p.repo.Close()
	}
}

// source is the number of the source that is this repository, -1 for none; the first where the repository is not known.
func (p *past) source(all []rollout.Source) int {
	if p.address == "" {
		return 0
	}
	return slices.IndexFunc(all, func(s rollout.Source) bool { return argocd.SameRepository(s.Repository, p.address) })
}

// askAgain is how long git is not asked again about a commit that it did not know.
const askAgain = 10 * time.Second

// relation is how a revision stands to the commit.
func (p *past) relation(ctx context.Context, revision string) rollout.Relation {
	if r, known := p.known[revision]; known {
		return r
	}
	if p.branch == nil || time.Since(p.asked[revision]) < askAgain {
		return rollout.Unknown
	}
	p.asked[revision] = time.Now()
	descends, is, err := p.branch.Descends(ctx, revision, p.commit)
	if err != nil && !p.warned && ctx.Err() == nil {
		p.warned = true
		p.console.Warnf("", 0, "how newer commits stand to %.7s is not known: %v", p.commit, err)
	}
	if is && descends {
		p.known[revision] = rollout.Descendant
		return rollout.Descendant
	}
	older, isOlder, _ := p.branch.Descends(ctx, p.commit, revision)
	switch {
	case isOlder && older:
		p.known[revision] = rollout.Ancestor
	case is && isOlder:
		p.known[revision] = rollout.Unrelated
	}
	return p.known[revision]
}
