package dockerfile

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/ksera524/imgbump/internal/fault"
)

// remote is a source that ADD would fetch.
var remote = regexp.MustCompile(`^((https?|git|ssh)://|git@)`)

// notYet is the error for what BuildKit does and this builder does not do so far.
func notYet(what, hint string) error {
	return &fault.Error{Hint: hint, Err: fmt.Errorf("%s is not yet supported", what)}
}

// directives refuses the parser directives whose effect would be missing.
func (f *File) directives() error {
	if syntax, _, location, ok := parser.DetectSyntax(f.data); ok && !dockerfileFrontend.MatchString(syntax) {
		return f.fail(firstLine(location), notYet("the frontend "+syntax,
			"only docker/dockerfile is; without the syntax line the file is read as docker/dockerfile:1"))
	}
	if check, _, location, ok := parser.ParseDirective("check", f.data); ok && strings.Contains(check, "error=true") {
		return f.fail(firstLine(location), notYet("# check=error=true", "remove error=true: lint rules are not run"))
	}
	return nil
}

var dockerfileFrontend = regexp.MustCompile(`^(docker\.io/)?docker/dockerfile(-upstream)?([:@].*)?$`)

// supported refuses what cannot be built. Before expansion a value with a variable passes; it is asked again after.
func supported(c instructions.Command) error {
	switch c := c.(type) {
	case *instructions.RunCommand:
		return notYet("RUN", "start FROM an image in which it is done already, or build with another tool and "+
			"give its docker save archive or OCI layout to harborpush push")
	case *instructions.AddCommand:
		return supportedAdd(c)
	case *instructions.CopyCommand:
		return supportedCopy(c)
	case *instructions.HealthCheckCommand:
		if c.Health.StartInterval != 0 {
			return notYet("HEALTHCHECK --start-interval", "leave the flag out")
		}
	}
	return nil
}

func supportedAdd(c *instructions.AddCommand) error {
	for flag, used := range map[string]bool{"--checksum": c.Checksum != "", "--keep-git-dir": c.KeepGitDir != nil} {
		if used {
			return notYet("ADD "+flag, "fetch the file beforehand and COPY it")
		}
	}
	if len(c.ExcludePatterns) > 0 {
		return notYet("ADD --exclude", "name what shall be left out in .dockerignore")
	}
	for _, src := range c.SourcePaths {
		if remote.MatchString(src) {
			return notYet("ADD of a URL or a Git repository", "fetch it into the build context beforehand and COPY it")
		}
	}
	return supportedMode(c.Chmod)
}

func supportedCopy(c *instructions.CopyCommand) error {
	if c.Parents {
		return notYet("COPY --parents", "write one COPY for each folder")
	}
	if len(c.ExcludePatterns) > 0 {
		return notYet("COPY --exclude", "name what shall be left out in .dockerignore")
	}
	for _, src := range c.SourcePaths {
		if remote.MatchString(src) {
			return fmt.Errorf("COPY cannot fetch %s", src)
		}
	}
	return supportedMode(c.Chmod)
}

func supportedMode(chmod string) error {
	if chmod == "" || strings.Contains(chmod, "$") {
		return nil
	}
	if mode, err := strconv.ParseUint(chmod, 8, 32); err == nil {
		if mode > 0o7777 {
			return fmt.Errorf("--chmod=%s is no mode: octal, at most 7777", chmod)
		}
		return nil
	} else if strings.Trim(chmod, "0123456789") == "" {
		return fmt.Errorf("--chmod=%s is no mode: octal, at most 7777", chmod)
	}
	return notYet("--chmod="+chmod, "write the mode in octal, as in --chmod=755")
}
