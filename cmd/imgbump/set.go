package main

import (
	"errors"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/gitaccess"
	"github.com/spf13/cobra"
)

const setAbout = `Make every place that names an image name another version of it.

REF is a repository with a tag, a digest or both; what it says is what gets written. OLD=REF also
matches OLD's repository and replaces it, as 'kustomize edit set image' does.

Without --commit or --push, files below --root are edited in place. --commit commits the edits
upon HEAD. --push decides on the tip of the remote's branch, whatever is checked out, and pushes
one commit; nothing else that is local goes along. When somebody else was first, the edits are
decided on again, never merged. --pr does the same on a branch of its own, and opens a pull request
on GitHub or brings the open one up to date.

--pin, --check-exists and --if-newer ask the registry. --if-newer keeps a run that was overtaken from
rolling an image back: it compares when the two images were made (org.opencontainers.image.created,
else the date in their configuration), else their tags as semantic versions; where neither tells, it
warns and replaces the image.`

const setEnvironment = gitaccess.Environment + `  HARBOR_URL     the registry that the login is for (default: that of the first image that is named with a host)
  HARBOR_USERNAME, HARBOR_PASSWORD
                 its login; other registries get what Docker's configuration (DOCKER_CONFIG) has
`

const setExamples = `  # edit the files below the current folder, and look at the diff first
  imgbump set harbor.example.com/team/app:1.2.3 --dry-run
  imgbump set harbor.example.com/team/app:1.2.3

  # pin a tag together with its digest, commit and push
  imgbump set harbor.example.com/team/app:1.2.3@sha256:4bcf... --push

  # let the registry tell the digest, and do not roll back what a later run has set
  imgbump set harbor.example.com/team/app:1.2.3 --pin both --if-newer --push

  # propose it instead
  imgbump set harbor.example.com/team/app:1.2.3 --pr --branch main

  # move an image to another registry
  imgbump set docker.io/library/redis=harbor.example.com/mirror/redis:7.4.1`

func setCommand(c *cli.Console) *cobra.Command {
	var f jobFlags
	var job bump.Job
	var paths []string
	cmd := &cobra.Command{
		Use:        "set [OLD=]REF...",
		Short:      "Make the manifests name this version of an image",
		SuggestFor: []string{"edit", "bump"}, // kustomize edit set image
		Long:       setAbout + "\n\n" + setEnvironment + "\n" + cli.Exits(0, 1, 2, 3, 4, 5, 6, 10, 130),
		Example:    setExamples,
		Args:       cli.Args(someImage),
		RunE: func(cmd *cobra.Command, args []string) error {
			images, err := bump.ParseImages(args)
			if err != nil {
				return err
			}
			if paths, err = limits(paths); err != nil {
				return err
			}
			job.Images, job.Paths = images, paths
			return f.run(cmd.Context(), c, "set", job)
		},
	}
	f.bind(cmd.Flags())
	f.registry.bind(cmd.Flags())
	cmd.Flags().StringArrayVar(&paths, "path", nil, "limit the search to `PATH`, a file or folder below --root (repeatable)")
	bindApplications(cmd.Flags(), &job.Applications)
	bindInclude(cmd.Flags(), &job.Include)
	cmd.Flags().BoolVar(&job.VersionLabel, "version-label", false, "let the label app.kubernetes.io/version of the same object follow the tag")
	cmd.Flags().BoolVar(&job.KustomizeAdd, "kustomize-add", false, "leave resources alone that kustomizations build from, and add an entry to images: there (with --path: of those alone)")
	return cmd
}

func someImage(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("name at least one image")
	}
	return nil
}
