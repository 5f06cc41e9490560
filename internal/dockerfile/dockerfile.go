// Package dockerfile turns a Dockerfile into an image: its text into a graph of stages, and the stages into layers
// and a config, with neither a daemon nor a network nor an unpacked base image.
//
// Parser, instructions and shell words are BuildKit's; what the instructions do follows BuildKit's dockerfile:1.
// What is not supported yet is refused with its line before anything is built. Layers are written when the image
// is read, so that building, compressing and uploading overlap.
package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// Options are what a caller decides about a build.
type Options struct {
	Target   string            // the stage to build, the last one when empty
	Args     map[string]string // values of ARG instructions; SOURCE_DATE_EPOCH among them goes before Created
	Labels   map[string]string // labels of the image, stronger than the Dockerfile's
	Origin   map[string]string // likewise, weaker than the Dockerfile's and stronger than those of its base images
	Platform v1.Platform       // what the image is for; when empty what its FROM says, else this machine's Linux
	Created  time.Time         // of the image, its history and the directories that instructions create

	// Contexts are further build contexts by their names, which go before those of stages and images:
	// docker-image://REF, oci-layout://DIR, or else files, which are in Sources.
	Contexts map[string]string

	// What RUN gets.
	Network  step.Network // where --network does not say other; Isolated when empty
	Hosts    []string     // further lines of /etc/hosts, ADDRESS NAME
	Hostname string       // as BuildKit has it when empty
	ShmSize  int64        // of /dev/shm in bytes, zero for 64 MiB
	Limits   []string     // NAME=SOFT[:HARD] as ulimit calls them

	// Warn is told by Check and Build what is doubtful about a line of the Dockerfile, or about all of it, line 0.
	// It may be nil.
	Warn func(file string, line int, message string)
}

// File is a parsed Dockerfile with the stages that its target needs.
type File struct {
	name       string
	data       []byte
	opts       Options
	platform   v1.Platform // of stages whose FROM names none
	escape     rune
	targetName string // as TARGETSTAGE has it
	created    time.Time
	latest     time.Time       // of files in layers, zero without SOURCE_DATE_EPOCH
	global     []string        // KEY=VALUE that FROM sees, and ARG without a value
	args       map[string]bool // what ARGs are called, of stages that are not needed too
	all        []*stage        // in the order of the file
	stages     []*stage        // needed ones, likewise
	lint       *linter.Linter
	findings   []finding
}

// Parse reads a Dockerfile; name is what errors call it. Every error names the line.
func Parse(name string, data []byte, opts Options) (*File, error) {
	f := &File{name: name, data: data, opts: opts, platform: normalize(opts.Platform), created: opts.Created.UTC(), args: map[string]bool{}}
	if opts.Platform.OS == "" {
		f.platform = buildPlatform()
	}
	if err := errors.Join(f.epoch(), f.directives()); err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, f.syntax(err)
	}
	stages, args, err := instructions.Parse(parsed.AST, f.lint)
	if err != nil {
		return nil, f.syntax(err)
	}
	if len(stages) == 0 {
		return nil, f.fail(1, errors.New("there is no FROM, so no stage to build"))
	}
	f.escape = parsed.EscapeToken
	f.lintFile(parsed.Warnings, stages)
	if err := f.globals(stages, args); err != nil {
		return nil, err
	}
	f.lintBases(stages, args)
	return f, f.graph(stages)
}

// Name is what errors call the Dockerfile.
func (f *File) Name() string { return f.name }

// sourceDateEpoch is the variable that makes builds repeatable (reproducible-builds.org), in seconds since 1970.
const sourceDateEpoch = "SOURCE_DATE_EPOCH"

// epoch takes the time of all that is made, and the latest time of all that is copied, from SOURCE_DATE_EPOCH.
func (f *File) epoch() error {
	given := f.opts.Args[sourceDateEpoch]
	if given == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(given, 10, 64)
	if err != nil {
		return &fault.Error{Kind: fault.Usage, Hint: "for example: " + sourceDateEpoch + "=1700000000",
			Err: fmt.Errorf("%s=%s is no number of seconds since 1970", sourceDateEpoch, given)}
	}
	f.created = time.Unix(seconds, 0).UTC()
	f.latest = f.created
	return nil
}

// lex is a fresh word processor; BuildKit's is not safe to share.
func (f *File) lex() *shell.Lex { return shell.NewLex(f.escape) }

// fail says at which line of the Dockerfile err happened. It keeps err's kind and hint.
func (f *File) fail(line int, err error) error {
	if err == nil {
		return nil
	}
	return &fault.Error{Kind: fault.KindOf(err), Where: fmt.Sprintf("%s:%d", f.name, max(line, 1)), Err: err}
}

// syntax is BuildKit's error at its line, without the words that BuildKit puts before it.
func (f *File) syntax(err error) error {
	line := 1
	var located *parser.LocationError
	if errors.As(err, &located) && len(located.Locations) > 0 {
		line = firstLine(located.Locations[0])
	}
	if at := parseErrorPrefix.FindStringIndex(err.Error()); at != nil {
		err = errors.New(err.Error()[at[1]:])
	}
	return f.fail(line, err)
}

// parseErrorPrefix is dropped because fail says the same; what kind of error it is is not read from it.
var parseErrorPrefix = regexp.MustCompile(`^dockerfile parse error on line \d+: `)

func firstLine(location []parser.Range) int {
	if len(location) == 0 {
		return 1
	}
	return location[0].Start.Line
}
