package buildkit

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
)

// watch follows what the daemon says about a build, and tells of its instructions as the builder of package dockerfile
// does, but for their numbers: they are given as instructions begin, for the daemon does not say where each one stands.
type watch struct {
	request Request
	steps   map[string]*dockerfile.Step // by digest
	total   int
	begun   int
}

func newWatch(r Request) *watch {
	return &watch{request: r, steps: map[string]*dockerfile.Step{}}
}

// see takes one StatusResponse.
func (w *watch) see(m message) error {
	return m.each(func(field protowire.Number, v value) error {
		switch field {
		case 1:
			return w.vertex(v.nested())
		case 3:
			return w.log(v.nested())
		case 4:
			return w.warning(v.nested())
		}
		return nil
	})
}

// instruction is how BuildKit names what an instruction becomes: [PLATFORM STAGE 2/3] INSTRUCTION.
var instruction = regexp.MustCompile(`^\[(?:([a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?)(?:->\S+)? )?(?:(\S+) )?\d+/\d+\] (?s:(.*))$`)

func (w *watch) vertex(m message) error {
	var digest, name string
	var started, completed time.Time
	var cached bool
	var failure string
	err := m.each(func(field protowire.Number, v value) error {
		switch field {
		case 1:
			digest = v.text()
		case 3:
			name = v.text()
		case 4:
			cached = v.number != 0
		case 5:
			started = timestamp(v.nested())
		case 6:
			completed = timestamp(v.nested())
		case 7:
			failure = v.text()
		}
		return nil
	})
	found := instruction.FindStringSubmatch(name)
	if err != nil || found == nil {
		return err
	}
	s, known := w.steps[digest]
	if !known {
		w.total++
		s = &dockerfile.Step{Platform: found[1], Stage: found[2], Instruction: fault.Said(found[3], maxSaid)}
		w.steps[digest] = s
	}
	s.Cached = cached
	if s.Number == 0 && !started.IsZero() {
		w.begun++
		s.Number, s.Total = w.begun, w.total
		w.tell(*s)
	}
	if !s.Done && s.Err == nil && s.Number > 0 && !completed.IsZero() {
		s.Took = completed.Sub(started)
		switch {
		case failure == "":
			s.Done = true
		case strings.Contains(failure, context.Canceled.Error()): // nothing else tells it from a failure
			s.Err = context.Canceled
		default:
			s.Err = errors.New(fault.Said(failure, maxSaid))
		}
		w.tell(*s)
	}
	return nil
}

func (w *watch) tell(s dockerfile.Step) {
	if w.request.Step != nil {
		w.request.Step(s)
	}
}

func (w *watch) log(m message) error {
	s, known := w.steps[m.field(1).text()]
	if !known || s.Number == 0 {
		return nil
	}
	said := *s
	said.Output = m.field(4).bytes
	w.tell(said)
	return nil
}

// warning tells what BuildKit's linter finds.
func (w *watch) warning(m message) error {
	var short string
	line := 0
	err := m.each(func(field protowire.Number, v value) error {
		switch field {
		case 3:
			short = v.text()
		case 7:
			if line == 0 {
				line = int(v.nested().field(1).nested().field(1).number) // pb.Range.start.line
			}
		}
		return nil
	})
	if err == nil && w.request.Options.Warn != nil {
		w.request.Options.Warn(w.request.Name, line, fault.Said(strings.TrimSuffix(short, fmt.Sprintf(" (line %d)", line)), maxSaid))
	}
	return err
}

// timestamp is a google.protobuf.Timestamp.
func timestamp(m message) time.Time {
	return time.Unix(int64(m.field(1).number), int64(m.field(2).number))
}
