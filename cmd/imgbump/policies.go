package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/folder"
	"github.com/ksera524/imgbump/internal/policy"
	"github.com/ksera524/imgbump/internal/timespan"
	"github.com/spf13/cobra"
)

const policiesAbout = `List the policies by which 'imgbump update' chooses versions: where each is written, which places it is
for, and what of it is not followed, with the reason. No registry is asked.

Where several policies could be for one place, a comment goes before imgbump.yaml, and that before what is
written for Flux and for Argo CD Image Updater.`

const policiesExamples = `  # before the first update
  imgbump policies

  # in a script
  imgbump policies --format json | jq '.policies[] | select(.unsupported != "")'`

// policiesFlags are the flags of policies, as typed.
type policiesFlags struct {
	root        string
	paths       []string
	apps        []string
	withIgnored bool
	include     bool
}

func policiesCommand(c *cli.Console) *cobra.Command {
	var f policiesFlags
	cmd := &cobra.Command{
		Use:     "policies",
		Short:   "List the policies by which versions are chosen",
		Long:    policiesAbout + "\n\n" + cli.Exits(0, 1, 2, 3, 130),
		Example: policiesExamples,
		Args:    cli.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), c) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.root, "root", ".", "folder `DIR` that holds the manifests")
	flags.StringArrayVar(&f.paths, "path", nil, "limit the places to those below `PATH`, a file or folder below --root (repeatable)")
	bindApplications(flags, &f.apps)
	bindGitignore(flags, &f.withIgnored)
	bindInclude(flags, &f.include)
	return cmd
}

func (f policiesFlags) run(ctx context.Context, c *cli.Console) error {
	paths, err := limits(f.paths)
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
	found, err := job.Policies(ctx, bump.FilesIn(ctx, tree))
	if err != nil {
		return err
	}
	return cmp.Or(reportPolicies(c, found), found.Err())
}

// policiesDocument is the JSON document of policies; docs/json.md is its description.
type policiesDocument struct {
	Schema   string            `json:"schema"`
	Policies []policyDocument  `json:"policies"`
	Failures []failureDocument `json:"failures"`
}

type policyDocument struct {
	Image       string             `json:"image"`
	Origin      config.Origin      `json:"origin"`
	File        string             `json:"file"`
	Line        int                `json:"line"`
	Name        string             `json:"name"`
	Application string             `json:"application"`
	Strategy    policy.Strategy    `json:"strategy"`
	Constraint  string             `json:"constraint"`
	AllowTags   string             `json:"allow_tags"`
	IgnoreTags  []string           `json:"ignore_tags"`
	Extract     string             `json:"extract"`
	Platforms   []string           `json:"platforms"`
	PreRelease  bool               `json:"pre_release"`
	Order       string             `json:"order"`
	MinAge      string             `json:"min_age"`
	WriteBack   *writeBackDocument `json:"write_back"`
	Places      []governedDocument `json:"places"`
	Unsupported string             `json:"unsupported"`
	Notices     []noticeDocument   `json:"notices"`
}

type writeBackDocument struct {
	Kind config.WriteBackKind `json:"kind"`
	File string               `json:"file"`
}

type governedDocument struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Reference string `json:"reference"`
}

type noticeDocument struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

// reportPolicies prints the policies, and warns of what is not followed.
func reportPolicies(c *cli.Console, found bump.Policies) error {
	tellPlaces(c, found.Warnings, nil, found.Failures)
	doc := policiesDocument{Schema: "imgbump/policies/v1", Policies: []policyDocument{}, Failures: []failureDocument{}}
	header := []cli.Cell{}
	for _, title := range []string{"POLICY", "IMAGE", "STRATEGY", "PLACES", "NOTE"} {
		header = append(header, cli.Cell{Text: title, Style: cli.Strong})
	}
	table := [][]cli.Cell{header}
	for _, g := range found.Governed {
		doc.Policies = append(doc.Policies, policyOf(g))
		table = append(table, policyRow(g))
		for _, n := range g.Notices {
			c.Warnf(n.File, n.Line, "%s", n.Text)
		}
	}
	for _, f := range found.Failures {
		doc.Failures = append(doc.Failures, failureDocument{Image: f.Image, File: f.File, Line: f.Line, Error: f.Err.Error(), Hint: fault.HintOf(f.Err)})
	}
	if len(found.Governed) == 0 {
		c.Progressf("no policy says how versions are chosen")
		return c.Print(doc, "")
	}
	return c.Print(doc, c.Table(table))
}

func policyRow(g bump.Governed) []cli.Cell {
	strategy := strings.TrimSpace(string(g.Rules.Strategy) + " " + g.Rules.Constraint)
	if g.Rules.AllowTags != "" {
		strategy += " of " + g.Rules.AllowTags
	}
	var places []string
	for _, s := range g.Sites[:min(len(g.Sites), placesShown)] {
		places = append(places, config.Notice{File: s.File, Line: s.Line}.Where())
	}
	if more := len(g.Sites) - placesShown; more > 0 {
		places = append(places, fmt.Sprintf("%d more", more))
	}
	var notes []string
	if g.Unsupported != "" {
		notes = append(notes, "not followed: "+g.Unsupported)
	}
	if g.WriteBack != nil {
		notes = append(notes, "written to "+g.WriteBack.File)
	}
	return []cli.Cell{
		{Text: g.Where()}, {Text: g.Image.Name()}, {Text: strategy}, {Text: cmp.Or(strings.Join(places, ", "), "none")},
		{Text: strings.Join(notes, "; "), Style: cli.Faint},
	}
}

// placesShown is how many places of a policy the table names.
const placesShown = 3

func policyOf(g bump.Governed) policyDocument {
	d := policyDocument{
		Image: g.Image.Name(), Origin: g.Origin, File: g.File, Line: g.Line, Name: g.Name, Application: g.Scope.Application,
		Strategy: g.Rules.Strategy, Constraint: g.Rules.Constraint, AllowTags: g.Rules.AllowTags, IgnoreTags: list(g.Rules.IgnoreTags),
		Extract: g.Rules.Extract, Platforms: list(g.Rules.Platforms), PreRelease: g.Rules.PreReleases, Order: "asc",
		Places: []governedDocument{}, Unsupported: g.Unsupported, Notices: []noticeDocument{},
	}
	if g.Rules.Descending {
		d.Order = "desc"
	}
	if g.Rules.MinAge > 0 {
		d.MinAge = timespan.Format(g.Rules.MinAge)
	}
	if w := g.WriteBack; w != nil {
		d.WriteBack = &writeBackDocument{Kind: w.Kind, File: w.File}
	}
	for _, s := range g.Sites {
		d.Places = append(d.Places, governedDocument{File: s.File, Line: s.Line, Reference: s.Ref.String()})
	}
	for _, n := range g.Notices {
		d.Notices = append(d.Notices, noticeDocument(n))
	}
	return d
}

// list is values as JSON has them: never null.
func list(values []string) []string { return append([]string{}, values...) }
