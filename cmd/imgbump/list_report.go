package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// listDocument is the JSON document of list; docs/json.md is its description.
type listDocument struct {
	Schema   string            `json:"schema"`
	Sites    []siteDocument    `json:"sites"`
	Skipped  []skippedDocument `json:"skipped"`
	Failures []failureDocument `json:"failures"`
}

type siteDocument struct {
	File        string          `json:"file"`
	Line        int             `json:"line"`
	Field       string          `json:"field"`
	Shape       manifest.Shape  `json:"shape"`
	Object      manifest.Object `json:"object"`
	Application string          `json:"application"`
	Wave        *int            `json:"wave"`
	Revision    string          `json:"revision"`
	Reference   string          `json:"reference"`
	Registry    string          `json:"registry"`
	Repository  string          `json:"repository"`
	Tag         string          `json:"tag"`
	Digest      string          `json:"digest"`
	SetBy       string          `json:"set_by"`
	Hold        string          `json:"hold"`

	Outdated *outdatedDocument `json:"outdated,omitempty"` // with --outdated
}

// reportList prints the listing and what the gate refused, and tells the workflow around it.
func reportList(c *cli.Console, l bump.Listing, grouped bool, refused []bump.Violation, failed error) error {
	tellPlaces(c, l.Warnings, l.Skipped, l.Failures)
	for _, v := range refused {
		if c.Workflow.Active() {
			c.Workflow.Error(v.File, v.Line, v.Text+"\n"+v.Hint())
		}
	}
	if err := c.Print(listed(l, refused, failed), c.Table(rows(l, grouped))); err != nil {
		return err
	}
	images := map[string]bool{}
	for _, s := range l.Sites {
		images[s.Ref.Canonical()] = true
	}
	c.Progressf("places: %d, images: %d", len(l.Sites), len(images))
	return c.Workflow.Summary(listSummary(l, refused))
}

// rows are the table of a listing: a header, then a line for each site; grouped, with an empty line between repositories.
func rows(l bump.Listing, grouped bool) [][]cli.Cell {
	if len(l.Sites) == 0 {
		return nil
	}
	var table [][]cli.Cell
	header := []cli.Cell{}
	titles := []string{"PLACE", "IMAGE", "OBJECT", "SHAPE", "FIELD", "NOTE"}
	deployed := slices.ContainsFunc(l.Sites, func(s bump.Listed) bool { return len(s.Owners) > 0 })
	if deployed {
		titles = slices.Insert(titles, 2, "APPLICATION", "WAVE")
	}
	for _, title := range titles {
		header = append(header, cli.Cell{Text: title, Style: cli.Strong})
	}
	table = append(table, header)
	for i, s := range l.Sites {
		if grouped && i > 0 && !s.Ref.Same(l.Sites[i-1].Ref) {
			table = append(table, nil)
		}
		image := cli.Cell{Text: s.Brief()}
		switch {
		case s.SetBy != "":
			image.Style = cli.Faint
		case s.Mutable():
			image.Style = cli.Alert
		}
		row := []cli.Cell{
			{Text: fmt.Sprintf("%s:%d", s.File, s.Line)}, image, {Text: objectName(s.Object)},
			{Text: string(s.Shape), Style: cli.Faint}, {Text: s.Field}, {Text: note(s), Style: cli.Faint},
		}
		if deployed {
			row = slices.Insert(row, 2, cli.Cell{Text: few(s.Application())}, cli.Cell{Text: distinct(s.Owners, wave)})
		}
		table = append(table, row)
	}
	return table
}

// objectName is an object as kubectl's users name it: Deployment sandbox/slack.
func objectName(o manifest.Object) string {
	name := o.Name
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	return strings.TrimSpace(cmp.Or(o.Kind, "-") + " " + name)
}

// note says why the site's own version does not count, or must not change.
func note(s bump.Listed) string {
	var notes []string
	if s.SetBy != "" {
		notes = append(notes, "set by "+s.SetBy)
	}
	if s.Hold != "" {
		notes = append(notes, "held: "+s.Hold)
	}
	return strings.Join(notes, "; ")
}

func listed(l bump.Listing, refused []bump.Violation, failed error) listDocument {
	d := listDocument{Schema: "imgbump/list/v1", Sites: []siteDocument{}, Skipped: []skippedDocument{}, Failures: []failureDocument{}}
	for _, s := range l.Sites {
		registry, repository, _ := strings.Cut(s.Ref.Canonical(), "/")
		site := siteDocument{
			File: s.File, Line: s.Line, Field: s.Field, Shape: s.Shape, Object: s.Object, Application: s.Application(),
			Reference: s.Ref.String(), Registry: registry, Repository: repository, Tag: s.Ref.Tag, Digest: s.Ref.Digest,
			SetBy: s.SetBy, Hold: s.Hold,
		}
		if len(s.Owners) > 0 {
			site.Wave, site.Revision = &s.Owners[0].Wave, distinct(s.Owners, revision)
		}
		d.Sites = append(d.Sites, site)
	}
	for _, x := range l.Skipped {
		d.Skipped = append(d.Skipped, skippedDocument{File: x.File, Line: x.Line, Reason: x.Reason})
	}
	for _, x := range l.Failures {
		d.Failures = append(d.Failures, failureDocument{Image: x.Image, File: x.File, Line: x.Line, Error: x.Err.Error(), Hint: fault.HintOf(x.Err)})
	}
	for _, v := range refused {
		d.Failures = append(d.Failures, failureDocument{Image: v.Ref.String(), Error: fmt.Sprintf("%s:%d: %s", v.File, v.Line, v.Text), Hint: v.Hint()})
	}
	if failed != nil && len(d.Failures) == 0 {
		d.Failures = append(d.Failures, failureDocument{Error: failed.Error(), Hint: fault.HintOf(failed)})
	}
	return d
}

// listSummary is the step summary: how much there is, and what the gate refused.
func listSummary(l bump.Listing, refused []bump.Violation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Images\n\nPlaces that name an image: %d\n", len(l.Sites))
	if len(refused) > 0 {
		b.WriteString("\n| Where | What |\n| --- | --- |\n")
	}
	for _, v := range refused {
		fmt.Fprintf(&b, "| %s | %s |\n", code(fmt.Sprintf("%s:%d", v.File, v.Line)), code(v.Text))
	}
	return b.String()
}
