package main

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/ship"
	"github.com/ksera524/imgbump/internal/sshagent"
)

// runFlags say what RUN gets, and how it is kept apart from everything else.
type runFlags struct {
	secrets, ssh  []string
	hosts, limits []string
	network       string
	isolation     string
	shm           string
}

func (f *runFlags) bind(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.secrets, "secret", nil, "`id=ID` of a secret for RUN --mount=type=secret, with ,src=FILE or ,env=VARIABLE (repeatable)")
	flags.StringArrayVar(&f.ssh, "ssh", nil, "`ID` of an SSH agent for RUN --mount=type=ssh: default is SSH_AUTH_SOCK, ID=SOCKET another, ID=FILE,... keys (repeatable)")
	flags.StringArrayVar(&f.hosts, "add-host", nil, "`HOST:IP` that RUN finds in /etc/hosts (repeatable)")
	flags.StringVar(&f.network, "network", "default", "`NETWORK` of RUN: default, host or none")
	flags.StringVar(&f.isolation, "isolation", "auto", "`ENGINE` that keeps RUN apart: userns, chroot, or auto for the first that works here")
	flags.StringVar(&f.shm, "shm-size", "", "`SIZE` of RUN's /dev/shm, as 1g (default 64m)")
	flags.StringArrayVar(&f.limits, "ulimit", nil, "`NAME=SOFT[:HARD]` limit of RUN, as nofile=1024:4096 (repeatable)")
}

// options are what the flags alone decide.
func (f *runFlags) options(o *dockerfile.Options) (err error) {
	networks := map[string]step.Network{"": step.Isolated, "default": step.Isolated, "host": step.Host, "none": step.None}
	var known bool
	if o.Network, known = networks[f.network]; !known {
		return fault.Usagef("it is default, host or none", "--network %q is unknown to harborpush", f.network)
	}
	if !slices.Contains([]string{"auto", "", sandbox.UserNamespace, sandbox.Chroot}, f.isolation) {
		return fault.Usagef("it is auto, userns or chroot", "--isolation %q is unknown to harborpush", f.isolation)
	}
	for _, typed := range f.hosts {
		line, err := parseHost(typed)
		if err != nil {
			return err
		}
		o.Hosts = append(o.Hosts, line)
	}
	for _, typed := range f.limits {
		if !limit.MatchString(typed) {
			return fault.Usagef("for example: --ulimit nofile=1024:4096", "--ulimit %q is not NAME=SOFT[:HARD]", typed)
		}
	}
	o.Limits = f.limits
	o.ShmSize, err = parseSize(f.shm)
	return err
}

// limit is what docker's --ulimit reads; -1 is no limit. The names are those of setrlimit(2).
var limit = regexp.MustCompile(`^(core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending|stack)=(-1|\d+)(:(-1|\d+))?$`)

// parseHost is a line of /etc/hosts of HOST:IP or HOST=IP; an IPv6 address may stand in brackets.
func parseHost(typed string) (string, error) {
	host, address, found := strings.Cut(typed, "=")
	if !found {
		host, address, _ = strings.Cut(typed, ":")
	}
	address = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	switch {
	case address == "host-gateway":
		return "", fault.Usagef("with --network host localhost is this machine", "--add-host %s: there is no gateway to it here", typed)
	case net.ParseIP(address) == nil, host == "", strings.ContainsAny(host, " \t\n#"):
		return "", fault.Usagef("for example: --add-host registry.local:10.0.0.5", "--add-host %q is not HOST:IP", typed)
	}
	return address + " " + host, nil
}

var sizePattern = regexp.MustCompile(`^(\d{1,9})([kmgt]?)(i?b)?$`)

// parseSize reads a number of bytes as docker does: k, m and g are powers of 1024.
func parseSize(typed string) (int64, error) {
	if typed == "" {
		return 0, nil
	}
	parts := sizePattern.FindStringSubmatch(strings.ToLower(typed))
	if parts == nil {
		return 0, fault.Usagef("for example: --shm-size 256m", "--shm-size %q is no size", typed)
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	return n << map[string]int{"k": 10, "m": 20, "g": 30, "t": 40}[parts[2]], err
}

// equip gives the build its sandbox and its agents, until release is called.
func (f *runFlags) equip(c *cli.Console, build *ship.Build) (sandboxed *sandbox.Sandbox, release func(), err error) {
	var agents []*sshagent.Server
	var folders []string
	closeAgents := func() {
		for _, s := range agents {
			s.Close()
		}
	}
	build.SSH = map[string]string{}
	for _, typed := range f.ssh {
		id, s, err := serveAgent(c, typed)
		if err != nil {
			closeAgents()
			return nil, nil, err
		}
		agents = append(agents, s)
		folders = append(folders, filepath.Dir(s.Socket))
		build.SSH[id] = s.Socket
	}
	isolation := f.isolation
	if isolation == "auto" {
		isolation = ""
	}
	sandboxed = sandbox.New(sandbox.Options{
		Isolation: isolation, Remove: folders, Chosen: func(engine string) { c.Progressf("%s", engine) },
	})
	build.Sandbox = sandboxed
	return sandboxed, func() {
		if err := sandboxed.Close(); err != nil {
			c.Warnf("", 0, "clean up after RUN: %v", err)
		}
		closeAgents()
	}, nil
}

// serveAgent opens what --ssh names, as docker buildx reads it.
func serveAgent(c *cli.Console, typed string) (id string, s *sshagent.Server, err error) {
	id, rest, named := strings.Cut(typed, "=")
	paths := strings.Split(rest, ",")
	if !named {
		paths = []string{c.Getenv("SSH_AUTH_SOCK")}
	}
	switch {
	case id == "" || strings.Contains(id, ","):
		return "", nil, fault.Usagef("for example: --ssh default", "--ssh %q names no agent", typed)
	case slices.Contains(paths, ""):
		return "", nil, fault.Usagef("start one (ssh-agent), or name keys: --ssh "+id+"=FILE", "--ssh %s: SSH_AUTH_SOCK is not set", typed)
	case slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(p, "raw=") }):
		return "", nil, fault.Usagef("leave it out", "--ssh %s: raw is not supported", typed)
	}
	if s, err = sshagent.Serve(paths...); err != nil {
		err = fmt.Errorf("--ssh %s: %w", id, err)
	}
	return id, s, err
}
