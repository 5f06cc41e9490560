package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// signalled makes this test's program a command that is sent signals, instead of a test.
const signalled = "TEST_SIGNALLED"

// TestSignals sends SIGINT to a command that ends when its context does, and twice to one that does not.
func TestSignals(t *testing.T) {
	if how := os.Getenv(signalled); how != "" {
		os.Exit(runSignalled(how))
	}
	for how, check := range map[string]func(*exec.ExitError) bool{
		"once":  func(e *exec.ExitError) bool { return e.ExitCode() == exitInterrupted },
		"twice": func(e *exec.ExitError) bool { return e.Sys().(syscall.WaitStatus).Signal() == syscall.SIGINT },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		program := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSignals$")
		program.Env = append(os.Environ(), signalled+"="+how)
		out, err := program.CombinedOutput()
		var ended *exec.ExitError
		if !errors.As(err, &ended) || !check(ended) || how == "once" && !strings.Contains(string(out), "tool: interrupted") {
			t.Errorf("%s: it ended with %v and said %q", how, err, out)
		}
	}
}

func runSignalled(how string) int {
	send := func() { syscall.Kill(os.Getpid(), syscall.SIGINT) }
	root := &cobra.Command{Use: "tool"}
	streams := Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: func(string) string { return "" }}
	return Run(streams, nowhere{}, root, []string{"work"}, func(*Console) []*cobra.Command {
		return []*cobra.Command{{Use: "work", RunE: func(cmd *cobra.Command, _ []string) error {
			send()
			<-cmd.Context().Done()
			for how == "twice" {
				send()
				runtime.Gosched()
			}
			return cmd.Context().Err()
		}}}
	})
}

// nowhere is a Workflow outside of any CI system.
type nowhere struct{}

func (nowhere) Active() bool                    { return false }
func (nowhere) Group(string)                    {}
func (nowhere) EndGroup()                       {}
func (nowhere) Error(string, int, string)       {}
func (nowhere) Warning(string, int, string)     {}
func (nowhere) Mask(string)                     {}
func (nowhere) Output(string, string) error     { return nil }
func (nowhere) Summary(string) error            { return nil }
func (nowhere) Untrusted(write func(io.Writer)) {}
