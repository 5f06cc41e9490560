package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/sandbox/wire"
)

// An error comes over as it was, and one of any length comes over.
func TestOutcome(t *testing.T) {
	exit := &step.ExitError{Code: 3}
	for name, tt := range map[string]struct {
		err        error
		want, hint string
	}{
		"none":    {},
		"exit":    {err: exit, want: exit.Error()},
		"told":    {&fault.Error{What: "keep layers in", Where: "/tmp", Err: errors.New("no space is left"), Hint: "free space"}, "keep layers in /tmp: no space is left", "free space"},
		"plain":   {err: errors.New("reading a layer"), want: "reading a layer"},
		"endless": {err: errors.New("a" + strings.Repeat("<\x00", 1<<20)), want: "a<"},
	} {
		value := wire.NewFailure(tt.err).Encode()
		got := wire.DecodeOutcome(value)
		if len(value) > wire.MaxOutcome || (got == nil) != (tt.err == nil) || got != nil && !strings.HasPrefix(got.Error(), tt.want) || fault.HintOf(got) != tt.hint {
			t.Errorf("%s: %d bytes, %.100q", name, len(value), got)
		}
		var e *step.ExitError
		if errors.As(got, &e) != (name == "exit") || e != nil && *e != *exit {
			t.Errorf("%s: %v", name, e)
		}
	}
	for _, cut := range []string{"", "e30", "!"} {
		if err := wire.DecodeOutcome(cut); err == nil {
			t.Errorf("%q is an outcome", cut)
		}
	}
}
