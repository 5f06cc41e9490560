package dockerfile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// scratch is the name of the image with nothing in it.
const scratch = "scratch"

// stage is one FROM and the instructions below it.
type stage struct {
	name      string // its AS name
	number    int
	source    string // the FROM line
	line      int
	base      origin
	platform  v1.Platform
	commands  []command
	triggered bool // what its base demands with ONBUILD is among its commands
}

// label is what the stage is called where a person reads it.
func (s *stage) label() string {
	if s.name == "" {
		return strconv.Itoa(s.number)
	}
	return s.name
}

// command is an instruction; from is where a COPY --from reads, mounts where the --mounts of a RUN do, each at its place.
type command struct {
	instructions.Command
	line   int
	from   origin
	mounts []origin
}

// origins are all that the command reads.
func (c command) origins() []origin { return append([]origin{c.from}, c.mounts...) }

// origin is a stage, an image or a folder of its own name; the zero value is the build context.
type origin struct {
	stage  *stage
	image  string // "scratch" is one
	folder string
}

// graph links the stages and keeps those that the target needs.
func (f *File) graph(parsed []instructions.Stage) error {
	for i, p := range parsed {
		f.declare(p.Commands)
		s, err := f.newStage(i, p)
		if err != nil {
			return f.fail(firstLine(p.Location), err)
		}
		f.all = append(f.all, s)
	}
	target, err := f.target()
	if err != nil {
		return err
	}
	if target.base.folder != "" {
		return f.fail(target.line, noImage(target.base))
	}
	return f.need(target)
}

// noImage is the error for a stage that would start from a folder.
func noImage(o origin) error {
	return notYet("FROM the folder of --build-context "+o.folder, "start FROM scratch and COPY --from="+o.folder+" / /")
}

// newStage finds what a FROM starts from, among the stages before it or outside.
func (f *File) newStage(i int, p instructions.Stage) (*stage, error) {
	s := &stage{name: p.Name, number: i, source: p.SourceCode, line: firstLine(p.Location), platform: f.platform}
	found, err := f.lex().ProcessWordWithMatches(p.BaseName, shell.EnvsFromSlice(f.global))
	f.lintFrom(p, found)
	if err != nil {
		return nil, err
	}
	if found.Result == "" {
		return nil, &fault.Error{Hint: "give the ARG a value before the first FROM, or with --build-arg",
			Err: fmt.Errorf("FROM %s: the variable is empty", p.BaseName)}
	}
	if err := f.platformOf(s, p); err != nil {
		return nil, err
	}
	if replaced, ok := f.context(p.Name); ok && p.Name != "" {
		s.base, s.triggered = replaced, true
		return s, nil // without the stage's own instructions
	}
	for _, c := range p.Commands {
		s.commands = append(s.commands, command{Command: c, line: firstLine(c.Location())})
	}
	s.base.image = found.Result
	if replaced, ok := f.context(found.Result); ok {
		s.base = replaced
	}
	for _, e := range f.all {
		if e.name == found.Result {
			s.base, s.platform = origin{stage: e}, e.platform
		}
	}
	return s, nil
}

// platformOf reads FROM --platform.
func (f *File) platformOf(s *stage, p instructions.Stage) error {
	if p.Platform == "" {
		return nil
	}
	found, err := f.lex().ProcessWordWithMatches(p.Platform, shell.EnvsFromSlice(f.global))
	f.lintFrom(p, found)
	if err == nil {
		f.lintFromPlatform(p, found)
		s.platform, err = ParsePlatform(found.Result)
	}
	return err
}

// context is what a further build context of a name holds. As BuildKit has it, a name is that of an image, whether it
// is written in full or not; scratch and context are never replaced.
func (f *File) context(name string) (origin, bool) {
	if strings.EqualFold(name, scratch) || strings.EqualFold(name, "context") {
		return origin{}, false
	}
	for known, value := range f.opts.Contexts {
		if familiar(known) != familiar(name) {
			continue
		}
		if image, ok := strings.CutPrefix(value, "docker-image://"); ok {
			return origin{image: image}, true
		}
		if strings.HasPrefix(value, ociLayout) {
			return origin{image: value}, true
		}
		return origin{folder: known}, true
	}
	return origin{}, false
}

// ociLayout begins the names of images in a folder on disk.
const ociLayout = "oci-layout://"

func familiar(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return strings.TrimSuffix(reference.FamiliarString(named), ":latest")
}

// target is the stage to build: by name, else the last.
func (f *File) target() (*stage, error) {
	if f.opts.Target == "" {
		return f.all[len(f.all)-1], nil
	}
	var names []string
	for _, s := range slices.Backward(f.all) {
		if strings.EqualFold(s.name, f.opts.Target) {
			return s, nil
		}
		names = append(names, s.label())
	}
	slices.Reverse(names)
	return nil, &fault.Error{Kind: fault.Usage, Where: f.name, Hint: "the stages are " + strings.Join(names, ", "),
		Err: fmt.Errorf("there is no stage %q%s", f.opts.Target, near(f.opts.Target, names))}
}

// near is a question that offers the word that is most like a wrong one, or nothing.
func near(wrong string, words []string) string {
	if word, ok := suggest.Search(wrong, words, true); ok {
		return fmt.Sprintf(" (did you mean %s?)", word)
	}
	return ""
}

// need keeps s and what it needs, and refuses what could never be built.
func (f *File) need(s *stage) error {
	if slices.Contains(f.stages, s) {
		return nil
	}
	f.stages = append(f.stages, s)
	slices.SortFunc(f.stages, func(a, b *stage) int { return a.number - b.number })
	if s.base.folder != "" && len(s.commands) > 0 {
		return f.fail(s.line, noImage(s.base))
	}
	if s.base.stage != nil {
		if s.base.stage.base.folder != "" {
			return f.fail(s.line, noImage(s.base.stage.base))
		}
		if err := f.need(s.base.stage); err != nil {
			return err
		}
	} else if err := supportedPlatform(s.platform); err != nil {
		return f.fail(s.line, err)
	} else if err := f.checkImage(s.base.image); err != nil {
		return f.fail(s.line, err)
	}
	if err := f.trigger(s, f.inherited(s)); err != nil {
		return f.fail(s.line, err)
	}
	return f.link(s, s.commands)
}

// inherited are the ONBUILD instructions of the stage that s starts from.
func (f *File) inherited(s *stage) (expressions []string) {
	if s.base.stage == nil {
		return nil
	}
	for _, c := range s.base.stage.commands {
		if onbuild, ok := c.Command.(*instructions.OnbuildCommand); ok {
			expressions = append(expressions, onbuild.Expression)
		}
	}
	return expressions
}

// trigger puts the instructions that s's base demands before its own.
func (f *File) trigger(s *stage, expressions []string) error {
	triggers := make([]command, 0, len(expressions)+len(s.commands))
	for _, expression := range expressions {
		trigger, err := parseTrigger(expression)
		if err != nil {
			return err
		}
		f.declare([]instructions.Command{trigger})
		triggers = append(triggers, command{Command: trigger, line: s.line})
	}
	s.commands = append(triggers, s.commands...)
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

// link checks commands of s, finds what each --from names, and keeps the stages that are needed for it.
func (f *File) link(s *stage, commands []command) error {
	for i := range commands {
		c := &commands[i]
		err := possible(c.Command)
		if err == nil {
			err = f.linkCommand(s, c)
		}
		if err != nil {
			return f.fail(c.line, err)
		}
		for _, from := range c.origins() {
			if from.stage == nil {
				continue
			}
			if err := f.need(from.stage); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *File) linkCommand(s *stage, c *command) (err error) {
	switch i := c.Command.(type) {
	case *instructions.CopyCommand:
		if i.From != "" {
			c.from, err = f.origin(i.From, s)
		}
	case *instructions.RunCommand:
		mounts := instructions.GetMounts(i)
		c.mounts = make([]origin, len(mounts))
		for n, m := range mounts {
			if m.From != "" && err == nil {
				c.mounts[n], err = f.origin(m.From, s)
			}
		}
	}
	return err
}

// origin is what a --from in s names.
func (f *File) origin(from string, s *stage) (origin, error) {
	earlier, later := f.all[:s.number], f.all[s.number:]
	if strings.Contains(from, "$") {
		return origin{}, &fault.Error{Hint: "name the image in a FROM with AS, where ARGs count, and copy from that stage",
			Err: fmt.Errorf("--from=%s: variables are not expanded here", from)}
	}
	if n, err := strconv.Atoi(from); err == nil {
		if n < 0 || n >= len(earlier) {
			return origin{}, fmt.Errorf("--from=%d: no stage before this one has that number", n)
		}
		return origin{stage: earlier[n]}, nil
	}
	named := func(s *stage) bool { return strings.EqualFold(s.name, from) }
	for _, s := range slices.Backward(earlier) {
		if named(s) {
			return origin{stage: s}, nil
		}
	}
	if slices.ContainsFunc(later, named) {
		return origin{}, fmt.Errorf("--from=%s: the stage must end before this one begins", from)
	}
	if replaced, ok := f.context(from); ok {
		return replaced, nil
	}
	return origin{image: from}, f.checkImage(from)
}

// checkImage refuses an image that nobody could fetch.
func (f *File) checkImage(ref string) error {
	if ref == "" || ref == scratch || strings.HasPrefix(ref, ociLayout) {
		return nil
	}
	_, err := imageref.Parse(ref)
	for _, s := range f.all {
		if err != nil && strings.EqualFold(s.name, ref) {
			return &fault.Error{Hint: "stage names are lower case: " + s.name, Err: err}
		}
	}
	return err
}
