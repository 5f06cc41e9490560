package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestHelpShowsFlagsByGroup(t *testing.T) {
	root := &cobra.Command{Use: "tool", RunE: func(*cobra.Command, []string) error { return nil }}
	groupFlags(root)
	flags := root.Flags()
	flags.Bool("zebra", false, "of no group")
	Group(flags, "Git", func(flags *pflag.FlagSet) {
		flags.Bool("commit", false, "commit it")
		Group(flags, "Signing", func(flags *pflag.FlagSet) { flags.Bool("sign", false, "sign it") })
	})
	flags.Bool("all", false, "of no group either")
	var out strings.Builder
	root.SetOut(&out)
	root.SetArgs([]string{"--help"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	const want = `Flags:
      --all     of no group either
  -h, --help    help for tool
      --zebra   of no group

Git flags:
      --commit   commit it

Signing flags:
      --sign   sign it
`
	if _, flags, _ := strings.Cut(out.String(), "\n\n"); strings.TrimSpace(flags) != strings.TrimSpace(want) {
		t.Errorf("%s", out.String())
	}
}
