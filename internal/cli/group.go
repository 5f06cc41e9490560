package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// groupKey is the annotation of a flag that holds its heading.
const groupKey = "imgbump_group"

// Group puts the flags that bind defines below a heading of their own in the command's help.
func Group(flags *pflag.FlagSet, heading string, bind func(*pflag.FlagSet)) {
	known := map[string]bool{}
	flags.VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
	bind(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		if !known[f.Name] && f.Annotations[groupKey] == nil {
			f.Annotations = map[string][]string{groupKey: {heading}}
		}
	})
}

// groupFlags makes the help of root and its commands show flags by their groups.
func groupFlags(root *cobra.Command) {
	cobra.AddTemplateFunc("flagsByGroup", flagsByGroup)
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(),
		"Flags:\n{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}", "{{flagsByGroup .LocalFlags | trimTrailingWhitespaces}}", 1))
}

// flagsByGroup is the usage of the flags: those of no group, then each group in alphabetical order of its heading.
func flagsByGroup(flags *pflag.FlagSet) string {
	groups := map[string]*pflag.FlagSet{}
	var headings []string
	flags.VisitAll(func(f *pflag.Flag) {
		heading := ""
		if group := f.Annotations[groupKey]; len(group) > 0 {
			heading = group[0]
		}
		if groups[heading] == nil {
			groups[heading] = pflag.NewFlagSet(heading, pflag.ContinueOnError)
			headings = append(headings, heading)
		}
		groups[heading].AddFlag(f)
	})
	slices.Sort(headings)
	var b strings.Builder
	for _, heading := range headings {
		title := "Flags"
		if heading != "" {
			title = heading + " flags"
		}
		fmt.Fprintf(&b, "%s:\n%s\n", title, groups[heading].FlagUsages())
	}
	return b.String()
}
