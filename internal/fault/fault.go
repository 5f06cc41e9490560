// Package fault says what an error means to its reader: which kind of failure it is and what to do next.
package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"
)

// Kind is the class of a failure. The command line turns it into an exit code, in one place.
type Kind uint8

const (
	Failed   Kind = iota // the work could not be done: server down, broken input, policy violation
	Usage                // the command was called wrongly: flags, references, configuration
	Partial              // some of the work was done, some was not
	Denied               // access was refused: wrong login, missing right, disabled account, read-only mode
	Conflict             // a race for a branch was lost
	Missing              // none of the images asked for is named in the manifests
	Gate                 // a check that was asked for did not pass
	Pending              // nothing is wrong, but changes are pending
)

// Error is a failure as its reader meets it: "What Where: Err", and a Hint that names the next step.
// What and Where must never hold a secret; Where is a file:line, a reference, a host or a branch.
type Error struct {
	Kind  Kind
	What  string
	Where string
	Hint  string
	Err   error
}

func (e *Error) Error() string {
	head := strings.TrimSpace(e.What + " " + e.Where)
	switch {
	case e.Err == nil:
		return head
	case head == "":
		return e.Err.Error()
	}
	return head + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the outermost Error in err's chain, and Failed when there is none.
func KindOf(err error) Kind {
	var f *Error
	if errors.As(err, &f) {
		return f.Kind
	}
	return Failed
}

// HintOf is the first hint in err's chain, outermost first, or "".
func HintOf(err error) string {
	for err != nil {
		var f *Error
		if !errors.As(err, &f) {
			return ""
		}
		if f.Hint != "" {
			return f.Hint
		}
		err = f.Err
	}
	return ""
}

// Cause is what a call to the system failed with, without the call and the path, which the message around it names.
func Cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Said is what somebody else said, a server for example, as a part of a message: on one line, without what could
// drive a terminal or turn the text around, and no longer than max bytes.
func Said(text string, max int) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) {
			return ' '
		}
		return c
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[:min(max, len(text))], "")
}

// Usagef is an error of kind Usage.
func Usagef(hint, format string, args ...any) error {
	return &Error{Kind: Usage, Hint: hint, Err: fmt.Errorf(format, args...)}
}
