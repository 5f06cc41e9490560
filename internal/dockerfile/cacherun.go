package dockerfile

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/stepcache"
)

// dependRun adds what a RUN depends on. As with BuildKit it does not on secrets, on agents and on what is in a cache, nor on
// proxies.
func (b *builder) dependRun(ctx context.Context, d *depends, r *rootfs, c command, i *instructions.RunCommand, k *keyed, chains map[int]*chain) error {
	args, script := runArgs(&r.config.Config, i)
	d.on("instruction", fmt.Sprintf("RUN %q", args))
	if script != nil {
		d.on("heredoc", script.Data)
	}
	d.on("platform", k.platform)
	d.on("WORKDIR", k.dir)
	d.flag("USER", r.config.Config.User)
	for _, variable := range r.env {
		name, value, _ := strings.Cut(variable, "=")
		kind := "ARG "
		if slices.Contains(r.config.Config.Env, variable) {
			kind = "ENV "
		}
		d.on(kind+name, value)
	}
	network := step.Network(instructions.GetNetwork(i))
	if network == step.Isolated {
		network = cmp.Or(b.opts.Network, step.Isolated)
	}
	d.on("--network", string(network))
	d.flag("--add-host", quoted(b.opts.Hosts))
	d.flag("--hostname", cmp.Or(b.opts.Hostname, b.opts.Args[hostnameArg]))
	d.on("--shm-size", strconv.FormatInt(b.opts.ShmSize, 10))
	d.flag("--ulimit", quoted(b.opts.Limits))
	for n, m := range instructions.GetMounts(i) {
		if err := b.dependMount(ctx, d, m, c.mounts[n], k, chains); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) dependMount(ctx context.Context, d *depends, m *instructions.Mount, from origin, k *keyed, chains map[int]*chain) error {
	said := fmt.Sprintf("%s source=%q ro=%t size=%d id=%q sharing=%s required=%t", m.Type, m.Source, m.ReadOnly, m.SizeLimit, m.CacheID, m.CacheSharing, m.Required)
	for i, number := range []*uint64{m.UID, m.GID, m.Mode} {
		if number != nil {
			said += fmt.Sprintf([]string{" uid=%d", " gid=%d", " mode=%o"}[i], *number)
		}
	}
	if m.Env != nil {
		said += " env=" + *m.Env
	}
	d.on("--mount "+m.Target, said)
	if m.Type != instructions.MountTypeBind && from == (origin{}) {
		return nil
	}
	done, err := b.dependOn(ctx, d, from, k, chains)
	if err != nil || done {
		return err
	}
	src, err := b.origin(ctx, from)
	if err != nil {
		return err
	}
	return b.dependPlan(ctx, d, k, "/", func(p *plan) error { return p.copy(src, path.Join("/", m.Source), "/") })
}

// told are parts as they are kept: shortened, and without what may be secret.
func told(parts []stepcache.Part) []stepcache.Part {
	all := make([]stepcache.Part, 0, len(parts))
	for _, p := range parts {
		kind, name, _ := strings.Cut(p.Name, " ")
		secret := (kind == "ARG" || kind == "ENV") && secretName.MatchString(name) && !publicName.MatchString(name)
		if secret || kind == "file" || kind == "stage" || len(p.Value) > widest || p.Name == partAbove {
			p.Value = stepcache.Hidden(p.Value)
		}
		all = append(all, p)
	}
	return all
}

// widest is how long a value may be to be kept as it is, in bytes.
const widest = 120

// compare says why a step was not found, by what it depends on now and what its latest entry depended on.
func (k *keyed) compare(latest *stepcache.Entry) string {
	if latest == nil {
		return "never built before"
	}
	before := map[string]string{}
	for _, p := range latest.Parts {
		before[p.Name] = p.Value
	}
	var reasons []string
	for _, p := range told(k.parts) {
		was, known := before[p.Name]
		delete(before, p.Name)
		if !known {
			reasons = append(reasons, strings.TrimPrefix(p.Name, "file ")+" is new")
		} else if was != p.Value {
			reasons = append(reasons, difference(p, was))
		}
	}
	for _, p := range latest.Parts {
		if _, left := before[p.Name]; left {
			reasons = append(reasons, strings.TrimPrefix(p.Name, "file ")+" is gone")
		}
	}
	switch n := len(reasons); {
	case n == 0:
		return "it is not kept any more"
	case n > 3:
		reasons = append(reasons[:3], fmt.Sprintf("and %d more", n-3))
	}
	return strings.Join(reasons, ", ")
}

// difference says what a part is that was something else.
func difference(p stepcache.Part, was string) string {
	name := strings.TrimPrefix(p.Name, "file ")
	old := stepcache.Part{Value: was}
	if p.IsHidden() || old.IsHidden() {
		return name + " changed"
	}
	return fmt.Sprintf("%s changed: %s -> %s", name, brief(was), brief(p.Value))
}

// brief is a value with its digest cut short.
func brief(value string) string {
	if rest, ok := strings.CutPrefix(value, "sha256:"); ok && len(rest) > 12 {
		return "sha256:" + rest[:12]
	}
	return value
}
