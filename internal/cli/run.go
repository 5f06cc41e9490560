// Package cli is what the two binaries have in common at the command line: streams, the console, exit codes, version.
package cli

import (
	"context"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/spf13/cobra"
)

const (
	formatText = "text"
	formatJSON = "json"
)

// exitInterrupted is the shell's code for a command ended by Ctrl-C (128 + SIGINT).
const exitInterrupted = 130

// ExitCode is the exit code of a command that ended with err; nil is 0.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	switch fault.KindOf(err) {
	case fault.Usage:
		return 2
	case fault.Partial:
		return 3
	case fault.Denied:
		return 4
	case fault.Conflict:
		return 5
	case fault.Missing:
		return 6
	case fault.Gate:
		return 7
	case fault.Pending:
		return 10
	}
	return 1
}

// Exits is the section EXIT STATUS of a command's help: the codes of both binaries, in one place.
func Exits(codes ...int) string {
	meanings := map[int]string{
		0: "done, or nothing to do", 1: "failed", 2: "called wrongly: flags, references, configuration",
		3: "partial: something was done, something else failed or was not found", 4: "access denied",
		5: "a git race was lost until the time was up", 6: "none of the images asked for is named in the manifests",
		7: "a gate that was asked for failed", 10: "changes are pending (only with --exit-code)", exitInterrupted: "interrupted",
	}
	var b strings.Builder
	b.WriteString("Exit status:\n")
	for _, code := range codes {
		fmt.Fprintf(&b, "  %3d  %s\n", code, meanings[code])
	}
	return b.String()
}

// Run executes the command line args with the tree that add fills, and returns the exit code.
// SIGINT and SIGTERM cancel the context of the running command; a second one ends the process at once.
func Run(streams Streams, workflow Workflow, root *cobra.Command, args []string, add func(*Console) []*cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	c := &Console{Streams: streams, Workflow: cleaned{workflow}, binary: root.Name(), format: formatText}
	prepare(root, c)
	root.AddCommand(append(add(c), versionCommand(c))...)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		c.say("", "interrupted")
		return exitInterrupted
	case fault.KindOf(err) != fault.Pending:
		c.failure(err)
	}
	return ExitCode(err)
}

// prepare gives root the flags, streams and error classes that both binaries share.
func prepare(root *cobra.Command, c *Console) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = true
	versionFlag(root)
	groupFlags(root)
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return fault.Usagef(suggestion(cmd, args[0]), "unknown command %q", args[0])
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fault.Usagef(flagHint(cmd, err), "%w", err)
	})
	flags := root.PersistentFlags()
	flags.StringVar(&c.format, "format", formatText, "`FORMAT` of the result on stdout: text or json")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "print no progress, only warnings and errors")
	flags.BoolVarP(&c.chatty, "verbose", "v", false, "print more of what is going on")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		formats := append([]string{formatText, formatJSON}, strings.Fields(cmd.Annotations[formatsKey])...)
		if !slices.Contains(formats, c.format) {
			last := len(formats) - 1
			return fault.Usagef(usageHint(cmd), "--format %q: it is %s or %s", c.format, strings.Join(formats[:last], ", "), formats[last])
		}
		return nil
	}
}

const formatsKey = "formats"

// Formats gives a command further values of --format, whose texts it makes itself.
func Formats(cmd *cobra.Command, further ...string) {
	cmd.Annotations = map[string]string{formatsKey: strings.Join(further, " ")}
}

// Args wraps an argument check so that its error is a usage error with the command's first example as the hint.
func Args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return fault.Usagef(usageHint(cmd), "%w", err)
		}
		return nil
	}
}

// NoArgs refuses arguments. A folder is what --root names, and an address what --repo does.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint, flag := usageHint(cmd), "root"
	if strings.Contains(args[0], "://") {
		flag = "repo"
	}
	if cmd.Flags().Lookup(flag) != nil {
		hint = fmt.Sprintf("did you mean --%s %s?", flag, args[0])
	}
	return fault.Usagef(hint, "%s takes no arguments, and %q is one", cmd.CommandPath(), args[0])
}

// usageHint shows the first example of cmd and where to read more.
func usageHint(cmd *cobra.Command) string {
	more := fmt.Sprintf("see '%s --help'", cmd.CommandPath())
	for line := range strings.SplitSeq(cmd.Example, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return fmt.Sprintf("for example: %s (%s)", strings.TrimPrefix(line, "$ "), more)
		}
	}
	return more
}

func suggestion(cmd *cobra.Command, typed string) string {
	if near := cmd.SuggestionsFor(typed); len(near) > 0 {
		return fmt.Sprintf("did you mean '%s %s'?", cmd.CommandPath(), near[0])
	}
	return usageHint(cmd)
}
