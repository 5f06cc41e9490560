package dockerfile

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/ksera524/imgbump/internal/fault"
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

var dockerfileFrontend = regexp.MustCompile(`^(docker\.io/)?docker/dockerfile(-upstream)?([:@].*)?$`)

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

// refuse is the error for the first instruction of the needed stages that cannot be carried out without a sandbox.
func (f *File) refuse(sandbox Sandbox) error {
	if sandbox != nil {
		return nil
	}
	for _, s := range f.stages {
		for _, c := range s.commands {
			if _, run := c.Command.(*instructions.RunCommand); run {
				return f.fail(c.line, notYet("RUN", "start FROM an image in which it is done already, or build with another tool and "+
					"give its docker save archive or OCI layout to harborpush push"))
			}
		}
	}
	return nil
}
