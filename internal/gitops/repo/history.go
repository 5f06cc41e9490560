package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/gitops/trailer"
)

// history reads commits and makes new ones. Local and Remote are histories with a branch.
type history struct {
	repo    *Repo
	objects *objects
	// gather makes sure that those files of a tree are here that will be read; nil when they are
	gather func(ctx context.Context, root plumbing.Hash, under []string) error
	made   map[plumbing.Hash]*draft // the commits not yet published
}

func (r *Repo) newHistory() history {
	o := &objects{disk: r.disk, memory: memory.NewStorage()}
	r.closers = append(r.closers, o.fetched.close)
	return history{repo: r, objects: o, made: map[plumbing.Hash]*draft{}}
}

// draft is a commit that exists in memory only, or a series of them as one.
type draft struct {
	parent, commit plumbing.Hash
	objects        []plumbing.Hash // all that is new, for the pack
	edits          []edit          // in the order of their paths
	reason         string          // for the reflog
}

// edit is one replaced file of a draft.
type edit struct {
	path       string
	old, new   plumbing.Hash // the blobs
	executable bool
}

// Draft is a commit that is made but not published, for those that publish it in another way.
type Draft struct {
	Message string
	Files   []DraftFile // that differ from its parent, in the order of their paths
}

// DraftFile is a file as a draft has it.
type DraftFile struct {
	Path       string
	Content    []byte
	Executable bool
}

// Draft is a commit that Commit made.
func (h *history) Draft(ctx context.Context, commit string) (Draft, error) {
	d := h.made[plumbing.NewHash(commit)]
	if d == nil {
		return Draft{}, fmt.Errorf("%s was not made by Commit", short(commit))
	}
	made, err := h.objects.commit(ctx, d.commit)
	if err != nil {
		return Draft{}, err
	}
	draft := Draft{Message: made.Message}
	for _, e := range d.edits {
		content, err := h.objects.blob(ctx, e.new)
		if err != nil {
			return Draft{}, err
		}
		draft.Files = append(draft.Files, DraftFile{Path: e.path, Content: content, Executable: e.executable})
	}
	return draft, nil
}

// Files are the files of a commit in the order of their paths, below the slash-separated paths in under (all, when
// there are none). What cannot be edited (symbolic links, submodules) comes with the reason in Skip. Reading is lazy, and safe for
// concurrent use; an error ends the sequence.
func (h *history) Files(ctx context.Context, commit string, under []string) iter.Seq2[manifest.File, error] {
	return func(yield func(manifest.File, error) bool) {
		c, err := h.objects.commit(ctx, plumbing.NewHash(commit))
		if err == nil && h.gather != nil {
			err = h.gather(ctx, c.TreeHash, under)
		}
		if err == nil {
			_, err = h.walk(ctx, c.TreeHash, "", under, yield)
		}
		if err != nil {
			yield(manifest.File{}, wrap("read commit", short(commit), err))
		}
	}
}

// walk visits a tree's files; more is false when the visitor wants no more.
func (h *history) walk(ctx context.Context, hash plumbing.Hash, dir string, under []string, visit func(manifest.File, error) bool) (more bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	tree, err := h.objects.tree(ctx, hash)
	if err != nil {
		return false, err
	}
	for _, entry := range tree.Entries {
		p := path.Join(dir, entry.Name)
		if entry.Mode == filemode.Dir {
			if leadsInto(p, under) {
				if more, err := h.walk(ctx, entry.Hash, p, under, visit); !more || err != nil {
					return more, err
				}
			}
			continue
		}
		if !within(p, under) {
			continue
		}
		if !visit(h.file(ctx, p, entry), nil) {
			return false, nil
		}
	}
	return true, nil
}

// file is one file of a tree. The size of one that is not here shows when it is read.
func (h *history) file(ctx context.Context, p string, entry object.TreeEntry) manifest.File {
	file := manifest.File{Path: p, Read: func(buf []byte) ([]byte, error) { return h.objects.blobInto(ctx, entry.Hash, buf) }}
	switch entry.Mode {
	case filemode.Symlink:
		file.Skip, file.Type = "symbolic link", fs.ModeSymlink
	case filemode.Submodule:
		file.Skip, file.Type = "submodule", fs.ModeDir
	default:
		size, here := h.objects.size(entry.Hash)
		switch {
		case !here && h.objects.missing == nil:
			file.Skip = "not in this partial clone"
		case size > manifest.MaxSize:
			file.Skip = manifest.ErrTooLarge.Error()
		}
	}
	return file
}

// within reports whether p is one of the paths, or lies below one.
func within(p string, under []string) bool {
	return len(under) == 0 || slices.ContainsFunc(under, func(u string) bool {
		return u == "" || p == u || strings.HasPrefix(p, u+"/")
	})
}

// leadsInto reports whether files within the paths can lie below the folder dir.
func leadsInto(dir string, under []string) bool {
	return within(dir, under) || slices.ContainsFunc(under, func(u string) bool { return strings.HasPrefix(u, dir+"/") })
}

// Commit makes a commit on top of parent in which the files have the given contents, and nothing else differs. Only
// regular files that parent has can be replaced; their modes stay. It is not visible to anybody before Publish, and may
// be the parent of the next. When nothing would change, no commit is made: the result is parent.
func (h *history) Commit(ctx context.Context, parent string, files map[string][]byte, message string) (string, error) {
	d, err := h.write(ctx, plumbing.NewHash(parent), files, message)
	if err != nil {
		return "", wrap("make a commit on", short(parent), err)
	}
	if d.commit != d.parent {
		h.made[d.commit] = d
	}
	return d.commit.String(), nil
}

func (h *history) write(ctx context.Context, parent plumbing.Hash, files map[string][]byte, message string) (*draft, error) {
	on, err := h.objects.commit(ctx, parent)
	if err != nil {
		return nil, err
	}
	d := &draft{parent: parent, commit: parent}
	tree, err := h.rewrite(ctx, d, on.TreeHash, "", files)
	if err != nil || tree == on.TreeHash {
		return d, err
	}
	author := h.repo.author()
	who := object.Signature{Name: author.Name, Email: author.Email, When: h.repo.options.Now()}
	if h.repo.options.SignOff {
		message = trailer.Add(message, "Signed-off-by: "+author.Name+" <"+author.Email+">")
	}
	subject, _, _ := strings.Cut(message, "\n")
	d.reason = "commit: " + subject
	made := &object.Commit{
		Author: who, Committer: who, Message: strings.TrimRight(message, "\n") + "\n",
		TreeHash: tree, ParentHashes: []plumbing.Hash{parent},
	}
	if err := h.repo.sign(made); err != nil {
		return nil, err
	}
	d.commit, err = h.add(d, made.Encode)
	return d, err
}

// rewrite makes the tree in which the files below dir, named relative to it, are replaced. What is not there yet is a new
// file of a folder that is.
func (h *history) rewrite(ctx context.Context, d *draft, hash plumbing.Hash, dir string, files map[string][]byte) (plumbing.Hash, error) {
	tree, err := h.objects.tree(ctx, hash)
	if err != nil {
		return hash, err
	}
	below := map[string]map[string][]byte{} // by the first element of the path
	for p, data := range files {
		name, rest, _ := strings.Cut(p, "/")
		if below[name] == nil {
			below[name] = map[string][]byte{}
		}
		below[name][rest] = data
	}
	changed := false
	for _, name := range slices.Sorted(maps.Keys(below)) {
		at := slices.IndexFunc(tree.Entries, func(e object.TreeEntry) bool { return e.Name == name })
		if _, isFile := below[name][""]; at < 0 && isFile {
			at = len(tree.Entries)
			tree.Entries = append(tree.Entries, object.TreeEntry{Name: name, Mode: filemode.Regular})
		}
		if at < 0 {
			return hash, fmt.Errorf("%s is not in it", path.Join(dir, name))
		}
		entry := &tree.Entries[at]
		old := entry.Hash
		data, isFile := below[name][""]
		switch {
		case entry.Mode == filemode.Dir && !isFile:
			entry.Hash, err = h.rewrite(ctx, d, old, path.Join(dir, name), below[name])
		case entry.Mode.IsFile() && entry.Mode != filemode.Symlink && isFile:
			entry.Hash, err = h.replace(d, path.Join(dir, name), entry, data)
		default:
			err = fmt.Errorf("%s is a %s", path.Join(dir, name), entry.Mode)
		}
		if err != nil {
			return hash, err
		}
		changed = changed || entry.Hash != old
	}
	if !changed {
		return hash, nil
	}
	sort.Sort(object.TreeEntrySorter(tree.Entries))
	return h.add(d, tree.Encode)
}

// replace makes the blob that takes the place of old, which has none in a new file.
func (h *history) replace(d *draft, p string, old *object.TreeEntry, data []byte) (plumbing.Hash, error) {
	if plumbing.ComputeHash(plumbing.BlobObject, data) == old.Hash {
		return old.Hash, nil
	}
	hash, err := h.add(d, func(o plumbing.EncodedObject) error {
		o.SetType(plumbing.BlobObject)
		w, err := o.Writer()
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return cmp.Or(err, w.Close())
	})
	d.edits = append(d.edits, edit{p, old.Hash, hash, old.Mode == filemode.Executable})
	return hash, err
}

func (h *history) add(d *draft, encode func(plumbing.EncodedObject) error) (plumbing.Hash, error) {
	hash, err := h.objects.add(encode)
	d.objects = append(d.objects, hash)
	return hash, err
}

// series is what Publish was asked for: commits that Commit made, the first upon parent and each upon the one before,
// as one draft. Where a file was replaced more than once, the last content counts.
func (h *history) series(parent string, commits []string) (*draft, error) {
	from := plumbing.NewHash(parent)
	whole := &draft{parent: from, commit: from}
	edits := map[string]edit{}
	for _, commit := range commits {
		if commit == whole.commit.String() {
			continue // it would have changed nothing
		}
		d := h.made[plumbing.NewHash(commit)]
		if d == nil || d.parent != whole.commit {
			return nil, fmt.Errorf("publish %s: it was not made by Commit on %s", short(commit), short(whole.commit.String()))
		}
		for _, e := range d.edits {
			if first, again := edits[e.path]; again {
				e.old = first.old
			}
			edits[e.path] = e
		}
		whole.commit, whole.reason = d.commit, d.reason
		whole.objects = append(whole.objects, d.objects...)
	}
	for _, p := range slices.Sorted(maps.Keys(edits)) {
		whole.edits = append(whole.edits, edits[p])
	}
	return whole, nil
}

// wrap says what failed, unless the error does already: its kind must show.
func wrap(what, where string, err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	return &fault.Error{What: what, Where: where, Err: err}
}

// short is a commit as people write it.
func short(commit string) string { return commit[:min(7, len(commit))] }
