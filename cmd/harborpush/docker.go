package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/fault"
)

// taken are flags of 'docker build' and 'docker buildx build' that ask for what is so anyway.
var taken = []string{"rm", "force-rm", "compress"}

// limited are flags of docker's that are taken with some values only, and why not with others.
var limited = map[string]struct {
	values []string
	why    string
}{
	"provenance": {[]string{"false"}, "no attestations are made yet"},
	"sbom":       {[]string{"false"}, "no attestations are made yet"},
	"allow":      {[]string{"network.host"}, "RUN has no more rights than a container's default"},
	"call":       {[]string{"build", "check"}, "there are no other methods; use --check"},
}

// refused are flags of docker's that would be without effect, and what to do instead.
var refused = map[string]string{
	"load":          "there is no Docker daemon to load into; write -o docker:FILE, and then docker load -i FILE",
	"attest":        "no attestations are made yet",
	"squash":        "layers are not merged",
	"security-opt":  "RUN has no more rights than a container's default",
	"cgroup-parent": ownLimits, "memory": ownLimits, "memory-swap": ownLimits, "cpu-period": ownLimits, "cpu-quota": ownLimits,
	"cpu-shares": ownLimits, "cpuset-cpus": ownLimits, "cpuset-mems": ownLimits,
	"policy": "policies on sources are not supported yet",
}

const ownLimits = "RUN has the limits of this process; give them to the pod, or to systemd-run"

// dockerFlag is one of those flags.
type dockerFlag struct {
	name  string
	value string
	check *bool // what --call=check sets
}

func (f *dockerFlag) String() string { return f.value }
func (f *dockerFlag) Type() string   { return "string" }

func (f *dockerFlag) Set(value string) error {
	f.value = value
	if why, ok := refused[f.name]; ok {
		return refusal{fmt.Errorf("--%s is unknown to harborpush: %s", f.name, why)}
	}
	if only, ok := limited[f.name]; ok && !slices.Contains(only.values, value) {
		return refusal{fmt.Errorf("--%s %s is unknown to harborpush: %s", f.name, value, only.why)}
	}
	if f.name == "call" {
		*f.check = value == "check"
	}
	return nil
}

// refusal is an error that says itself which flag it is about.
type refusal struct{ error }

// bindDocker adds docker's other flags, which help does not list.
func (f *buildFlags) bindDocker(cmd *cobra.Command) {
	flags := cmd.Flags()
	add := func(name string, bare bool) {
		flag := flags.VarPF(&dockerFlag{name: name, check: &f.check}, name, "", "as in docker build")
		flag.Hidden = true
		if bare {
			flag.NoOptDefVal = "true"
		}
	}
	for _, name := range taken {
		add(name, true)
	}
	for name := range limited {
		add(name, false)
	}
	for name := range refused {
		add(name, name == "load" || name == "squash")
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var invalid *pflag.InvalidValueError
		var own refusal
		if errors.As(err, &invalid) && errors.As(invalid.Unwrap(), &own) {
			message, hint, _ := strings.Cut(own.Error(), "; ")
			return fault.Usagef(hint, "%s", message)
		}
		return cmd.Parent().FlagErrorFunc()(cmd, err)
	})
}
