// Harborpush builds images from Dockerfiles, or takes built ones, and pushes them to Harbor or any OCI registry.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/githubactions"
)

func main() {
	asSandbox()
	cli.LimitMemory(100 << 20) // so that a push stays below 150 MB
	os.Exit(run(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}))
}

const about = `harborpush brings images to Harbor, or to any OCI registry.

It builds from a Dockerfile or takes an image that is there, and needs no Docker daemon, no root
and no other program. A layer is made, compressed and uploaded in one pass; what the registry has
already is not sent again. When Harbor refuses, it says why and what to do.`

// run executes one command line and returns its exit code.
func run(args []string, streams cli.Streams) int {
	root := &cobra.Command{Use: "harborpush", Short: "Build images and push them to Harbor", Long: about}
	return cli.Run(streams, githubactions.New(streams.Getenv, streams.Err), root, args, func(c *cli.Console) []*cobra.Command {
		return []*cobra.Command{buildCommand(c), pushCommand(c), appendCommand(c), copyCommand(c), checkCommand(c), scanCommand(c), pruneCommand(c), nextCommand(c)}
	})
}
