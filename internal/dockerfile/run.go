package dockerfile

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// step carries out a RUN: what its process changes becomes a layer.
func (b *builder) step(ctx context.Context, r *rootfs, c command, i *instructions.RunCommand, output io.Writer) error {
	if err := foreign(ctx, v1.Platform{OS: r.config.OS, Architecture: r.config.Architecture}); err != nil {
		return err
	}
	below, err := r.stack(ctx)
	if err != nil {
		return err
	}
	t, err := r.files(ctx)
	if err != nil {
		return err
	}
	args, script := runArgs(&r.config.Config, i)
	p := step.Process{Below: below, Layer: b.bases.newID(), Args: args, Output: output, Dir: path.Join("/", r.config.Config.WorkingDir),
		Network: step.Network(instructions.GetNetwork(i)), Hosts: b.opts.Hosts, ShmSize: b.opts.ShmSize, Limits: b.opts.Limits,
		Hostname: cmp.Or(b.opts.Hostname, b.opts.Args[hostnameArg], "buildkitsandbox")}
	if p.Network == step.Isolated {
		p.Network = cmp.Or(b.opts.Network, step.Isolated)
	}
	if p.User, err = processUser(t, r.config.Config.User); err != nil {
		return err
	}
	if p.Mounts, err = b.mounts(ctx, r, c, i); err != nil {
		return err
	}
	if script != nil {
		m, err := b.scriptMount(ctx, script)
		if err != nil {
			return err
		}
		p.Mounts = append(p.Mounts, m)
	}
	if p.Env, err = b.processEnv(r, t, i, p.User); err != nil {
		return err
	}
	if err := b.src.Sandbox.Run(ctx, p); err != nil {
		return stepFailure(err)
	}
	return b.keep(ctx, r, t, p.Layer, runHistory(r, args))
}

// hostnameArg is what BuildKit takes the host name of RUN from.
const hostnameArg = "BUILDKIT_SANDBOX_HOSTNAME"

// stepFailure is the error of a process, with the likely reason for one that was killed if the sandbox knows none.
func stepFailure(err error) error {
	var exit *step.ExitError
	if errors.As(err, &exit) && exit.Signal == "SIGKILL" && fault.HintOf(err) == "" {
		return &fault.Error{Hint: "when nobody stopped it, it needed more memory than there is", Err: err}
	}
	return err
}

// keep makes the image's next layer of what a process changed, which may be nothing.
func (b *builder) keep(ctx context.Context, r *rootfs, t *tree, id, entry string) error {
	headers, err := b.src.Sandbox.Headers(ctx, id)
	if err != nil {
		return fmt.Errorf("reading what the command changed: %w", err)
	}
	add := mutate.Addendum{History: b.history(entry)}
	if len(headers) > 0 {
		number, changed := r.nextLayer(), b.changed(id, headers)
		for i, hdr := range headers {
			if err := t.applyEntry(hdr, number, stepped{member{changed, i}, b, id, hdr.Name}); err != nil {
				return fmt.Errorf("reading what the command changed: %w", err)
			}
		}
		r.sheets = append(r.sheets, &sheet{id: id})
		add.Layer, add.History.EmptyLayer = b.stepLayer(id, r.docker), false
	}
	r.added = append(r.added, add)
	return nil
}

// stepLayer is the layer of what a process changed, as the sandbox keeps it.
func (b *builder) stepLayer(id string, docker bool) v1.Layer {
	l := image.NewLayer(func(tw *tar.Writer) error {
		r, err := b.src.Sandbox.Open(b.life, id)
		if err != nil {
			return err
		}
		defer r.Close()
		return copyDated(tw, tar.NewReader(image.Within(b.life, r)), b.latest)
	})
	if docker {
		l = image.ForDocker(l)
	}
	return l
}

// copyDated copies a tar, in which nothing is of a time after latest if there is one.
func copyDated(tw *tar.Writer, tr *tar.Reader, latest time.Time) error {
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !latest.IsZero() && hdr.ModTime.After(latest) {
			hdr.ModTime = latest
		}
		if err := tw.WriteHeader(hdr); err != nil {
			return err
		}
		if _, err := io.Copy(tw, tr); err != nil {
			return err
		}
	}
}

// changed is what a process changed, as an archive. Its id is of this build only, so that nobody need know it later.
func (b *builder) changed(id string, headers []*tar.Header) *archive {
	a := &archive{
		open:     func() (io.ReadCloser, error) { return b.src.Sandbox.Open(b.life, id) },
		identity: func() (string, bool) { return "step " + id, false },
	}
	for _, hdr := range headers {
		a.size += hdr.Size
	}
	return a
}

// stepped is the content of a file that a process wrote. It can be read for itself, unlike other members of archives.
type stepped struct {
	member
	builder  *builder
	id, name string
}

func (s stepped) open() (io.ReadCloser, error) {
	return s.builder.src.Sandbox.File(s.builder.life, s.id, s.name)
}

// forItself is how many bytes of an archive are read in the time that it takes to ask for one file.
const forItself = 128 << 10

// inArchives tells which contents of a plan are read with their archives: those of steps when that takes less time than to
// ask for each.
func (p *plan) inArchives() func(content) (member, bool) {
	files := map[*archive]int64{}
	for _, f := range p.changes {
		if s, ok := f.content.(stepped); ok {
			files[s.archive]++
		}
	}
	return func(c content) (member, bool) {
		if s, ok := c.(stepped); ok {
			return s.member, files[s.archive]*forItself > s.archive.size
		}
		m, ok := c.(member)
		return m, ok
	}
}

// runArgs is the command line of a RUN, and what it names as a script if that is a heredoc of its own with a #! line. A
// heredoc alone is what the shell runs; several, or one among words, are left to the shell.
func runArgs(config *v1.Config, i *instructions.RunCommand) (args []string, script *instructions.ShellInlineFile) {
	line := i.ShellDependantCmdLine
	if len(line.Files) == 0 {
		return commandLine(config, line), nil
	}
	first := line.Files[0]
	if parser.MustParseHeredoc(line.CmdLine[0]) == nil {
		var text strings.Builder
		text.WriteString(line.CmdLine[0])
		for _, f := range line.Files {
			text.WriteString("\n" + f.Data + f.Name)
		}
		line.CmdLine = []string{text.String()}
		return commandLine(config, line), nil
	}
	if first.Chomp {
		first.Data = parser.ChompHeredocContent(first.Data)
	}
	if !strings.HasPrefix(first.Data, "#!") {
		line.CmdLine = []string{first.Data}
		return commandLine(config, line), nil
	}
	line.CmdLine = []string{path.Join(scripts, first.Name)}
	return commandLine(config, line), &first
}

// runHistory is what the history says of a RUN: its command line, after the ARGs that were in scope.
func runHistory(r *rootfs, args []string) string {
	words := []string{"RUN"}
	if len(r.args) > 0 {
		words = append(words, fmt.Sprintf("|%d", len(r.args)))
	}
	for _, name := range r.args {
		value, _ := lookup(r.env, name)
		words = append(words, name+"="+value)
	}
	return strings.Join(append(words, args...), " ") + " # buildkit"
}

// processEnv is what a process finds in its environment: ENV, ARG, proxies of the build, and secrets. Proxies come along
// without an ARG, and so without a trace in the history.
func (b *builder) processEnv(r *rootfs, t *tree, i *instructions.RunCommand, user step.User) ([]string, error) {
	env := slices.Clone(r.env)
	for _, m := range instructions.GetMounts(i) {
		if _, known := lookup(env, sshVariable); m.Type == instructions.MountTypeSSH && !known {
			env = setenv(env, sshVariable, mountTarget(r, cmp.Or(m.Target, sshTarget(0))))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.opts.Args)) {
		if slices.Contains(proxies, strings.ToLower(name)) && b.opts.Args[name] != "" {
			env = setenv(env, strings.ToUpper(name), b.opts.Args[name])
			env = setenv(env, strings.ToLower(name), b.opts.Args[name])
		}
	}
	for _, m := range instructions.GetMounts(i) {
		if m.Type == instructions.MountTypeSecret && m.Env != nil {
			value, _ := b.secret(secretID(m))
			env = setenv(env, *m.Env, string(value))
		}
	}
	if home, _ := lookup(env, "HOME"); home != "" {
		return env, nil
	}
	home, err := homeOf(t, user.UID)
	return setenv(env, "HOME", home), err
}

const sshVariable = "SSH_AUTH_SOCK"

var proxies = []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"}
