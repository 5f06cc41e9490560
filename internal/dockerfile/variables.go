package dockerfile

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// globals makes the variables that FROM sees: the platform ones, then the ARGs before the first FROM.
func (f *File) globals(stages []instructions.Stage, args []instructions.ArgCommand) error {
	f.targetName = cmp.Or(f.opts.Target, stages[len(stages)-1].Name, "default")
	f.global = f.predefined(f.opts.Args)
	for _, predefined := range f.global {
		name, _, _ := strings.Cut(predefined, "=")
		f.args[name] = true
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
		if !f.args[name] && name != sourceDateEpoch && name != lintArg && !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			f.warn(0, "--build-arg %s is used by no ARG", name)
		}
	}
}

// predefined are the variables that BuildKit has in the global scope, with the values of given.
func (f *File) predefined(given map[string]string) (env []string) {
	build, target := buildPlatform(), f.platform
	for _, kv := range [][2]string{
		{"BUILDPLATFORM", build.String()}, {"BUILDOS", build.OS}, {"BUILDOSVERSION", ""},
		{"BUILDARCH", build.Architecture}, {"BUILDVARIANT", build.Variant},
		{"TARGETPLATFORM", target.String()}, {"TARGETOS", target.OS}, {"TARGETOSVERSION", target.OSVersion},
		{"TARGETARCH", target.Architecture}, {"TARGETVARIANT", target.Variant}, {"TARGETSTAGE", f.targetName},
	} {
		if value, ok := given[kv[0]]; ok {
			kv[1] = value
		}
		env = append(env, kv[0]+"="+kv[1])
	}
	return env
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
