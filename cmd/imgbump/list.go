package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/folder"
	"github.com/spf13/cobra"
)

const listAbout = `List every place that names an image: file and line, reference, object, field and shape.

A place whose version an entry of a kustomization's images: decides is shown with that entry, and is
not judged by --duplicates, --latest, --no-digest and --fail-on: the entry is. Neither is a map of
Helm values without a tag, whose version the chart decides.

Where the tree declares Applications or ApplicationSets of Argo CD, each place is shown with those that
deploy it and their sync wave. They are read from Git alone: what a cluster, another repository or a
template decides is warned of, not guessed. --application shows one application's places.

--outdated asks the registries, and shows the places for which there is something newer: what the policy
of 'imgbump update' allows, and what there is at all. Of a place without a policy it is the newest version
of the same kind, as strategy suffix of 'imgbump tags' has it.

--fail-on makes it a check for pull requests: exit 7, with each place that does not pass.`

const listExamples = `  # every image below the current folder
  imgbump list

  # what runs in more than one version
  imgbump list --duplicates --root manifests

  # what one application runs
  imgbump list --application slack

  # what could be updated
  imgbump list --outdated

  # refuse a pull request that names a mutable tag
  imgbump list --fail-on latest`

// listFlags are the flags of list, as typed.
type listFlags struct {
	root   string
	paths  []string
	apps   []string
	only   map[bump.Trait]*bool
	failOn []string

	withIgnored bool
	include     bool
	outdated    bool
	registry    registryFlags
}

func listCommand(c *cli.Console) *cobra.Command {
	f := listFlags{only: map[bump.Trait]*bool{}}
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List every place that names an image",
		Long:    listAbout + "\n\n" + access.Environment + cacheEnvironment + "\n" + cli.Exits(0, 1, 2, 3, 4, 7, 130),
		Example: listExamples,
		Args:    cli.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), c) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.root, "root", ".", "folder `DIR` that holds the manifests")
	flags.StringArrayVar(&f.paths, "path", nil, "limit the search to `PATH`, a file or folder below --root (repeatable)")
	bindApplications(flags, &f.apps)
	for trait, usage := range map[bump.Trait]string{
		bump.Duplicates: "only repositories that are named in several versions, one after the other",
		bump.Latest:     "only what can change: the tag latest, or no version, and no digest",
		bump.NoDigest:   "only what is not pinned to a digest",
	} {
		f.only[trait] = flags.Bool(string(trait), false, usage)
	}
	flags.BoolVar(&f.outdated, "outdated", false, "only what a registry has newer versions of, with the newest that is allowed and the newest of all")
	bindGitignore(flags, &f.withIgnored)
	bindInclude(flags, &f.include)
	cli.Group(flags, "Registry (--outdated)", f.registry.bindSeveral)
	flags.StringSliceVar(&f.failOn, "fail-on", nil, "exit 7 when there is one of `TRAITS`: latest, no-digest, duplicates")
	return cmd
}

func (f listFlags) run(ctx context.Context, c *cli.Console) error {
	paths, err := limits(f.paths)
	if err != nil {
		return err
	}
	traits, err := parseTraits(f.failOn)
	if err != nil {
		return err
	}
	tree, err := folder.Open(f.root)
	if err != nil {
		return err
	}
	defer tree.Close()
	tree.WithIgnored = f.withIgnored
	job := bump.Job{Paths: paths, Include: f.include, Applications: f.apps, Place: placeOf(c, f.root, "origin")}
	if f.outdated {
		return f.compare(ctx, c, job, bump.FilesIn(ctx, tree))
	}
	all, err := job.List(ctx, bump.FilesIn(ctx, tree))
	if fault.KindOf(err) == fault.Usage {
		return err
	}
	refused := all.Refuse(traits)
	if err == nil {
		err = cmp.Or(gate(refused), all.Err())
	}
	shown := all
	for _, trait := range bump.Traits {
		if *f.only[trait] {
			shown = shown.With(trait)
		}
	}
	if printing := reportList(c, shown, *f.only[bump.Duplicates], refused, err); printing != nil {
		return printing
	}
	return err
}

// parseTraits reads what --fail-on names.
func parseTraits(names []string) ([]bump.Trait, error) {
	var traits []bump.Trait
	for _, name := range names {
		trait := bump.Trait(strings.TrimSpace(name))
		if err := trait.Check(); err != nil {
			return nil, fault.Usagef("for example: --fail-on latest,no-digest", "--fail-on: %w", err)
		}
		if !slices.Contains(traits, trait) {
			traits = append(traits, trait)
		}
	}
	return traits, nil
}

// gate is the error of places that do not pass --fail-on, or nil.
func gate(refused []bump.Violation) error {
	if len(refused) == 0 {
		return nil
	}
	var b strings.Builder
	for _, v := range refused {
		fmt.Fprintf(&b, "\n%s:%d: %s", v.File, v.Line, v.Text)
	}
	return &fault.Error{Kind: fault.Gate, Hint: refused[0].Hint(), Err: fmt.Errorf("%d found by --fail-on:%s", len(refused), b.String())}
}
