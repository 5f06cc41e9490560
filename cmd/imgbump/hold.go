package main

import (
	"fmt"
	"strings"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/spf13/cobra"
)

const holdAbout = `Keep an image in the version that the manifests name, with the reason beside it.

Every place that names the image gets a comment, and 'set', 'update' and 'promote' leave it alone until
'imgbump release' takes the comment away:

  image: harbor.example.com/team/app:1.4.2 # imgbump: hold REASON

The comment goes to the end of the line; where another tool's comment stands there, to a line of its own
above. Nothing else changes. A place that is held already keeps its reason. Where a comment would hold
another image, too, or is not allowed, as in JSON, nothing is written, and imgbump.yaml can hold the image.

Where it is written is said as with 'set': in place, as a commit, or as a pull request.`

const holdExamples = `  # in the files below the current folder; look at the diff first
  imgbump hold harbor.example.com/team/app --reason 'waits for the new database' --dry-run

  # as a commit, in a repository that is not checked out
  imgbump hold harbor.example.com/team/app --reason '#4711' --repo https://github.com/team/gitops --branch main

  # one place only
  imgbump hold harbor.example.com/team/app --path apps/production --push`

const releaseAbout = `Take away the comments that hold an image back, so that it is updated again.

What 'imgbump hold' wrote goes, and what people wrote in its stead: comments 'imgbump: hold' at the end of
a line or above it. The rest of a comment stays. What imgbump.yaml holds is not released. Where a comment
holds another image, too, it stays, and the exit code is 3.`

const releaseExamples = `  imgbump release harbor.example.com/team/app --dry-run
  imgbump release harbor.example.com/team/app --push`

func holdCommand(c *cli.Console) *cobra.Command {
	var reason string
	cmd := holding(c, "hold", func(image imageref.Ref) bump.Hold {
		return bump.Hold{Image: image, Reason: strings.TrimSpace(reason)}
	})
	cmd.Short, cmd.Long, cmd.Example = "Keep an image in its version, for a reason", holdAbout+cmd.Long, holdExamples
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT` of one line that says why")
	return cmd
}

func releaseCommand(c *cli.Console) *cobra.Command {
	cmd := holding(c, "release", func(image imageref.Ref) bump.Hold { return bump.Hold{Image: image, Release: true} })
	cmd.Short, cmd.Long, cmd.Example = "Let an image be updated again that is held", releaseAbout+cmd.Long, releaseExamples
	return cmd
}

// holding is the command that does what of says with an image.
func holding(c *cli.Console, verb string, of func(image imageref.Ref) bump.Hold) *cobra.Command {
	var f jobFlags
	var job bump.Job
	var paths []string
	cmd := &cobra.Command{
		Use:  verb + " IMAGE",
		Long: "\n\n" + gitaccess.Environment + "\n" + cli.Exits(0, 1, 2, 3, 4, 5, 6, 10, 130),
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			image, err := repository(args[0])
			if err != nil {
				return err
			}
			hold := of(image)
			if err := hold.Check(); err != nil {
				return err
			}
			if job.Paths, err = limits(paths); err != nil {
				return err
			}
			job.Hold = &hold
			return f.run(cmd.Context(), c, verb, job)
		},
	}
	f.bindPlace(cmd.Flags())
	cmd.Flags().StringArrayVar(&paths, "path", nil, "limit the search to `PATH`, a file or folder below --root (repeatable)")
	bindApplications(cmd.Flags(), &job.Applications)
	bindInclude(cmd.Flags(), &job.Include)
	return cmd
}

// repository is the image that was typed.
func repository(typed string) (imageref.Ref, error) {
	ref, err := imageref.Parse(typed)
	if err != nil {
		return ref, fault.Usagef("for example: harbor.example.com/team/app", "%w", err)
	}
	return ref, nil
}

// became is what became of a place, for a person.
func became(h *bump.Hold, x bump.Change) string {
	if h == nil {
		return fmt.Sprintf("%s:%d %s -> %s", x.Site.File, x.Line, x.From, x.To)
	}
	return fmt.Sprintf("%s:%d %s %s", x.Site.File, x.Line, x.From, x.Why)
}
