package dockerfile

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// scripts is where a heredoc with a #! line shows to the process of its RUN, as in BuildKit.
const scripts = "/dev/pipes"

// sshTarget is where the agent of a RUN's nth SSH mount without a target shows, as in BuildKit.
func sshTarget(n int) string { return fmt.Sprintf("/run/buildkit/ssh_agent.%d", n) }

// mountTarget is an absolute path: a relative one is below the working directory.
func mountTarget(r *rootfs, target string) string {
	if path.IsAbs(target) {
		return path.Clean(target)
	}
	return path.Join("/", r.config.Config.WorkingDir, target)
}

// examineStep finds what is wrong with a RUN before anything is read.
func (b *builder) examineStep(r *rootfs, i *instructions.RunCommand) error {
	for _, m := range instructions.GetMounts(i) {
		switch m.Type {
		case instructions.MountTypeSecret:
			if _, given := b.secret(secretID(m)); m.Required && !given && b.src.Sandbox != nil {
				return &fault.Error{Hint: fmt.Sprintf("--secret id=%s,src=FILE or --secret id=%[1]s,env=VARIABLE gives it", secretID(m)),
					Err: fmt.Errorf("the secret %s is required, and was not given", secretID(m))}
			}
			continue
		case instructions.MountTypeSSH:
			if m.Source != "" {
				return errors.New("--mount=type=ssh has no source")
			}
			if _, given := b.src.SSH[sshID(m)]; m.Required && !given && b.src.Sandbox != nil {
				return &fault.Error{Hint: "--ssh " + sshID(m) + " gives it",
					Err: fmt.Errorf("the SSH agent %s is required, and was not given", sshID(m))}
			}
			continue
		}
		if m.Type == instructions.MountTypeCache && m.From == "" && path.Join("/", m.Source) != "/" {
			return fmt.Errorf("--mount=type=cache has the source %s, and no from= in which that could be", m.Source)
		}
		if mountTarget(r, m.Target) == "/" {
			return fmt.Errorf("--mount with target=%s: nothing can be mounted there", cmp.Or(m.Target, "/"))
		}
	}
	return nil
}

func secretID(m *instructions.Mount) string {
	return cmp.Or(m.Source, m.CacheID, path.Base(m.Target))
}

func sshID(m *instructions.Mount) string { return cmp.Or(m.CacheID, "default") }

func (b *builder) secret(id string) ([]byte, bool) {
	if b.src.Secrets == nil {
		return nil, false
	}
	return b.src.Secrets(id)
}

// mounts are those of a RUN, the ones above others first.
func (b *builder) mounts(ctx context.Context, r *rootfs, c command, i *instructions.RunCommand) (all []step.Mount, err error) {
	agents := 0
	for n, m := range instructions.GetMounts(i) {
		target := m.Target
		switch m.Type {
		case instructions.MountTypeSSH:
			target = cmp.Or(target, sshTarget(agents))
			agents++
		case instructions.MountTypeSecret:
			if target == "" && m.Env != nil {
				continue
			}
			target = cmp.Or(target, path.Join("/run/secrets", path.Base(secretID(m))))
		}
		mount := step.Mount{Kind: step.Kind(m.Type), Target: mountTarget(r, target), ReadOnly: m.ReadOnly}
		shown, err := b.mount(ctx, &mount, m, c.mounts[n])
		if err != nil {
			return nil, err
		}
		if shown {
			all = append(all, mount)
		}
	}
	slices.SortStableFunc(all, func(a, b step.Mount) int { return cmp.Compare(a.Target, b.Target) })
	return all, nil
}

// mount says what a mount shows; an optional one may show nothing.
func (b *builder) mount(ctx context.Context, mount *step.Mount, m *instructions.Mount, from origin) (shown bool, err error) {
	switch m.Type {
	case instructions.MountTypeSecret:
		own(mount, m, 0o400)
		mount.Secret, shown = b.secret(secretID(m))
		return shown, nil
	case instructions.MountTypeSSH:
		own(mount, m, 0o600)
		mount.Socket, shown = b.src.SSH[sshID(m)]
		return shown, nil
	case instructions.MountTypeTmpfs:
		mount.Size = m.SizeLimit
		return true, nil
	case instructions.MountTypeCache:
		own(mount, m, 0o755)
		mount.Cache, mount.Sharing = b.cacheID(mount, m, from), cmp.Or(step.Sharing(m.CacheSharing), step.Shared)
		if from == (origin{}) {
			return true, nil
		}
	}
	mount.Layers, mount.Source, err = b.shown(ctx, from, path.Join("/", m.Source))
	if mount.Kind == step.Bind && len(mount.Layers) == 0 { // of scratch
		mount.Kind = step.Tmpfs
	}
	return true, err
}

// own gives what a mount makes an owner and a mode.
func own(mount *step.Mount, m *instructions.Mount, mode os.FileMode) {
	mount.Mode = mode
	if m.Mode != nil {
		mount.Mode = os.FileMode(*m.Mode) & os.ModePerm
	}
	if m.UID != nil {
		mount.UID = uint32(*m.UID)
	}
	if m.GID != nil {
		mount.GID = uint32(*m.GID)
	}
}

// cacheID names a cache: one that starts as something else, or belongs to somebody else, is another.
func (b *builder) cacheID(mount *step.Mount, m *instructions.Mount, from origin) string {
	id := cmp.Or(m.CacheID, path.Clean(m.Target))
	switch {
	case from.stage != nil:
		id += fmt.Sprintf(" from %s:%s", b.key(from.stage), path.Join("/", m.Source))
	case from != origin{}:
		id += fmt.Sprintf(" from %s%s %s:%s", from.image, from.folder, b.platform, path.Join("/", m.Source))
	}
	if m.UID != nil || m.GID != nil || m.Mode != nil {
		id += fmt.Sprintf(" of %d:%d %o", mount.UID, mount.GID, mount.Mode)
	}
	return id
}

// shown is what is at a name of an origin, as a name in layers of the sandbox.
func (b *builder) shown(ctx context.Context, from origin, name string) (layers []string, at string, err error) {
	var r *rootfs
	switch {
	case from.stage != nil:
		r, err = b.await(ctx, from.stage)
	case from.image != "":
		r, err = b.bases.rootfs(ctx, from.image, b.platform)
	}
	if err != nil {
		return nil, "", err
	}
	if r != nil && r.folder == nil && (from.stage != nil || name == "/") {
		if layers, err = r.stack(ctx); err != nil || name == "/" {
			return layers, name, err
		}
		t, err := r.files(ctx)
		if err != nil {
			return nil, "", err
		}
		at, _, err := follow(t, name)
		if err != nil {
			return nil, "", b.missing(t, from, name, err)
		}
		return layers, at, nil
	}
	src, err := b.origin(ctx, from)
	if err != nil {
		return nil, "", err
	}
	top, f, err := follow(src, name)
	if err != nil {
		return nil, "", b.missing(src, from, strings.TrimPrefix(name, "/"), err)
	}
	s := b.bases.part(src, top, func(ctx context.Context, id string) error { return b.layOut(ctx, id, src, top, f) })
	return []string{s.id}, shownTop, s.laid(ctx)
}

// shownTop is what a file or directory that is shown for itself is called in its layer.
const shownTop = "/shown"

// layOut puts one file or directory into the sandbox.
func (b *builder) layOut(ctx context.Context, id string, src source, name string, f *file) error {
	p := b.newPlan(newTree())
	c := copying{plan: p, src: src, links: map[*file]*file{}}
	if err := c.tree(entry{from: name, target: shownTop, wanted: true}, f); err != nil {
		return err
	}
	return b.unpackInto(ctx, id, func(tw *tar.Writer) error { return p.write(ctx, tw) })
}

// scriptMount shows a script to the process that runs it.
func (b *builder) scriptMount(ctx context.Context, script *instructions.ShellInlineFile) (step.Mount, error) {
	id := b.bases.newID()
	err := b.unpackInto(ctx, id, func(tw *tar.Writer) error {
		hdr := &tar.Header{Typeflag: tar.TypeReg, Name: script.Name, Mode: 0o755, Size: int64(len(script.Data)), ModTime: b.created, Format: tar.FormatPAX}
		if err := tw.WriteHeader(hdr); err != nil {
			return err
		}
		_, err := io.WriteString(tw, script.Data)
		return err
	})
	return step.Mount{Kind: step.Bind, Target: scripts, ReadOnly: true, Layers: []string{id}, Source: "/"}, err
}
