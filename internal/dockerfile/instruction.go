package dockerfile

import (
	"archive/tar"
	"context"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/ksera524/imgbump/internal/image"
)

// historyComment marks history entries whose text is an instruction of dockerfile:1; tools that show how an image
// was made look for it.
const historyComment = "buildkit.dockerfile.v0"

// run carries out one instruction. RUN will be a case of its own here, handing the rootfs to a sandbox.
func (b *builder) run(ctx context.Context, r *rootfs, c command) error {
	if err := b.expand(r, c.Command); err != nil {
		return err
	}
	if err := supported(c.Command); err != nil {
		return err
	}
	switch i := c.Command.(type) {
	case *instructions.CopyCommand:
		return b.copy(ctx, r, copied{SourcesAndDest: i.SourcesAndDest, name: "COPY", line: c.line, from: c.from, chown: i.Chown, chmod: i.Chmod, link: i.Link})
	case *instructions.AddCommand:
		unpack := i.Unpack == nil || *i.Unpack
		return b.copy(ctx, r, copied{SourcesAndDest: i.SourcesAndDest, name: "ADD", chown: i.Chown, chmod: i.Chmod, link: i.Link, unpack: unpack})
	case *instructions.WorkdirCommand:
		return b.workdir(ctx, r, i)
	}
	entry, err := b.configure(r, c.Command)
	if err == nil && entry != "" {
		b.record(ctx, r, entry, nil)
	}
	return err
}

// expand replaces variables in an instruction's words. ARG expands its own, for a given value wins over them.
func (b *builder) expand(r *rootfs, c instructions.Command) error {
	env := shell.EnvsFromSlice(r.env)
	if words, ok := c.(instructions.SupportsSingleWordExpansion); ok {
		if _, arg := c.(*instructions.ArgCommand); !arg {
			if err := words.Expand(func(word string) (string, error) {
				expanded, _, err := b.lex().ProcessWord(word, env)
				return expanded, err
			}); err != nil {
				return err
			}
		}
	}
	if text, ok := c.(instructions.SupportsSingleWordExpansionRaw); ok {
		return text.ExpandRaw(func(word string) (string, error) {
			lex := shell.NewLex('\\')
			lex.SkipProcessQuotes = true
			expanded, _, err := lex.ProcessWord(word, env)
			return expanded, err
		})
	}
	return nil
}

// record adds a history entry, and a layer when the instruction changed something. The layer can be read while ctx lives.
func (b *builder) record(ctx context.Context, r *rootfs, entry string, p *plan) {
	add := mutate.Addendum{History: v1.History{
		Created: v1.Time{Time: b.created()}, CreatedBy: entry, Comment: historyComment, EmptyLayer: true}}
	if p != nil && len(p.changes) > 0 {
		add.Layer, add.History.EmptyLayer = image.NewLayer(func(tw *tar.Writer) error { return p.write(ctx, tw) }), false
	}
	r.added = append(r.added, add)
}

// workdir changes the working directory, and creates it for the current user.
func (b *builder) workdir(ctx context.Context, r *rootfs, c *instructions.WorkdirCommand) error {
	dir := c.Path // an absolute one stays as written, as with BuildKit
	if !path.IsAbs(dir) {
		dir = path.Join("/", r.config.Config.WorkingDir, dir)
	}
	r.config.Config.WorkingDir = dir
	if dir == "/" {
		b.record(ctx, r, "WORKDIR "+dir, nil)
		return nil
	}
	t, err := r.files(ctx)
	if err != nil {
		return err
	}
	var user *owner
	if r.config.Config.User != "" {
		if user, err = parseOwner(r.config.Config.User, t); err != nil {
			return err
		}
	}
	target, err := resolve(t, dir)
	if err != nil {
		return err
	}
	p := newPlan(t, b.created())
	if err := p.mkdirAll(target, 0o755, user); err != nil {
		return err
	}
	b.record(ctx, r, "WORKDIR "+dir, p)
	return nil
}
