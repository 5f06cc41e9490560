package fault_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
)

func TestErrorText(t *testing.T) {
	for _, tt := range []struct {
		err  fault.Error
		want string
	}{
		{fault.Error{What: "push", Where: "harbor.example.com/a/b:1", Err: io.EOF}, "push harbor.example.com/a/b:1: EOF"},
		{fault.Error{What: "push", Err: io.EOF}, "push: EOF"},
		{fault.Error{What: "nothing to do"}, "nothing to do"},
		{fault.Error{Err: io.EOF}, "EOF"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestKindAndHintThroughWrapping(t *testing.T) {
	inner := &fault.Error{Kind: fault.Denied, Hint: "log in", Err: io.EOF}
	outer := fmt.Errorf("pushing: %w", &fault.Error{Kind: fault.Partial, What: "3 of 4", Err: inner})
	if got := fault.KindOf(outer); got != fault.Partial {
		t.Errorf("KindOf = %v, want the outermost kind", got)
	}
	if got := fault.HintOf(outer); got != "log in" {
		t.Errorf("HintOf = %q", got)
	}
	if !errors.Is(outer, io.EOF) {
		t.Error("the cause is lost")
	}
	if fault.KindOf(io.EOF) != fault.Failed || fault.HintOf(io.EOF) != "" {
		t.Error("a plain error is Failed without a hint")
	}
	if err := fault.Usagef("try --help", "no such flag %q", "--x"); fault.KindOf(err) != fault.Usage || fault.HintOf(err) != "try --help" {
		t.Errorf("Usagef: %v", err)
	}
}

func TestCause(t *testing.T) {
	err := fmt.Errorf("reading: %w", &fs.PathError{Op: "open", Path: "/some/where", Err: fs.ErrPermission})
	if got := fault.Cause(err); got != fs.ErrPermission {
		t.Errorf("Cause(%v) = %v", err, got)
	}
	if fault.Cause(io.EOF) != io.EOF || fault.Cause(nil) != nil {
		t.Error("what has no path is its own cause")
	}
}

// What a server says cannot drive a terminal or a runner, and does not fill the screen.
func TestSaid(t *testing.T) {
	for text, want := range map[string]string{
		" \x1b[31mno\u009b\r\n::error::it is\tlate ": "[31mno ::error::it is late", "éééé": "éé", "xééé": "xéé", "": "", "a\u202eb\u2066": "a b",
	} {
		max := 5
		if strings.Contains(want, "error") {
			max = 100
		}
		if got := fault.Said(text, max); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
