package main

import (
	"cmp"
	"context"
	"iter"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/argoapi"
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
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

	sought bool // on the branch
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

// place tells how the sources of applications stand to the branch; nil when no repository is known.
func (p *past) place() func(rollout.Source) rollout.Place {
	if p.address == "" {
		return nil
	}
	return func(s rollout.Source) rollout.Place {
		switch {
		case !argocd.SameRepository(s.Repository, p.address):
			return rollout.Elsewhere
		case p.follows(s.Revision) || s.Revision == p.commit:
			return rollout.Along
		}
		return rollout.Aside
	}
}

// follows reports whether a targetRevision is the branch; which one HEAD is, Argo CD alone knows.
func (p *past) follows(revision string) bool {
	return revision == "" || revision == "HEAD" || strings.TrimPrefix(revision, "refs/heads/") == p.branch.Name()
}

// branchName is the branch that the commit was pushed to, "" when it is not known.
func (p *past) branchName() string {
	if p.branch == nil {
		return ""
	}
	return p.branch.Name()
}

// askAgain is how long git is not asked again about a commit that it did not know.
const askAgain = 10 * time.Second

// relating is how long git may take about it, while no application is looked at. A test shortens it.
var relating = 30 * time.Second

// relation is how a revision stands to the commit.
func (p *past) relation(ctx context.Context, revision string) rollout.Relation {
	if r, known := p.known[revision]; known {
		return r
	}
	if p.branch == nil || time.Since(p.asked[revision]) < askAgain {
		return rollout.Unknown
	}
	p.asked[revision] = time.Now()
	limited, cancel := context.WithTimeout(ctx, relating)
	defer cancel()
	descends, is, err := p.branch.Descends(limited, revision, p.commit)
	if err != nil && !p.warned && ctx.Err() == nil {
		p.warned = true
		p.console.Warnf("", 0, "how newer commits stand to %.7s is not known: %v", p.commit, err)
	}
	if is && descends {
		p.known[revision] = rollout.Descendant
		return rollout.Descendant
	}
	older, isOlder, _ := p.branch.Descends(limited, p.commit, revision)
	switch {
	case isOlder && older:
		p.known[revision] = rollout.Ancestor
		p.missed(limited)
	case is && isOlder:
		p.known[revision] = rollout.Unrelated
	}
	return p.known[revision]
}

// missed warns, once, of a commit that is not on the branch.
func (p *past) missed(ctx context.Context) {
	if p.sought {
		return
	}
	p.sought = true
	tip, err := p.branch.Tip(ctx)
	if err != nil {
		return
	}
	if has, known, err := p.branch.Descends(ctx, tip, p.commit); err == nil && known && !has {
		p.console.Warnf("", 0, "%s of %s does not have %.7s in it: was it pushed?", p.branch.Name(), fault.Address(p.address), p.commit)
	}
}

// touched are the applications that deploy, from the branch, what the commit changes.
func (p *past) touched(ctx context.Context, c *cli.Console) ([]string, error) {
	if p.branch == nil {
		return nil, fault.Usagef("run it in a checkout, or name --repo", "--all-changed needs the repository, and %s is no checkout of it", p.flags.root)
	}
	changed, err := p.branch.Changed(ctx, p.commit)
	if err != nil {
		return nil, err
	}
	place := argocd.Place{Repository: p.address, Prefix: p.prefix}
	files := bump.Files(func(under []string) iter.Seq2[manifest.File, error] {
		return bump.FilesAt(ctx, p.branch, p.commit, p.prefix, under)
	})
	owners, warnings, err := bump.Job{Place: place}.Deploying(ctx, files, changed)
	if err != nil {
		return nil, err
	}
	tellPlaces(c, warnings, nil, nil)
	var names []string
	for _, o := range owners {
		name := o.Name
		if o.Namespace != "" {
			name = p.flags.short(o.Namespace + "/" + o.Name)
		}
		if !p.follows(o.Revision) || slices.Contains(names, name) {
			continue
		}
		if _, _, err := argoapi.ParseName(name); err != nil { // Kubernetes takes none of that name
			c.Warnf("", 0, "not waited for: %v", err)
			continue
		}
		names = append(names, name)
	}
	return names, nil
}

// announce tells Argo CD's webhook of the commit.
func (p *past) announce(ctx context.Context, hook *argoapi.Webhook) error {
	if p.branch == nil {
		return fault.Usagef("run it in a checkout, or name --repo", "--refresh-webhook needs the repository, and %s is no checkout of it", p.flags.root)
	}
	files, err := p.branch.Changed(ctx, p.commit)
	if err != nil {
		return err
	}
	before, err := p.branch.Parent(ctx, p.commit)
	if err != nil {
		return err
	}
	return hook.Post(ctx, argoapi.Push{Repository: p.address, Branch: p.branch.Name(), Before: before, Commit: p.commit, Files: files})
}
