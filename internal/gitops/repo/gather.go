package repo

import (
	"cmp"
	"context"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// Expect says which paths Files will be asked for, all when there are none: what is not here of them is fetched at once,
// and of the rest little.
func (r *Remote) Expect(paths []string) {
	if r.expected = paths; len(paths) == 0 {
		r.expected = everything
	}
}

// everything is the path of the top folder.
var everything = []string{""}

// fetchFiles fetches what is missing of the files that will be read, at once.
func (r *Remote) fetchFiles(ctx context.Context, root plumbing.Hash, under []string) error {
	r.objects.mu.Lock()
	defer r.objects.mu.Unlock()
	lacking, err := r.lacking(ctx, root, under)
	if len(lacking) == 0 || err != nil {
		return err
	}
	return r.fetchParts(ctx, order{wants: lacking, filter: small})
}

// lacking is what is not here of the files that will be read: files, and folders of which nothing is here.
func (r *Remote) lacking(ctx context.Context, root plumbing.Hash, under []string) ([]plumbing.Hash, error) {
	if len(under) == 0 {
		under = everything
	}
	unexpected := slices.ContainsFunc(under, func(p string) bool { return len(r.expected) == 0 || !within(p, r.expected) })
	if !r.sparse || r.gathered == root && !unexpected {
		return nil, nil
	}
	lacking := lack{objects: r.objects, under: append(slices.Clone(under), r.expected...), seen: map[plumbing.Hash]bool{}}
	err := lacking.tree(ctx, root, "")
	if err == nil {
		r.gathered = root
	}
	return lacking.hashes, err
}

// lack is what is not here of the files below paths that may be manifests.
type lack struct {
	objects *objects
	under   []string
	hashes  []plumbing.Hash
	seen    map[plumbing.Hash]bool // a tree may hold another one many times over
}

// tree looks through a folder and those below it.
func (l *lack) tree(ctx context.Context, hash plumbing.Hash, dir string) error {
	if !l.objects.has(hash) {
		l.add(hash)
		return nil
	}
	found, err := l.objects.lookUp(plumbing.TreeObject, hash)
	if err != nil {
		return err
	}
	tree, err := object.DecodeTree(l.objects.memory, found)
	if err != nil {
		return err
	}
	for _, entry := range tree.Entries {
		p := path.Join(dir, entry.Name)
		switch within := within(p, l.under); {
		case l.seen[entry.Hash]:
		case entry.Mode == filemode.Dir && leadsInto(p, l.under):
			l.seen[entry.Hash] = within
			err = l.tree(ctx, entry.Hash, p)
		case within && (entry.Mode == filemode.Regular || entry.Mode == filemode.Executable) && mayBeManifest(p) && !l.objects.has(entry.Hash):
			l.add(entry.Hash)
		}
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

func (l *lack) add(hash plumbing.Hash) {
	l.seen[hash] = true
	l.hashes = append(l.hashes, hash)
}

func mayBeManifest(p string) bool { return manifest.IsManifest(p, manifest.Rules{Include: true}) }
