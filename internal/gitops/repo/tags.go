package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/ksera524/imgbump/internal/fault"
)

const tagRefs = "refs/tags/"

// Tag is a tag's name with the commit that it leads to.
type Tag struct {
	Name, Commit string
	Pushed       bool // the remote has it
}

// Tags are those of a remote, and of the checkout.
type Tags struct{ remote *Remote }

// Tags are those of a remote, which is a name ("origin") or a URL, together with the checkout's own.
func (r *Repo) Tags(remote string) (*Tags, error) {
	s, err := r.dial(remote)
	if err != nil {
		return nil, err
	}
	from := &Remote{history: r.newHistory(), server: s, remote: remote}
	r.closers = append(r.closers, from.hangUp)
	return &Tags{from}, nil
}

// URL is the remote's address, without a login.
func (t *Tags) URL() string { return t.remote.URL() }

// List is what the remote has now, and what the checkout alone has, in the order of the names. Nothing is fetched.
func (t *Tags) List(ctx context.Context) ([]Tag, error) {
	if err := t.remote.connect(ctx); err != nil {
		return nil, err
	}
	refs := t.remote.link.refs
	t.remote.rest()
	tags := map[string]Tag{}
	for ref, hash := range refs.References {
		name, ok := strings.CutPrefix(ref, tagRefs)
		if !ok || plumbing.ReferenceName(ref).Validate() != nil {
			continue
		}
		if peeled, annotated := refs.Peeled[ref]; annotated {
			hash = peeled
		}
		tags[name] = Tag{name, hash.String(), true}
	}
	local, err := t.remote.repo.tags()
	if err != nil {
		return nil, &fault.Error{What: "read the tags of", Where: t.remote.repo.root, Err: fault.Cause(err)}
	}
	for name, hash := range local {
		if _, known := tags[name]; !known {
			tags[name] = Tag{name, t.remote.objects.peel(hash).String(), false}
		}
	}
	return slices.SortedFunc(maps.Values(tags), func(a, b Tag) int { return cmp.Compare(a.Name, b.Name) }), nil
}

// tags are the checkout's own, annotated ones by the tag itself.
func (r *Repo) tags() (map[string]plumbing.Hash, error) {
	tags := map[string]plumbing.Hash{}
	packed, err := os.ReadFile(filepath.Join(r.common, "packed-refs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range bytes.Lines(packed) {
		hash, ref, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if name, ok := strings.CutPrefix(ref, tagRefs); ok {
			tags[name] = plumbing.NewHash(hash)
		}
	}
	loose := os.DirFS(r.common)
	err = fs.WalkDir(loose, strings.TrimSuffix(tagRefs, "/"), func(ref string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || plumbing.ReferenceName(ref).Validate() != nil {
			return err
		}
		hash, err := r.ref(ref)
		tags[strings.TrimPrefix(ref, tagRefs)] = hash
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return tags, err
}

// peel is the commit that an annotated tag leads to, perhaps by way of others; what is none, or not here, is itself.
func (o *objects) peel(hash plumbing.Hash) plumbing.Hash {
	o.mu.Lock()
	defer o.mu.Unlock()
	for range 10 {
		found, err := o.lookUp(plumbing.TagObject, hash)
		if err != nil {
			break
		}
		tag, err := object.DecodeTag(o.memory, found)
		if err != nil {
			break
		}
		hash = tag.Target
	}
	return hash
}

// Create makes an annotated tag in the checkout. One of that name is a Conflict.
func (t *Tags) Create(ctx context.Context, name, commit, message string) error {
	hash, err := t.make(name, commit, message)
	if err != nil {
		return err
	}
	return t.keep(ctx, name, hash)
}

// Push gives the remote an annotated tag, and the checkout too. Where the remote has one of that name by now it is a
// Conflict, and nothing has happened. A tag of that name that the checkout has is pushed as it is.
func (t *Tags) Push(ctx context.Context, name, commit, message string) error {
	ref, err := tagRef(name)
	if err != nil {
		return err
	}
	hash, err := t.remote.repo.ref(ref)
	ours := err != nil // there is none, or something else is in its place
	if ours {
		if hash, err = t.make(name, commit, message); err != nil {
			return err
		}
	}
	d := &draft{commit: hash}
	if hash.String() != commit { // else it is just a name
		if err := t.load(hash); err != nil {
			return wrap("read the tag", name, err)
		}
		d.objects = []plumbing.Hash{hash}
	}
	target := *t.remote
	target.branch = ref
	if err := target.send(ctx, d); err != nil {
		return t.refused(name, err)
	}
	if ours {
		if err := t.keep(ctx, name, hash); err != nil {
			t.remote.repo.options.Warn(fmt.Sprintf("pushed, but this checkout does not have the tag: %v", err))
		}
	}
	return nil
}

// tagRef is the full name of a tag (git-check-ref-format).
func tagRef(name string) (string, error) {
	if ref := plumbing.ReferenceName(tagRefs + name); ref.Validate() == nil {
		return string(ref), nil
	}
	return "", fault.Usagef("for example: v1.2.3, or app/v1.2.3", "%q is not a tag's name", name)
}

// make makes an annotated tag, in memory.
func (t *Tags) make(name, commit, message string) (plumbing.Hash, error) {
	if _, err := tagRef(name); err != nil {
		return plumbing.ZeroHash, err
	}
	r := t.remote.repo
	who := r.author()
	tag := &object.Tag{
		Name: name, Message: strings.TrimRight(message, "\n") + "\n",
		Tagger:     object.Signature{Name: who.Name, Email: who.Email, When: r.options.Now()},
		TargetType: plumbing.CommitObject, Target: plumbing.NewHash(commit),
	}
	if err := r.signTag(tag); err != nil {
		return plumbing.ZeroHash, err
	}
	return t.remote.objects.add(tag.Encode)
}

// signTag signs a tag, if anybody is to sign it: the one asked for, else who would sign git's.
func (r *Repo) signTag(tag *object.Tag) error {
	signer := r.findSigner("tag")
	if signer == nil {
		return nil
	}
	var err error
	tag.PGPSignature, err = signature(signer, tag.EncodeWithoutSignature) // it ends the tag, whatever its format
	return err
}

// load brings a tag into memory for a push.
func (t *Tags) load(hash plumbing.Hash) error {
	o := t.remote.objects
	o.mu.Lock()
	defer o.mu.Unlock()
	tag, err := o.lookUp(plumbing.TagObject, hash)
	if err == nil {
		_, err = o.memory.SetEncodedObject(tag)
	}
	return err
}

// keep puts a tag that was made into the checkout.
func (t *Tags) keep(ctx context.Context, name string, hash plumbing.Hash) error {
	if err := t.remote.objects.store([]plumbing.Hash{hash}); err != nil {
		return &fault.Error{What: "store the tag in", Where: t.remote.repo.root, Err: fault.Cause(err)}
	}
	return t.remote.repo.moveRef(ctx, tagRefs+name, plumbing.ZeroHash, hash, "tag: "+name)
}

// refused says of a push that failed that it was of a tag, and what to do when the remote did not take it.
func (t *Tags) refused(name string, err error) error {
	no, refused := errors.AsType[*refusal](err)
	if !refused && fault.KindOf(err) != fault.Conflict {
		return err
	}
	f := &fault.Error{Kind: fault.KindOf(err), What: "push the tag " + name + " to", Where: t.URL(), Err: errors.Unwrap(err)}
	switch {
	case !refused:
	case no.unpacking:
		f.Hint = "the server could not store the tag: see whether its disk is full"
	case strings.Contains(no.status, "missing necessary objects"): // git's own word for it
		f.Hint = "the remote does not have the commit: push that first"
	case Protected(no):
		f.Hint = "tags of this name are protected: allow this credential to create them"
	case no.byHook():
		f.Hint = "a hook or a rule of the server refused: do what it says"
	default:
		f.Hint = "that is the server's own word: do what it says"
	}
	return f
}
