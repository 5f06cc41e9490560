package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version and Commit are set when a release is linked: -ldflags "-X .../internal/cli.Version=v1.2.3".
var (
	Version = ""
	Commit  = ""
)

// build is what `version` prints.
type build struct {
	Schema  string `json:"schema"`
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// Recorded is the version that runs, as the linker or the Go toolchain recorded it.
func Recorded() string { return buildOf("").Version }

// buildOf reads what the linker was told, else what the Go toolchain recorded.
func buildOf(binary string) build {
	b := build{Schema: binary + "/version/v1", Version: Version, Commit: Commit, Go: runtime.Version()}
	recorded, _ := debug.ReadBuildInfo()
	if b.Version == "" && recorded != nil {
		b.Version = recorded.Main.Version
	}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	if b.Commit == "" && recorded != nil {
		for _, s := range recorded.Settings {
			if s.Key == "vcs.revision" {
				b.Commit = s.Value
			}
		}
	}
	if b.Commit == "" {
		b.Commit = "unknown"
	}
	return b
}

func (b build) line(binary string) string {
	return fmt.Sprintf("%s %s commit %s %s", binary, b.Version, b.Commit, b.Go)
}

// versionFlag lets root answer --version, as people type it, with what `version` prints.
func versionFlag(root *cobra.Command) {
	root.Version = buildOf(root.Name()).line(root.Name())
	root.SetVersionTemplate("{{.Version}}\n")
}

func versionCommand(c *Console) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit it was built from, and the Go version",
		Args:  NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := buildOf(c.binary)
			return c.Print(b, b.line(c.binary)+"\n")
		},
	}
}
