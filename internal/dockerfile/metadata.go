package dockerfile

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// configure carries out an instruction that changes the config only, and returns its history entry.
func (b *builder) configure(r *rootfs, c instructions.Command) (string, error) {
	config := &r.config.Config
	switch c := c.(type) {
	case *instructions.ArgCommand:
		return b.arg(r, c)
	case *instructions.EnvCommand:
		for _, e := range c.Env {
			r.env = setenv(r.env, e.Key, e.Value)
			config.Env = setenv(config.Env, e.Key, e.Value)
		}
		return "ENV" + pairs(c.Env), nil
	case *instructions.LabelCommand:
		for _, l := range c.Labels {
			put(&config.Labels, l.Key, l.Value)
			put(&r.labelled, l.Key, true)
		}
		return "LABEL" + pairs(c.Labels), nil
	case *instructions.MaintainerCommand:
		r.config.Author = c.Maintainer
		return "MAINTAINER " + c.Maintainer, nil
	case *instructions.UserCommand:
		config.User = c.User
		return "USER " + c.User, nil
	case *instructions.CmdCommand:
		config.Cmd, config.ArgsEscaped, r.hasCMD = commandLine(config, c.ShellDependantCmdLine), true, true
		return fmt.Sprintf("CMD %q", config.Cmd), nil
	case *instructions.EntrypointCommand:
		config.Entrypoint = commandLine(config, c.ShellDependantCmdLine)
		if !r.hasCMD { // an inherited CMD was meant for the inherited ENTRYPOINT
			config.Cmd = nil
		}
		return fmt.Sprintf("ENTRYPOINT %q", config.Entrypoint), nil
	case *instructions.ShellCommand:
		config.Shell = c.Shell
		return fmt.Sprintf("SHELL %v", c.Shell), nil
	case *instructions.ExposeCommand:
		return b.expose(r, c)
	case *instructions.VolumeCommand:
		for _, v := range c.Volumes {
			if v == "" {
				return "", fmt.Errorf("VOLUME is empty")
			}
			put(&config.Volumes, v, struct{}{})
		}
		return fmt.Sprintf("VOLUME %v", c.Volumes), nil
	case *instructions.StopSignalCommand:
		config.StopSignal = c.Signal
		return "STOPSIGNAL " + c.Signal, checkSignal(c.Signal)
	case *instructions.HealthCheckCommand:
		config.Healthcheck = &v1.HealthConfig{Test: c.Health.Test, Interval: c.Health.Interval,
			Timeout: c.Health.Timeout, StartPeriod: c.Health.StartPeriod, Retries: c.Health.Retries}
		r.startInterval = c.Health.StartInterval
		return fmt.Sprintf("HEALTHCHECK %+v", *c.Health), nil
	case *instructions.OnbuildCommand:
		config.OnBuild = append(config.OnBuild, c.Expression)
		return "", nil // BuildKit records none
	}
	return "", fmt.Errorf("%s is unknown to this builder", strings.ToUpper(c.Name()))
}

// arg gives a variable the value of the caller, of the instruction, or of the global scope, in this order.
func (b *builder) arg(r *rootfs, c *instructions.ArgCommand) (string, error) {
	entry := "ARG"
	for _, a := range c.Args {
		value, known := b.opts.Args[a.Key]
		if !known && a.Value != nil {
			var err error
			if value, _, err = b.lex().ProcessWord(*a.Value, shell.EnvsFromSlice(r.env)); err != nil {
				return "", err
			}
			known = true
		}
		if !known {
			value, known = lookup(b.global, a.Key)
		}
		entry += " " + a.Key
		if known {
			entry += "=" + value
			r.env = setenv(r.env, a.Key, value)
		}
		if !slices.Contains(r.args, a.Key) {
			r.args = append(r.args, a.Key)
		}
	}
	return entry, nil
}

// commandLine is what CMD or ENTRYPOINT runs, through the image's shell if it is not in JSON form.
func commandLine(config *v1.Config, c instructions.ShellDependantCmdLine) []string {
	if !c.PrependShell {
		return c.CmdLine
	}
	sh := config.Shell
	if len(sh) == 0 {
		sh = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(sh), strings.Join(c.CmdLine, " "))
}

// expose adds ports. As BuildKit does, it takes and drops the host's side of IP:HOST:PORT.
func (b *builder) expose(r *rootfs, c *instructions.ExposeCommand) (string, error) {
	specs, err := b.ports(r, c)
	if err != nil {
		return "", err
	}
	var exposed []string
	for _, spec := range specs {
		ports, err := parsePorts(spec)
		if err != nil {
			return "", fmt.Errorf("%s is no port: %w", spec, err)
		}
		exposed = append(exposed, ports...)
	}
	for _, port := range exposed {
		put(&r.config.Config.ExposedPorts, port, struct{}{})
	}
	return fmt.Sprintf("EXPOSE %v", exposed), nil
}

// ports are the words of an EXPOSE, which a variable may hold several of.
func (b *builder) ports(r *rootfs, c *instructions.ExposeCommand) (specs []string, err error) {
	for _, word := range c.Ports {
		words, err := b.lex().ProcessWords(word, shell.EnvsFromSlice(r.env))
		if err != nil {
			return nil, err
		}
		specs = append(specs, words...)
	}
	return specs, nil
}

// parsePorts reads [[IP:]HOST:]PORT[-PORT][/PROTOCOL] as one PORT/PROTOCOL for each port.
func parsePorts(spec string) ([]string, error) {
	numbers, protocol, _ := strings.Cut(spec, "/")
	if protocol = strings.ToLower(protocol); protocol == "" {
		protocol = "tcp"
	}
	if !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
		return nil, fmt.Errorf("%q is not tcp, udp or sctp", protocol)
	}
	host := ""
	if i := strings.LastIndexByte(numbers, ':'); i >= 0 {
		host, numbers = numbers[:i], numbers[i+1:]
	}
	first, last, err := parseRange(numbers)
	if err != nil {
		return nil, err
	}
	if err := checkHost(host, last-first); err != nil {
		return nil, err
	}
	var ports []string
	for port := first; port <= last; port++ {
		ports = append(ports, fmt.Sprintf("%d/%s", port, protocol))
	}
	return ports, nil
}

// checkHost checks [IP:]HOST, whose range is as long as the container's when that is one.
func checkHost(host string, length uint64) error {
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		if ip := host[:i]; ip != "" && net.ParseIP(strings.Trim(ip, "[]")) == nil {
			return fmt.Errorf("%q is no IP address", ip)
		}
		host = host[i+1:]
	}
	if host == "" {
		return nil
	}
	first, last, err := parseRange(host)
	if err == nil && length > 0 && last-first != length {
		err = fmt.Errorf("%s are other than %d ports", host, length+1)
	}
	return err
}

func parseRange(s string) (first, last uint64, err error) {
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	if first, err = strconv.ParseUint(low, 10, 16); err != nil {
		return 0, 0, fmt.Errorf("%q is not within 0 and 65535", low)
	}
	if last, err = strconv.ParseUint(high, 10, 16); err != nil || last < first {
		return 0, 0, fmt.Errorf("%q is not within %d and 65535", high, first)
	}
	return first, last, nil
}

// linuxSignals are the names that a Linux runtime knows, without SIG; the real-time ones are RTMIN+N and RTMAX-N.
const linuxSignals = " ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP " +
	"SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX "

func checkSignal(s string) error {
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, err := strconv.ParseUint(s, 10, 7); err == nil && n > 0 {
		return nil
	}
	for _, edge := range []string{"RTMIN+", "RTMAX-"} {
		if offset, ok := strings.CutPrefix(name, edge); ok {
			if n, err := strconv.ParseUint(offset, 10, 6); err == nil && n <= 30 {
				return nil
			}
		}
	}
	if name == "" || !strings.Contains(linuxSignals, " "+name+" ") {
		return fmt.Errorf("STOPSIGNAL %s is no signal: write a name as SIGTERM, or a number", s)
	}
	return nil
}

// pairs are KEY=VALUE, each after a space.
func pairs(kvs instructions.KeyValuePairs) string {
	var s strings.Builder
	for _, kv := range kvs {
		s.WriteString(" " + kv.String())
	}
	return s.String()
}

// put sets a key of a map that may not be there yet.
func put[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}
