package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/folder"
	"github.com/spf13/cobra"
)

const configAbout = `imgbump.yaml, at the root of the manifests, says what imgbump may do to them: which images are held
back, which further fields name images, what is left alone. Everything works without it.

docs/config.md describes the file, and docs/imgbump.schema.json lets an editor help with it.`

const checkAbout = `Check imgbump.yaml, and print everything that is wrong with it, not only the first thing.

Without the file all is well. Keys that this version knows but does not follow yet are warned of.`

const checkExamples = `  # in the workflow of the repository that holds the manifests
  imgbump config check --root manifests`

func configCommand(c *cli.Console) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Check imgbump.yaml",
		Long:    configAbout,
		Example: checkExamples,
		Args:    cli.Args(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var root string
	check := &cobra.Command{
		Use:     "check",
		Short:   "Say everything that is wrong with imgbump.yaml",
		Long:    checkAbout + "\n\n" + cli.Exits(0, 1, 2, 7),
		Example: checkExamples,
		Args:    cli.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return checkConfig(cmd.Context(), c, root) },
	}
	check.Flags().StringVar(&root, "root", ".", "folder `DIR` that holds the file")
	cmd.AddCommand(check)
	return cmd
}

// configDocument is the JSON document of config check.
type configDocument struct {
	Schema   string            `json:"schema"`
	File     string            `json:"file"`
	Present  bool              `json:"present"`
	Problems []problemDocument `json:"problems"`
	Warnings []warningDocument `json:"warnings"`
}

type problemDocument struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
	Hint  string `json:"hint"`
}

type warningDocument struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

func checkConfig(ctx context.Context, c *cli.Console, root string) error {
	tree, err := folder.Open(root)
	if err != nil {
		return err
	}
	defer tree.Close()
	data, err := bump.FilesIn(ctx, tree).Config()
	if err != nil {
		return err
	}
	_, problems, unused := config.Parse(data)
	doc := configDocument{Schema: "imgbump/config-check/v1", File: config.Name, Present: data != nil, Problems: []problemDocument{}, Warnings: []warningDocument{}}
	for _, p := range problems {
		doc.Problems = append(doc.Problems, problemDocument{p.Line, p.Text, p.Hint})
		if c.Workflow.Active() {
			c.Workflow.Error(config.Name, p.Line, p.Text)
		}
	}
	for _, p := range unused {
		doc.Warnings = append(doc.Warnings, warningDocument{p.Line, p.Text})
		c.Warnf(config.Name, p.Line, "%s", p.Text)
	}
	if err := c.Print(doc, doc.text()); err != nil || len(problems) == 0 {
		return err
	}
	return &fault.Error{Kind: fault.Gate, Err: fmt.Errorf("%s: problems: %d", config.Name, len(problems))}
}

func (d configDocument) text() string {
	switch {
	case !d.Present:
		return d.File + ": there is none, and none is needed\n"
	case len(d.Problems) == 0:
		return d.File + ": ok\n"
	}
	var b strings.Builder
	for _, p := range d.Problems {
		fmt.Fprintf(&b, "%s: %s", config.Where(p.Line), p.Error)
		if p.Hint != "" {
			fmt.Fprintf(&b, " (%s)", p.Hint)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
