package main

import (
	"slices"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// dependent are flags that mean something only when the edits become a commit, are pushed, or are proposed. --remote is none
// of them: it also says which repository an Argo CD application means.
var dependent = []struct {
	met   func(*gitFlags) bool
	on    string // the flag that meets it; with an explicit false the caller knows that the others rest
	what  string
	hint  string
	flags []string
}{
	{(*gitFlags).commits, "push", "a commit", "add --commit or --push", []string{
		"message", "message-file", "trailer", "author", "sign-off", "sign-key", "sign-format", "commit-per", "max-attempts", "timeout",
	}},
	{(*gitFlags).pushes, "push", "a push", "add --push or --pr", []string{
		"branch", "via", "push-option", "on-protected", "git-username", "git-token-file", "git-ca-file", "app-id", "app-key-file", "ssh-key", "known-hosts",
	}},
	{(*gitFlags).proposes, "pr", "a pull request", "add --pr", []string{
		"pr-per", "pr-branch", "pr-fork", "pr-title", "pr-body", "pr-label", "pr-reviewer", "pr-assignee", "pr-draft", "pr-auto-merge",
	}},
}

// wanting refuses flags that come to nothing without another one. What serve's --config names is pushed to, or proposed.
func (f *gitFlags) wanting() (err error) {
	if f.flags.Changed("config") {
		return nil
	}
	for _, d := range dependent {
		if d.met(f) || f.flags.Changed(d.on) {
			continue
		}
		f.flags.Visit(func(flag *pflag.Flag) {
			if err == nil && slices.Contains(d.flags, flag.Name) && flag.Value.String() != flag.DefValue {
				err = fault.Usagef(d.hint, "--%s is about %s, and none is asked for", flag.Name, d.what)
			}
		})
	}
	return err
}

// nothingEmpty refuses flags that were given nothing: most often a variable that is not set, and who wrote it did not mean
// the default.
func nothingEmpty(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		empty := flag.Value.Type() == "string" && flag.Value.String() == ""
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			empty = slices.Contains(list.GetSlice(), "")
		}
		if err == nil && empty {
			err = fault.Usagef("is a variable not set? leave the flag away for its default", "--%s is empty", flag.Name)
		}
	})
	return err
}
