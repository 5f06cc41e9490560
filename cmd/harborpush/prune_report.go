package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/prune"
	"github.com/ksera524/imgbump/internal/retention"
)

// pruneDocument is the JSON document of prune; docs/json.md is its description.
type pruneDocument struct {
	Schema    string              `json:"schema"`
	DryRun    bool                `json:"dry_run"`
	Project   string              `json:"project"`
	Artifacts []prunedDocument    `json:"artifacts"`
	Removed   int                 `json:"removed"`
	Garbage   *collectionDocument `json:"garbage_collection"`
	Failures  []failureDocument   `json:"failures"`
}

type prunedDocument struct {
	Repository string   `json:"repository"`
	Digest     string   `json:"digest"`
	Tags       []string `json:"tags"`
	Children   []string `json:"children"`
	Pushed     string   `json:"pushed"`
	Size       int64    `json:"size"`
	Action     string   `json:"action"`
	Why        string   `json:"why"`
	Removed    bool     `json:"removed"`
}

type collectionDocument struct {
	ID         string `json:"id"`
	BytesFreed int64  `json:"bytes_freed"`
	Blobs      int    `json:"blobs"`
	Manifests  int    `json:"manifests"`
}

func (p *pruning) document(failed error) pruneDocument {
	d := pruneDocument{Schema: "harborpush/prune/v1", DryRun: !p.apply, Project: p.project, Artifacts: []prunedDocument{}, Removed: p.result.Removed, Failures: []failureDocument{}}
	for _, o := range p.result.Outcomes {
		d.Artifacts = append(d.Artifacts, prunedDocument{
			Repository: o.Repository, Digest: o.Digest, Tags: tagList(o.Tags), Children: append([]string{}, o.Children...),
			Pushed: o.Pushed.UTC().Format(time.RFC3339), Size: o.Size, Action: action(o), Why: o.Why, Removed: o.Gone,
		})
	}
	if g := p.collected; g != nil {
		d.Garbage = &collectionDocument{ID: g.ID, BytesFreed: g.Freed, Blobs: g.Blobs, Manifests: g.Manifests}
	}
	if failed != nil {
		d.Failures = append(d.Failures, failureDocument{Error: failed.Error(), Hint: fault.HintOf(failed)})
	}
	return d
}

func action(o *prune.Outcome) string {
	if o.Keep {
		return "keep"
	}
	return "remove"
}

func tagList(tags []retention.Tag) []string {
	all := []string{}
	for _, t := range tags {
		all = append(all, t.Name)
	}
	return all
}

// report prints what becomes of each image, writes it into the step's summary, and returns the error that the command
// ends with.
func (p *pruning) report(c *cli.Console, failed error) error {
	if fault.KindOf(failed) == fault.Usage {
		return failed
	}
	var summary error
	text := ""
	if len(p.result.Outcomes) > 0 {
		summary, text = c.Workflow.Summary(p.summary()), p.text(c)
	} else if failed == nil {
		c.Progressf("%s holds no images", p.project)
	}
	printing := c.Print(p.document(failed), text)
	return cmp.Or(failed, printing, summary)
}

// total is what goes and what stays in one line.
func (p *pruning) total() string {
	going := p.result.Going()
	var bytes int64
	for _, o := range going {
		bytes += o.Size
	}
	verb := "would go"
	if p.apply {
		verb = "are gone"
		if p.result.Removed < len(going) {
			verb = fmt.Sprintf("should go, %d are gone", p.result.Removed)
		}
	}
	line := fmt.Sprintf("%d of %d images %s (%s, layers shared with others included)", len(going), len(p.result.Outcomes), verb, size(bytes))
	if g := p.collected; g != nil {
		line += fmt.Sprintf("; garbage collection %s freed %s: %d blobs, %d manifests", g.ID, size(g.Freed), g.Blobs, g.Manifests)
	}
	if !p.apply && len(going) > 0 {
		line += "; --apply removes them"
	}
	return line
}

// text is a table of all images, those that go first shown as such.
func (p *pruning) text(c *cli.Console) string {
	rows := [][]cli.Cell{{{Text: "", Style: cli.Strong}, {Text: "REPOSITORY", Style: cli.Strong}, {Text: "TAGS", Style: cli.Strong},
		{Text: "DIGEST", Style: cli.Strong}, {Text: "PUSHED", Style: cli.Strong}, {Text: "SIZE", Style: cli.Strong}, {Text: "WHY", Style: cli.Strong}}}
	for _, o := range p.result.Outcomes {
		style := cli.Plain
		if !o.Keep {
			style = cli.Alert
		}
		rows = append(rows, []cli.Cell{{Text: action(o), Style: style}, {Text: o.Repository}, {Text: o.TagNames()}, {Text: retention.Brief(o.Digest), Style: cli.Faint},
			{Text: o.Pushed.UTC().Format(time.DateOnly)}, {Text: size(o.Size)}, {Text: o.Why, Style: cli.Faint}})
	}
	return c.Table(rows) + p.total() + "\n"
}

// summary is what goes, as Markdown.
func (p *pruning) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Images of `%s`\n\n%s\n\n", p.project, p.total())
	going := p.result.Going()
	if len(going) == 0 {
		return b.String()
	}
	b.WriteString("| Repository | Tags | Digest | Pushed |\n| --- | --- | --- | --- |\n")
	for i, o := range going {
		if i == maxRows {
			fmt.Fprintf(&b, "\nand %d more\n", len(going)-maxRows)
			break
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(o.Repository), cell(o.TagNames()), cell(retention.Brief(o.Digest)), o.Pushed.UTC().Format(time.DateOnly))
	}
	return b.String()
}
