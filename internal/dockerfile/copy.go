package dockerfile

import (
	"archive/tar"
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"
)

// copied is a COPY or an ADD, its variables expanded.
type copied struct {
	instructions.SourcesAndDest
	name          string
	line          int
	from          origin
	chown, chmod  string
	exclude       []string
	link, parents bool

	// of ADD only
	checksum      string
	keepGitDir    *bool
	unpack        bool // archives in the build context
	unpackFetched bool
}

func newCopy(c *instructions.CopyCommand, at command) copied {
	return copied{SourcesAndDest: c.SourcesAndDest, name: "COPY", line: at.line, from: at.from, chown: c.Chown, chmod: c.Chmod,
		exclude: c.ExcludePatterns, link: c.Link, parents: c.Parents}
}

func newAdd(c *instructions.AddCommand, at command) copied {
	return copied{SourcesAndDest: c.SourcesAndDest, name: "ADD", line: at.line, chown: c.Chown, chmod: c.Chmod, exclude: c.ExcludePatterns,
		link: c.Link, checksum: c.Checksum, keepGitDir: c.KeepGitDir,
		unpack: c.Unpack == nil || *c.Unpack, unpackFetched: c.Unpack != nil && *c.Unpack}
}

func (c copied) history() string {
	words := []string{c.name}
	if c.parents {
		words = append(words, "--parents")
	}
	if c.chown != "" {
		words = append(words, "--chown="+c.chown)
	}
	if c.chmod != "" {
		words = append(words, "--chmod="+c.chmod)
	}
	words = append(words, c.SourcePaths...)
	for _, heredoc := range c.SourceContents {
		words = append(words, "<<"+heredoc.Path)
	}
	return strings.Join(append(words, c.DestPath, "# buildkit"), " ")
}

// linked reports whether the copy is a layer of its own: BuildKit links no copy that changes modes.
func (c copied) linked() bool { return c.link && c.chmod == "" }

// examineCopy finds what is wrong with a copy before anything is read.
func (b *builder) examineCopy(c copied) error {
	if c.linked() && named(c.chown) {
		return fmt.Errorf("--chown=%s: with --link only numbers can be used", c.chown)
	}
	if _, err := parseChmod(c.chmod); err != nil {
		return err
	}
	if _, err := patternmatcher.New(c.exclude); err != nil {
		return fmt.Errorf("--exclude: %w", err)
	}
	for _, heredoc := range c.SourceContents {
		if name := path.Join("/", heredoc.Path); path.Dir(name) != "/" || name == "/" {
			return fmt.Errorf("<<%s: the word must do as a file name", heredoc.Path)
		}
	}
	return b.examineFetched(c)
}

// copy carries out a COPY or an ADD.
func (b *builder) copy(ctx context.Context, r *rootfs, c copied) error {
	p, err := b.copyPlan(ctx, r, c)
	if err != nil {
		return err
	}
	src, err := b.origin(ctx, c.from)
	if err != nil {
		return err
	}
	if err := b.gather(ctx, p, src, c, destination(r.config.Config.WorkingDir, c.DestPath)); err != nil {
		return err
	}
	if c.linked() {
		linked := func(_ context.Context, t *tree) error {
			t.merge(p.tree)
			return nil
		}
		if err := r.overlay(ctx, linked); err != nil {
			return err
		}
	}
	b.record(r, c.history(), p)
	return nil
}

// gather puts what a copy reads from src, fetches or holds itself to dest.
func (b *builder) gather(ctx context.Context, p *plan, src source, c copied, dest string) error {
	for _, name := range c.SourcePaths {
		fetched, err := b.add(ctx, p, c, name, dest)
		switch {
		case err != nil:
			return err
		case fetched:
			continue
		case c.parents:
			err = p.copyParents(src, name, dest)
		default:
			err = p.copyMatches(ctx, src, name, dest, c.unpack)
		}
		if err != nil {
			return b.missing(src, c.from, name, err)
		}
	}
	for _, heredoc := range c.SourceContents {
		name := path.Join("/", heredoc.Path)
		if err := p.copy(b.document(name, heredoc.Data), name, dest); err != nil {
			return err
		}
	}
	return nil
}

// copyPlan is where a copy goes: the rootfs, or for COPY --link an empty tree, so that nobody need know the base.
func (b *builder) copyPlan(ctx context.Context, r *rootfs, c copied) (*plan, error) {
	t := newTree()
	if !c.linked() {
		var err error
		if t, err = r.files(ctx); err != nil {
			return nil, err
		}
	}
	p := b.newPlan(t)
	p.line = c.line
	if c.chown != "" {
		var err error
		if p.owner, err = b.owner(c.chown, t, c.line); err != nil {
			return nil, fmt.Errorf("--chown=%s: %w", c.chown, err)
		}
	}
	if len(c.exclude) > 0 {
		var err error
		if p.exclude, err = patternmatcher.New(c.exclude); err != nil {
			return nil, fmt.Errorf("--exclude: %w", err)
		}
	}
	var err error
	p.mode, err = parseChmod(c.chmod)
	return p, err
}

// copyMatches copies what a source names, or its wildcards match, which may be nothing. Archives are unpacked if they
// shall be.
func (p *plan) copyMatches(ctx context.Context, src source, pattern, dest string, unpack bool) error {
	names, err := glob(src, pattern)
	if err != nil {
		return err
	}
	for _, name := range names {
		if unpack {
			_, f, err := follow(src, name)
			if err != nil {
				return err
			}
			a, err := asArchive(f)
			if err != nil {
				return err
			}
			if a != nil {
				if err := p.unpack(ctx, a, dest); err != nil {
					return err
				}
				continue
			}
		}
		if err := p.copy(src, name, dest); err != nil {
			return err
		}
	}
	return nil
}

// origin is what a copy reads.
func (b *builder) origin(ctx context.Context, from origin) (source, error) {
	switch {
	case from.stage != nil:
		r, err := b.await(ctx, from.stage)
		if err != nil {
			return nil, err
		}
		if r.folder != nil {
			return r.folder, nil
		}
		return r.files(ctx)
	case from.folder != "":
		return b.folders[from.folder], nil
	case from.image == "":
		return b.files, nil
	}
	r, err := b.bases.rootfs(ctx, from.image, b.platform)
	if err != nil {
		return nil, err
	}
	return r.files(ctx)
}

// destination is where a copy goes, as an absolute path that keeps the slash or dot at its end.
func destination(workdir, dest string) string {
	abs := path.Join("/", dest)
	if !path.IsAbs(dest) {
		abs = path.Join("/", workdir, dest)
	}
	if (dest == "" || dest == "." || strings.HasSuffix(dest, "/") || strings.HasSuffix(dest, "/.")) && abs != "/" {
		return abs + "/"
	}
	return abs
}

// document is a tree with nothing but a heredoc in it.
func (b *builder) document(name, text string) *tree {
	f := &file{Header: tar.Header{Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text)), ModTime: b.created}}
	if text != "" {
		f.content = inline(text)
	}
	t := newTree()
	t.put(name, f, ours)
	return t
}
