package main

import (
	"cmp"
	"context"
	"fmt"
	"html"
	"strings"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/diagram"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/folder"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/spf13/cobra"
)

const graphAbout = `Show which Argo CD application creates which, with sync waves and images, and what looks wrong.

The Applications and ApplicationSets are read from the files below --root; no cluster is asked. An
application creates another when it deploys the file that declares that one.

Warned of are: a folder or a file of Helm values that is not there; several applications that deploy
the same; sync waves that do not order what they seem to; a targetRevision that is not the branch; an
image that can change without a commit although the application is synced automatically. They are
comments on the manifests and do not fail the command.`

const graphExamples = `  # the tree, and what looks wrong
  imgbump graph --root manifests

  # a picture for a browser; a diagram for a README
  imgbump graph --format svg > applications.svg
  imgbump graph --format mermaid`

// graphFlags are the flags of graph, as typed.
type graphFlags struct {
	root, branch string
	images       bool
}

func graphCommand(c *cli.Console) *cobra.Command {
	var f graphFlags
	cmd := &cobra.Command{
		Use:     "graph",
		Short:   "Show the tree of Argo CD applications, and what looks wrong",
		Long:    graphAbout + "\n\n" + cli.Exits(0, 1, 2, 3, 130),
		Example: graphExamples,
		Args:    cli.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), c) },
	}
	cli.Formats(cmd, "mermaid", "dot", "svg")
	flags := cmd.Flags()
	flags.StringVar(&f.root, "root", ".", "folder `DIR` that holds the manifests")
	flags.StringVar(&f.branch, "branch", "", "`BRANCH` that changes are pushed to (default: a pull request's base, else what is checked out)")
	flags.BoolVar(&f.images, "images", true, "show the images that each application deploys")
	return cmd
}

func (f graphFlags) run(ctx context.Context, c *cli.Console) error {
	tree, err := folder.Open(f.root)
	if err != nil {
		return err
	}
	defer tree.Close()
	branch := cmp.Or(f.branch, c.Getenv("GITHUB_BASE_REF"), checkedOut(c, f.root))
	g, err := bump.Job{Place: placeOf(c, f.root, "origin")}.Graph(ctx, bump.FilesIn(ctx, tree), branch)
	if fault.KindOf(err) == fault.Usage {
		return err
	}
	err = cmp.Or(err, g.Err())
	tellPlaces(c, g.Warnings, nil, g.Failures)
	if printing := f.print(c, g, err); printing != nil {
		return printing
	}
	return err
}

// checkedOut is the branch of the checkout that a folder is in, "" without one.
func checkedOut(c *cli.Console, dir string) string {
	checkout, err := repo.Open(dir, repo.Options{Getenv: c.Getenv})
	if err != nil {
		return ""
	}
	defer checkout.Close()
	return checkout.CheckedOut()
}

func (f graphFlags) print(c *cli.Console, g bump.Graph, failed error) error {
	d := f.drawn(g)
	text := ""
	switch c.Format() {
	case "mermaid":
		if text = d.Mermaid(); !d.MermaidFits() {
			c.Warnf("", 0, "GitHub draws diagrams of at most %d characters and %d arrows: see --images=false, --root and --format svg",
				diagram.MermaidCharacters, diagram.MermaidArrows)
		}
	case "dot":
		text = d.Dot()
	case "svg":
		text = d.SVG()
	default:
		text = outline(d)
	}
	if err := c.Print(graphed(g, failed), text); err != nil {
		return err
	}
	c.Progressf("applications: %d, warnings: %d", len(g.Applications), len(g.Warnings))
	if len(g.Applications) == 0 {
		return nil
	}
	return c.Workflow.Summary("### Argo CD applications\n\n" + f.summarised(g))
}

// summarised is the graph as Markdown that GitHub shows: a diagram, without images when there are too many of them, else text.
func (f graphFlags) summarised(g bump.Graph) string {
	for _, images := range []bool{f.images, false} {
		if d := (graphFlags{images: images}).drawn(g); d.MermaidFits() {
			return "```mermaid\n" + d.Mermaid() + "```\n"
		}
	}
	return "<pre>" + html.EscapeString(outline(f.drawn(g))) + "</pre>\n"
}

// drawn is the graph as a diagram. What there are warnings about stands out.
func (f graphFlags) drawn(g bump.Graph) diagram.Diagram {
	d := diagram.Diagram{Title: "Argo CD applications"}
	for n, a := range g.Applications {
		box := diagram.Box{Title: a.Name, Tag: tagOf(a), Alert: a.Doubted}
		for _, s := range a.Images {
			if f.images {
				box.Lines = append(box.Lines, s.Brief())
			}
		}
		d.Boxes = append(d.Boxes, box)
		for _, parent := range a.Parents {
			d.Arrows = append(d.Arrows, diagram.Arrow{From: parent, To: n})
		}
	}
	return d
}

// tagOf is what to know of an application beside its name: the wave that it is in, and that nothing is synced by itself.
func tagOf(a bump.Deployment) string {
	var tags []string
	if a.Wave != 0 {
		tags = append(tags, fmt.Sprintf("wave %d", a.Wave))
	}
	if !a.Automated {
		tags = append(tags, "synced by hand")
	}
	return strings.Join(tags, ", ")
}

// outline is a diagram as an indented list.
func outline(d diagram.Diagram) string {
	var b strings.Builder
	for at, box := range d.Outline() {
		indent := strings.Repeat("  ", at.Depth)
		again := ""
		if at.Again && len(box.Lines) > 0 {
			again = "  ..."
		}
		fmt.Fprintf(&b, "%s%s%s\n", indent, strings.TrimSpace(box.Title+"  "+box.Tag), again)
		for _, line := range box.Lines {
			if !at.Again {
				fmt.Fprintf(&b, "%s    %s\n", indent, line)
			}
		}
	}
	return b.String()
}

// graphDocument is imgbump/graph/v1.
type graphDocument struct {
	Schema       string                `json:"schema"`
	WavesWait    bool                  `json:"waves_wait"`
	Applications []applicationDocument `json:"applications"`
	Warnings     []placeDocument       `json:"warnings"`
	Failures     []failureDocument     `json:"failures"`
}

type applicationDocument struct {
	Name      string           `json:"name"`
	Namespace string           `json:"namespace,omitempty"`
	Project   string           `json:"project"`
	Wave      int              `json:"wave"`
	Automated bool             `json:"automated"`
	Prune     bool             `json:"prune"`
	SelfHeal  bool             `json:"self_heal"`
	Cluster   string           `json:"cluster,omitempty"`
	Into      string           `json:"into,omitempty"`
	Set       string           `json:"application_set,omitempty"`
	File      string           `json:"file"`
	Line      int              `json:"line"`
	Sources   []sourceDocument `json:"sources"`
	Parents   []string         `json:"parents"`
	Doubted   bool             `json:"doubted"`
	Images    []string         `json:"images"`
}

type sourceDocument struct {
	Repository string `json:"repository"`
	Revision   string `json:"revision"`
	Path       string `json:"path,omitempty"`
	Chart      string `json:"chart,omitempty"`
}

type placeDocument struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

func graphed(g bump.Graph, failed error) graphDocument {
	d := graphDocument{Schema: "imgbump/graph/v1", WavesWait: g.WavesWait, Applications: []applicationDocument{}, Warnings: []placeDocument{}, Failures: []failureDocument{}}
	for _, a := range g.Applications {
		doc := applicationDocument{Name: a.Name, Namespace: a.Namespace, Project: a.Project, Wave: a.Wave, Automated: a.Automated,
			Prune: a.Prune, SelfHeal: a.SelfHeal, Cluster: a.Cluster, Into: a.Into, Set: a.Set, Doubted: a.Doubted, File: a.File, Line: a.Line, Sources: []sourceDocument{}, Parents: []string{}, Images: []string{}}
		for _, s := range a.Images {
			doc.Images = append(doc.Images, s.Ref.String())
		}
		for _, s := range a.Sources {
			doc.Sources = append(doc.Sources, sourceDocument{s.Repository, s.Revision, s.Path, s.Chart})
		}
		for _, parent := range a.Parents {
			doc.Parents = append(doc.Parents, g.Applications[parent].Qualified())
		}
		d.Applications = append(d.Applications, doc)
	}
	for _, w := range g.Warnings {
		d.Warnings = append(d.Warnings, placeDocument(w))
	}
	for _, x := range g.Failures {
		d.Failures = append(d.Failures, failureDocument{Image: x.Image, Error: x.Err.Error(), Hint: fault.HintOf(x.Err)})
	}
	if failed != nil && len(d.Failures) == 0 {
		d.Failures = append(d.Failures, failureDocument{Error: failed.Error(), Hint: fault.HintOf(failed)})
	}
	return d
}
