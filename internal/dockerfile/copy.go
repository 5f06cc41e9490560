package dockerfile

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/ksera524/imgbump/internal/fault"
)

// copied is a COPY or an ADD, its variables expanded.
type copied struct {
	instructions.SourcesAndDest
	name         string
	line         int
	from         origin
	chown, chmod string
	link, unpack bool
}

func (c copied) history() string {
	words := []string{c.name}
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

// copy carries out a COPY or an ADD.
func (b *builder) copy(ctx context.Context, r *rootfs, c copied) error {
	linked := c.link && c.chmod == "" // BuildKit links no copy that changes modes
	p, err := b.copyPlan(ctx, r, c, linked)
	if err != nil {
		return err
	}
	src, err := b.origin(ctx, c)
	if err != nil {
		return err
	}
	dest := destination(r.config.Config.WorkingDir, c.DestPath)
	for _, pattern := range c.SourcePaths {
		names, err := glob(src, pattern)
		if err != nil {
			return missing(src, pattern, err)
		}
		for _, name := range names {
			if err := p.copyOrUnpack(ctx, src, name, dest, c.unpack); err != nil {
				return missing(src, pattern, err)
			}
		}
	}
	for _, heredoc := range c.SourceContents {
		name := path.Join("/", heredoc.Path)
		if path.Dir(name) != "/" || name == "/" {
			return fmt.Errorf("<<%s: the word must do as a file name", heredoc.Path)
		}
		if err := p.copy(b.document(name, heredoc.Data), name, dest); err != nil {
			return err
		}
	}
	if linked {
		r.overlay(p.tree)
	}
	b.record(ctx, r, c.history(), p)
	return nil
}

// copyPlan is where a copy goes: the rootfs, or for COPY --link an empty tree, so that nobody need know the base.
func (b *builder) copyPlan(ctx context.Context, r *rootfs, c copied, linked bool) (*plan, error) {
	if linked && named(c.chown) {
		return nil, fmt.Errorf("--chown=%s: with --link only numbers can be used", c.chown)
	}
	t := newTree()
	if !linked {
		var err error
		if t, err = r.files(ctx); err != nil {
			return nil, err
		}
	}
	p := newPlan(t, b.created())
	if c.chown != "" {
		var err error
		if p.owner, err = parseOwner(c.chown, t); err != nil {
			return nil, fmt.Errorf("--chown=%s: %w", c.chown, err)
		}
	}
	if c.chmod != "" {
		mode, err := strconv.ParseInt(c.chmod, 8, 32)
		if err != nil {
			return nil, fmt.Errorf("--chmod=%s: %w", c.chmod, err)
		}
		p.mode = &mode
	}
	return p, nil
}

func (p *plan) copyOrUnpack(ctx context.Context, src source, name, dest string, unpack bool) error {
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
			return p.unpack(ctx, a, dest)
		}
	}
	return p.copy(src, name, dest)
}

// origin is what a copy reads.
func (b *builder) origin(ctx context.Context, c copied) (source, error) {
	switch {
	case c.from.stage != nil:
		return b.rootfs[c.from.stage].files(ctx)
	case c.from.image == "":
		return b.files, nil
	}
	r, err := b.fetch(ctx, c.from.image, b.platform)
	if err != nil {
		return nil, err
	}
	if !r.runsOn(b.platform) { // what is copied may run anywhere
		b.warn(c.line, "%s is for %s, not for %s", c.from.image, r.config.Platform(), b.platform)
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
	f := &file{Header: tar.Header{Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text)), ModTime: b.created()}}
	if text != "" {
		f.content = inline(text)
	}
	t := newTree()
	t.put(name, f, ours)
	return t
}

// missing says what a source is, when err is that it is not there.
func missing(src source, pattern string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", pattern, err)
	}
	if files, ok := src.(*buildContext); ok {
		err = files.explain(pattern)
	} else {
		err = fmt.Errorf("%s is not in the stage or image that --from names", pattern)
	}
	if strings.HasPrefix(pattern, "..") {
		return &fault.Error{Hint: "a source is inside the build context: name a higher folder as CONTEXT", Err: err}
	}
	return err
}
