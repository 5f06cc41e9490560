package dockerfile

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
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

// run carries out one instruction; what its process says goes to output.
func (b *builder) run(ctx context.Context, r *rootfs, c command, output io.Writer) error {
	if err := b.expand(r, c.Command, func(map[string]struct{}) {}); err != nil {
		return err
	}
	switch i := c.Command.(type) {
	case *instructions.RunCommand:
		return b.step(ctx, r, c, i, output)
	case *instructions.CopyCommand:
		return b.copy(ctx, r, newCopy(i, c))
	case *instructions.AddCommand:
		return b.copy(ctx, r, newAdd(i, c))
	case *instructions.WorkdirCommand:
		return b.workdir(ctx, r, i, c.line)
	}
	entry, err := b.configure(r, c.Command)
	if err == nil && entry != "" {
		b.record(r, entry, nil)
	}
	return err
}

// examineCommand is run without a tree: it finds what is doubtful or wrong about an instruction before anything is read.
func (b *builder) examineCommand(r *rootfs, c command) error {
	if err := b.expand(r, c.Command, func(unmatched map[string]struct{}) { b.lintUndefined(r, c.Command, unmatched) }); err != nil {
		return err
	}
	b.lintInstruction(r, c.Command)
	switch i := c.Command.(type) {
	case *instructions.RunCommand:
		return b.examineStep(r, i)
	case *instructions.CopyCommand:
		if c.from == (origin{}) {
			if err := b.lintIgnored(c, i.SourcePaths); err != nil {
				return err
			}
		} else if c.from.image != "" {
			from, err := b.bases.rootfs(b.life, c.from.image, b.platform)
			if err != nil {
				return err
			}
			b.lintPlatform(c, c.from.image, from)
		}
		return b.examineCopy(newCopy(i, c))
	case *instructions.AddCommand:
		if err := b.lintIgnored(c, i.SourcePaths); err != nil {
			return err
		}
		return b.examineCopy(newAdd(i, c))
	case *instructions.WorkdirCommand:
		r.config.Config.WorkingDir = workdir(r, i)
		return nil
	}
	if expose, ok := c.Command.(*instructions.ExposeCommand); ok {
		specs, err := b.ports(r, expose)
		if err != nil {
			return err
		}
		for _, spec := range specs {
			b.lintPort(c, spec)
		}
	}
	_, err := b.configure(r, c.Command)
	return err
}

// expand replaces variables in an instruction's words, and tells which are not defined. ARG's own are not expanded when
// a given value wins over them.
func (b *builder) expand(r *rootfs, c instructions.Command, undefined func(map[string]struct{})) error {
	env := shell.EnvsFromSlice(r.env)
	expand := func(lex *shell.Lex) func(string) (string, error) {
		return func(word string) (string, error) {
			expanded, unmatched, err := lex.ProcessWord(word, env)
			undefined(unmatched)
			return expanded, err
		}
	}
	if words, ok := c.(instructions.SupportsSingleWordExpansion); ok {
		if _, arg := c.(*instructions.ArgCommand); !arg {
			if err := words.Expand(expand(b.lex())); err != nil {
				return err
			}
		}
	}
	if text, ok := c.(instructions.SupportsSingleWordExpansionRaw); ok {
		lex := shell.NewLex('\\')
		lex.SkipProcessQuotes = true
		return text.ExpandRaw(expand(lex))
	}
	return nil
}

// record adds a history entry, and a layer when the instruction changed something.
func (b *builder) record(r *rootfs, entry string, p *plan) {
	add := mutate.Addendum{History: b.history(entry)}
	if p != nil && len(p.changes) > 0 {
		p.complete()
		add.Layer, add.History.EmptyLayer = b.layer(p, r.docker), false
		b.cover(r, func(ctx context.Context) (io.ReadCloser, error) {
			return tarOf(func(tw *tar.Writer) error { return p.write(ctx, tw) }), nil
		})
	}
	r.added = append(r.added, add)
}

// history is that of an instruction without a layer.
func (b *builder) history(entry string) v1.History {
	return v1.History{Created: v1.Time{Time: b.created}, CreatedBy: entry, Comment: historyComment, EmptyLayer: true}
}

// layer is what the plan writes: the layer of another platform, when that holds the same.
func (b *builder) layer(p *plan, docker bool) v1.Layer {
	id, settled := p.identity()
	source := ""
	if settled {
		source = id
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key := fmt.Sprint(id, docker)
	if known := b.layers[key]; known != nil && id != "" {
		return known
	}
	l := image.NewLayerOf(source, func(tw *tar.Writer) error { return b.fail(p.line, p.write(b.life, tw)) })
	if docker {
		l = image.ForDocker(l)
	}
	b.layers[key] = l
	return l
}

// workdir is the directory that a WORKDIR changes to. An absolute one stays as written, as with BuildKit.
func workdir(r *rootfs, c *instructions.WorkdirCommand) string {
	if path.IsAbs(c.Path) {
		return c.Path
	}
	return path.Join("/", r.config.Config.WorkingDir, c.Path)
}

// workdir changes the working directory, and creates it for the current user.
func (b *builder) workdir(ctx context.Context, r *rootfs, c *instructions.WorkdirCommand, line int) error {
	dir := workdir(r, c)
	r.config.Config.WorkingDir = dir
	if dir == "/" {
		b.record(r, "WORKDIR "+dir, nil)
		return nil
	}
	t, err := r.files(ctx)
	if err != nil {
		return err
	}
	var user *owner
	if r.config.Config.User != "" {
		if user, err = b.owner(r.config.Config.User, t, line); err != nil {
			return err
		}
	}
	target, err := resolve(t, dir)
	if err != nil {
		return err
	}
	p := b.newPlan(t)
	p.line = line
	if err := p.mkdirAll(target, 0o755, user); err != nil {
		return err
	}
	b.record(r, "WORKDIR "+dir, p)
	return nil
}
