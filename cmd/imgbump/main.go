// Imgbump rewrites image references in GitOps manifests, byte for byte, and commits them without losing a race.
package main

import (
	"os"
	"runtime/debug"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/githubactions"
	"github.com/spf13/cobra"
)

func main() {
	debug.SetGCPercent(400)   // a run lasts a fraction of a second: collecting less often saves a tenth of it,
	cli.LimitMemory(96 << 20) // while there is little to hold
	os.Exit(run(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}))
}

const about = `imgbump makes the manifests of a GitOps repository name another version of an image.

It finds every place that names the image: image: strings of any Kubernetes object, images: of
kustomizations, Helm values. It replaces exactly the bytes of the version, so the diff is the tag
and nothing else, and it can commit and push without a git binary: when somebody else pushes
first, it decides again on the new tip.`

// run executes one command line and returns its exit code.
func run(args []string, streams cli.Streams) int {
	root := &cobra.Command{Use: "imgbump", Short: "Rewrite image versions in GitOps manifests", Long: about}
	return cli.Run(streams, githubactions.New(streams.Getenv, streams.Err), root, args, func(c *cli.Console) []*cobra.Command {
		commands := []*cobra.Command{setCommand(c), updateCommand(c), promoteCommand(c), holdCommand(c), releaseCommand(c), listCommand(c), policiesCommand(c), graphCommand(c), tagsCommand(c), waitCommand(c), serveCommand(c), configCommand(c)}
		for _, command := range commands {
			for _, runs := range append(command.Commands(), command) {
				runs.PreRunE = nothingEmpty
			}
		}
		return commands
	})
}
