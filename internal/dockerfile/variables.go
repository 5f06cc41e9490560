package dockerfile

import (
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// globals makes the variables that FROM sees: the platform ones, then the ARGs before the first FROM.
func (f *File) globals(stages []instructions.Stage, args []instructions.ArgCommand) error {
	target := f.opts.Target
	if target == "" {
		target = stages[len(stages)-1].Name
	}
	if target == "" {
		target = "default"
	}
	for _, predefined := range platformArgs(buildPlatform(), f.platform, target) {
		name, value, _ := strings.Cut(predefined, "=")
		f.args[name] = true
		if given, ok := f.opts.Args[name]; ok {
			value = given
		}
		f.global = setenv(f.global, name, value)
	}
	for _, arg := range args {
		f.declare([]instructions.Command{&arg})
		for _, a := range arg.Args {
			value, given := f.opts.Args[a.Key]
			if !given && a.Value != nil {
				var err error
				if value, _, err = f.lex().ProcessWord(*a.Value, shell.EnvsFromSlice(f.global)); err != nil {
					return f.fail(firstLine(arg.Location()), err)
				}
			}
			if given || a.Value != nil {
				f.global = setenv(f.global, a.Key, value)
			}
		}
	}
	return nil
}

// declare notes what the ARGs among instructions are called.
func (f *File) declare(commands []instructions.Command) {
	for _, c := range commands {
		if arg, ok := c.(*instructions.ArgCommand); ok {
			for _, a := range arg.Args {
				f.args[a.Key] = true
			}
		}
	}
}

// warnOfUnused names the values that were given to no ARG. Proxies are given to all builds, wanted or not.
func (f *File) warnOfUnused() {
	for _, name := range slices.Sorted(maps.Keys(f.opts.Args)) {
		if !f.args[name] && !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			f.warn(0, "--build-arg %s is used by no ARG", name)
		}
	}
}

// platformArgs are the variables that BuildKit predefines in the global scope.
func platformArgs(build, target v1.Platform, stage string) []string {
	return []string{
		"BUILDPLATFORM=" + build.String(), "BUILDOS=" + build.OS, "BUILDOSVERSION=",
		"BUILDARCH=" + build.Architecture, "BUILDVARIANT=" + build.Variant,
		"TARGETPLATFORM=" + target.String(), "TARGETOS=" + target.OS, "TARGETOSVERSION=" + target.OSVersion,
		"TARGETARCH=" + target.Architecture, "TARGETVARIANT=" + target.Variant, "TARGETSTAGE=" + stage,
	}
}

// setenv replaces or adds a variable.
func setenv(env []string, name, value string) []string {
	i := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	if i < 0 {
		return append(env, name+"="+value)
	}
	env[i] = name + "=" + value
	return env
}

// lookup is the value of a variable.
func lookup(env []string, name string) (string, bool) {
	for _, e := range env {
		if key, value, _ := strings.Cut(e, "="); key == name {
			return value, true
		}
	}
	return "", false
}
