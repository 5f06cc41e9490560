package dockerfile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// scratch is the name of the image with nothing in it.
const scratch = "scratch"

// stage is one FROM and the instructions below it.
type stage struct {
	name     string // its AS name
	number   int
	source   string // the FROM line
	line     int
	parent   *stage // what it starts from, if that is a stage
	image    string // what it starts from, if that is an image; "scratch" is one
	platform v1.Platform
	commands []command
}

// label is what the stage is called where a person reads it.
func (s *stage) label() string {
	if s.name == "" {
		return strconv.Itoa(s.number)
	}
	return s.name
}

// command is an instruction; from is where a COPY --from reads.
type command struct {
	instructions.Command
	line int
	from origin
}

// origin is a stage or an image; the zero value is the build context.
type origin struct {
	stage *stage
	image string
}

// graph links the stages and keeps those that the target needs.
func (f *File) graph(parsed []instructions.Stage) error {
	all := make([]*stage, 0, len(parsed))
	for i, p := range parsed {
		f.declare(p.Commands)
		s, err := f.newStage(i, p, all)
		if err != nil {
			return f.fail(firstLine(p.Location), err)
		}
		all = append(all, s)
	}
	target, err := f.target(all)
	if err != nil {
		return err
	}
	if err := f.need(target, all, parsed); err != nil {
		return err
	}
	slices.SortFunc(f.stages, func(a, b *stage) int { return a.number - b.number })
	return nil
}

// newStage finds what a FROM starts from, among the stages before it or outside.
func (f *File) newStage(i int, p instructions.Stage, earlier []*stage) (*stage, error) {
	s := &stage{name: p.Name, number: i, source: p.SourceCode, line: firstLine(p.Location), platform: f.platform}
	env := shell.EnvsFromSlice(f.global)
	base, _, err := f.lex().ProcessWord(p.BaseName, env)
	if err != nil {
		return nil, err
	}
	if base == "" {
		return nil, &fault.Error{Hint: "give the ARG a value before the first FROM, or with --build-arg",
			Err: fmt.Errorf("FROM %s: the variable is empty", p.BaseName)}
	}
	for _, e := range earlier {
		if e.name == base {
			s.parent, s.platform = e, e.platform
		}
	}
	if s.parent == nil {
		s.image = base
	}
	if p.Platform == "" {
		return s, nil
	}
	spec, _, err := f.lex().ProcessWord(p.Platform, env)
	if err != nil {
		return nil, err
	}
	platform, err := parsePlatform(spec)
	if err == nil && s.parent == nil {
		s.platform = platform
	}
	return s, err
}

// target is the stage to build: by name, else the last.
func (f *File) target(all []*stage) (*stage, error) {
	if f.opts.Target == "" {
		return all[len(all)-1], nil
	}
	var names []string
	for _, s := range slices.Backward(all) {
		if strings.EqualFold(s.name, f.opts.Target) {
			return s, nil
		}
		names = append(names, s.label())
	}
	slices.Reverse(names)
	return nil, &fault.Error{Kind: fault.Usage, Where: f.name, Hint: "the stages are " + strings.Join(names, ", "),
		Err: fmt.Errorf("there is no stage %q", f.opts.Target)}
}

// need keeps s and what it needs, and refuses what cannot be built in it.
func (f *File) need(s *stage, all []*stage, parsed []instructions.Stage) error {
	if slices.Contains(f.stages, s) {
		return nil
	}
	f.stages = append(f.stages, s)
	if s.parent != nil {
		if err := f.need(s.parent, all, parsed); err != nil {
			return err
		}
	} else if err := supportedPlatform(s.platform); err != nil {
		return f.fail(s.line, err)
	} else if err := checkImage(s.image, all); err != nil {
		return f.fail(s.line, err)
	}
	if err := f.inheritTriggers(s, all); err != nil {
		return f.fail(s.line, err)
	}
	for _, c := range parsed[s.number].Commands {
		linked, err := link(c, firstLine(c.Location()), s, all)
		if err != nil {
			return f.fail(linked.line, err)
		}
		s.commands = append(s.commands, linked)
	}
	for _, c := range s.commands {
		if c.from.stage == nil {
			continue
		}
		if err := f.need(c.from.stage, all, parsed); err != nil {
			return err
		}
	}
	return nil
}

// inheritTriggers puts the ONBUILD instructions of s's parent before its own.
func (f *File) inheritTriggers(s *stage, all []*stage) error {
	if s.parent == nil {
		return nil
	}
	for _, c := range s.parent.commands {
		onbuild, ok := c.Command.(*instructions.OnbuildCommand)
		if !ok {
			continue
		}
		trigger, err := parseTrigger(onbuild.Expression)
		if err != nil {
			return err
		}
		linked, err := link(trigger, s.line, s, all)
		if err != nil {
			return err
		}
		s.commands = append(s.commands, linked)
	}
	return nil
}

// parseTrigger reads the instruction that an ONBUILD holds.
func parseTrigger(expression string) (instructions.Command, error) {
	parsed, err := parser.Parse(strings.NewReader(expression))
	if err == nil && len(parsed.AST.Children) != 1 {
		err = errors.New("it is not one instruction")
	}
	var c instructions.Command
	if err == nil {
		c, err = instructions.ParseCommand(parsed.AST.Children[0])
	}
	if err != nil {
		return nil, fmt.Errorf("ONBUILD %s: %w", expression, err)
	}
	return c, nil
}

// link checks that an instruction can be built, and finds the stage or image that a COPY --from names.
func link(c instructions.Command, line int, s *stage, all []*stage) (command, error) {
	linked := command{Command: c, line: line}
	earlier, later := all[:s.number], all[s.number:]
	if err := supported(c); err != nil {
		return linked, err
	}
	copied, ok := c.(*instructions.CopyCommand)
	if !ok || copied.From == "" {
		return linked, nil
	}
	if strings.Contains(copied.From, "$") {
		return linked, &fault.Error{Hint: "name the image in a FROM with AS, where ARGs count, and copy from that stage",
			Err: fmt.Errorf("--from=%s: variables are not expanded here", copied.From)}
	}
	if n, err := strconv.Atoi(copied.From); err == nil {
		if n < 0 || n >= len(earlier) {
			return linked, fmt.Errorf("--from=%d: no stage before this one has that number", n)
		}
		linked.from.stage = earlier[n]
		return linked, nil
	}
	named := func(s *stage) bool { return strings.EqualFold(s.name, copied.From) }
	for _, s := range slices.Backward(earlier) {
		if named(s) {
			linked.from.stage = s
			return linked, nil
		}
	}
	if slices.ContainsFunc(later, named) {
		return linked, fmt.Errorf("--from=%s: the stage must end before this one begins", copied.From)
	}
	linked.from.image = copied.From
	return linked, checkImage(copied.From, all)
}

// checkImage refuses an image that nobody could fetch.
func checkImage(ref string, all []*stage) error {
	if ref == scratch {
		return nil
	}
	_, err := imageref.Parse(ref)
	for _, s := range all {
		if err != nil && strings.EqualFold(s.name, ref) {
			return &fault.Error{Hint: "stage names are lower case: " + s.name, Err: err}
		}
	}
	return err
}
