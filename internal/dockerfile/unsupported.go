package dockerfile

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox/binfmt"
)

// notYet is the error for what BuildKit does and this builder does not do so far.
func notYet(what, hint string) error {
	return &fault.Error{Hint: hint, Err: fmt.Errorf("%s is not yet supported", what)}
}

// directives reads "# check", and refuses a "# syntax" whose effect would be missing.
func (f *File) directives() error {
	if syntax, _, location, ok := parser.DetectSyntax(f.data); ok && !dockerfileFrontend.MatchString(syntax) {
		return f.fail(firstLine(location), notYet("the frontend "+syntax,
			"only docker/dockerfile is; without the syntax line the file is read as docker/dockerfile:1"))
	}
	lint, line, err := f.newLinter()
	f.lint = lint
	return f.fail(line, err)
}

var dockerfileFrontend = regexp.MustCompile(`^(\S+/)?docker/dockerfile(-upstream)?([:@].*)?$`) // or a mirror's copy of it

// possible refuses what no build could carry out, whatever its variables are.
func possible(c instructions.Command) error {
	switch c := c.(type) {
	case *instructions.RunCommand:
		if instructions.GetSecurity(c) != instructions.SecuritySandbox {
			return &fault.Error{Hint: "build it with a BuildKit that allows security.insecure",
				Err: errors.New("--security=insecure: no step gets more rights than others")}
		}
		if len(instructions.GetDevices(c)) > 0 {
			return &fault.Error{Hint: "build it with a BuildKit that has the device", Err: errors.New("--device: no step gets devices")}
		}
	case *instructions.AddCommand:
		return possibleMode(c.Chmod)
	case *instructions.CopyCommand:
		return possibleMode(c.Chmod)
	}
	return nil
}

// refuse is the error for the first RUN of the needed stages that cannot be carried out here. Where a cache may have what it
// makes, its platform is not looked at yet.
func (f *File) refuse(ctx context.Context, src Sources) error {
	for _, s := range f.stages {
		for _, c := range s.commands {
			if _, run := c.Command.(*instructions.RunCommand); !run {
				continue
			}
			if src.Sandbox == nil {
				return f.fail(c.line, &fault.Error{Err: errors.New("RUN cannot be carried out without a sandbox"),
					Hint: "start FROM an image in which it is done already"})
			}
			if err := foreign(ctx, s.platform); err != nil && len(src.Caching.From) == 0 {
				return f.fail(c.line, err)
			}
		}
	}
	return nil
}

// foreign is the error for a RUN on a platform whose programs do not run here.
func foreign(ctx context.Context, p v1.Platform) error {
	err := binfmt.Check(ctx, p.Architecture)
	switch {
	case errors.Is(err, binfmt.ErrNone):
		return &fault.Error{Err: fmt.Errorf("RUN for %s: %w", p, err), Hint: "compile in a stage FROM --platform=$BUILDPLATFORM and COPY what it made; " +
			"or install Debian's qemu-user-static, or tonistiigi/binfmt, on the machine itself (the node of a pod)"}
	case err != nil:
		return &fault.Error{Err: fmt.Errorf("RUN for %s: %w", p, err), Hint: "Debian's qemu-user-static and tonistiigi/binfmt register with it"}
	}
	return nil
}
