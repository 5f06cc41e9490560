package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestFlagHint(t *testing.T) {
	for typed, want := range map[string]string{
		"-o json":         "hint: there is --format: FORMAT of the result",
		"--output=json":   "hint: there is --format: FORMAT of the result",
		"--password x":    "hint: there is --password-stdin: read it from standard input\n",
		"--dryrun":        "hint: there is --dry-run: change nothing\n",
		"--Dry_Run":       "hint: there is --dry-run: change nothing\n",
		"--token x":       "hint: see 'tool work --help'", // this command has no --git-token-file
		"--nope":          "hint: see 'tool work --help'",
		"--dry-run=maybe": "hint: see 'tool work --help'",
	} {
		var said strings.Builder
		streams := Streams{In: strings.NewReader(""), Out: &said, Err: &said, Getenv: func(string) string { return "" }}
		args := append([]string{"work"}, strings.Fields(typed)...)
		code := Run(streams, nowhere{}, &cobra.Command{Use: "tool"}, args, func(*Console) []*cobra.Command {
			work := &cobra.Command{Use: "work", Run: func(*cobra.Command, []string) {}}
			work.Flags().Bool("password-stdin", false, "read it from standard input")
			work.Flags().Bool("dry-run", false, "change nothing")
			return []*cobra.Command{work}
		})
		if code != 2 || !strings.Contains(said.String(), want) {
			t.Errorf("%s: exit %d and %q, want 2 and %q", typed, code, said.String(), want)
		}
	}
}
