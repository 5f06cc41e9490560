package main

import (
	"context"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/buildkit"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/kube"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/ship"
)

const builderEnvironment = `  BUILDKIT_HOST      a BuildKit daemon that may build: unix://PATH, tcp://HOST:PORT or kube-pod://POD
`

// The builders. Auto is native where it can carry out the Dockerfile, else BuildKit where there is one.
const (
	autoBuilder     = "auto"
	nativeBuilder   = "native"
	buildkitBuilder = "buildkit"
)

// builderFlags say who builds, and how BuildKit is reached; the names of its files are those of buildctl.
type builderFlags struct {
	name   string
	tls    buildkit.TLS
	native []string         // flags that were given and mean nothing to BuildKit
	daemon *buildkit.Client // that may build, nil without one
}

func (f *builderFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "builder", autoBuilder, "`WHO` builds: native, buildkit (at BUILDKIT_HOST), or auto: buildkit where RUN is needed and cannot work here")
	flags.StringVar(&f.tls.Dir, "tlsdir", "", "`FOLDER` with ca.crt, tls.crt and tls.key, or ca.pem, cert.pem and key.pem")
	flags.StringVar(&f.tls.CA, "tlscacert", "", "`FILE` with the certificate authority of BuildKit")
	flags.StringVar(&f.tls.Certificate, "tlscert", "", "`FILE` with our certificate")
	flags.StringVar(&f.tls.Key, "tlskey", "", "`FILE` with its key")
	flags.StringVar(&f.tls.ServerName, "tlsservername", "", "`NAME` in BuildKit's certificate (default the host)")
}

// openBuilder checks the flags that say who builds, and refuses those that mean nothing to BuildKit.
func (f *buildFlags) openBuilder(c *cli.Console) error {
	f.builder.native = f.nativeOnly()
	if len(f.builder.native) > 0 && f.builder.name == buildkitBuilder {
		return fault.Usagef("leave it out; --cache-repo is for BuildKit too", "%s is for the native builder", f.builder.native[0])
	}
	return f.builder.open(c)
}

// nativeOnly are the flags that were given and mean nothing to BuildKit.
func (f *buildFlags) nativeOnly() (given []string) {
	local := func(typed string) bool { return slices.Contains(strings.Split(typed, ","), "type=local") }
	for _, flag := range []struct {
		name  string
		given bool
	}{
		{"--cache-dir", f.cache.dir != ""},
		{"--cache-from type=local", slices.ContainsFunc(f.cache.from, local)},
		{"--cache-to type=local", slices.ContainsFunc(f.cache.to, local)},
		{"--explain-cache", f.cache.explain},
		{"--isolation", f.runs.isolation != autoBuilder},
	} {
		if flag.given {
			given = append(given, flag.name)
		}
	}
	return given
}

// open checks the flags, before anything is asked of anybody.
func (f *builderFlags) open(c *cli.Console) (err error) {
	address := c.Getenv("BUILDKIT_HOST")
	switch {
	case !slices.Contains([]string{autoBuilder, nativeBuilder, buildkitBuilder}, f.name):
		return fault.Usagef("it is auto, native or buildkit", "--builder %q", f.name)
	case address == "" && f.tls != (buildkit.TLS{}):
		return fault.Usagef(hintHost, "the certificates are for BuildKit, and there is no BUILDKIT_HOST")
	case address == "" && f.name == buildkitBuilder:
		return fault.Usagef(hintHost, "--builder buildkit needs BUILDKIT_HOST")
	case address == "" || f.name == nativeBuilder:
		return nil
	}
	f.daemon, err = buildkit.New(buildkit.Options{Address: address, TLS: f.tls, Agent: c.Agent(), Pod: inPod(c)})
	return err
}

const hintHost = "for example: BUILDKIT_HOST=tcp://buildkitd:1234"

// chosen is the BuildKit that is to build, nil when the build is native. possible is nil when RUN can work here.
func (f *builderFlags) chosen(ctx context.Context, c *cli.Console, build ship.Build, possible func(context.Context) error) (*buildkit.Client, error) {
	if f.daemon == nil {
		return nil, nil
	}
	address := c.Getenv("BUILDKIT_HOST")
	if f.name == autoBuilder {
		if runs, err := build.Runs(ctx); err != nil || !runs {
			return nil, err
		}
		why := possible(ctx)
		if why == nil {
			return nil, nil
		}
		c.Progressf("builder: BuildKit at %s, since RUN cannot work here: %v", address, why)
		if len(f.native) > 0 {
			c.Warnf("", 0, "BuildKit builds without %s, which the native builder alone understands", strings.Join(f.native, ", "))
		}
	}
	if u, err := url.Parse(address); err == nil && u.Scheme == "tcp" && f.tls == (buildkit.TLS{}) && !loopback(u.Hostname()) {
		c.Warnf("", 0, "BUILDKIT_HOST %s without certificates: whoever is between us sees the files, secrets and tokens of the build", address)
	}
	return f.daemon, nil
}

// inPod connects to a command in a pod of the cluster that kubectl would take.
func inPod(c *cli.Console) func(context.Context, buildkit.Pod, ...string) (net.Conn, error) {
	return func(ctx context.Context, pod buildkit.Pod, command ...string) (net.Conn, error) {
		cluster, err := kube.Open(c.Getenv, c.Agent())
		if err != nil {
			return nil, err
		}
		return cluster.Exec(ctx, kube.Pod(pod), command...)
	}
}

func loopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// stepCache is where BuildKit looks steps up, and keeps them.
type stepCache struct {
	from, to      []imageref.Ref
	all           bool // also those that the image does not show
	none          bool
	noneForStages []string
	pull          bool
}

// elsewhere has a daemon build.
func elsewhere(daemon *buildkit.Client, logins buildkit.Logins, cache stepCache, there func(context.Context, string) bool) ship.Builder {
	return func(ctx context.Context, o ship.Order) (image.Artifact, io.Closer, error) {
		return daemon.Build(ctx, buildkit.Request{
			Name: o.Dockerfile, Text: o.Text, Sources: o.Sources, Options: o.Options, Platforms: o.Platforms,
			Compression: o.Compression,
			CacheFrom:   cache.from, CacheTo: cache.to, CacheAll: cache.all, NoCache: cache.none, NoCacheStages: cache.noneForStages, Pull: cache.pull,
			There: there, Logins: logins, Step: o.Step,
		})
	}
}

// run builds, here or elsewhere.
func (f *builderFlags) run(ctx context.Context, c *cli.Console, build ship.Build, pushing ship.Registry, client *registry.Client, cache stepCache, possible func(context.Context) error) (ship.Result, error) {
	daemon, err := f.chosen(ctx, c, build, possible)
	if err != nil {
		return ship.Result{}, err
	}
	if daemon == nil {
		return build.Run(ctx, pushing)
	}
	return build.RunElsewhere(ctx, pushing, elsewhere(daemon, client, cache, there(build, client)))
}

// there reports which layers need not come here, since all registries that the image goes to have them. It is nil when the
// image goes to other places too.
func there(build ship.Build, client *registry.Client) func(context.Context, string) bool {
	if !build.Push || slices.ContainsFunc(build.Outputs, func(o ship.Output) bool { return !o.Pushes() }) {
		return nil
	}
	return func(ctx context.Context, digest string) bool {
		return !slices.ContainsFunc(build.References, func(ref imageref.Ref) bool { return !client.Has(ctx, ref, digest) })
	}
}
