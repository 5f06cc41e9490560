package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
)

// tagsDocument is the JSON document of tags; docs/json.md is its description.
type tagsDocument struct {
	Schema     string              `json:"schema"`
	Repository string              `json:"repository"`
	Strategy   policy.Strategy     `json:"strategy"`
	Tag        *string             `json:"tag"`
	Digest     *string             `json:"digest"`
	Why        string              `json:"why"`
	Considered int                 `json:"considered"`
	Candidates []candidateDocument `json:"candidates"`
	Failures   []failureDocument   `json:"failures"`
}

type candidateDocument struct {
	Tag    string  `json:"tag"`
	Digest *string `json:"digest"`
	Date   *string `json:"date"`
	DateOf *string `json:"date_of"`
}

// reportTags prints what was chosen, or why nothing could be.
func reportTags(c *cli.Console, f *tagsFlags, ref imageref.Ref, d policy.Decision, failed error) error {
	doc := tagsDocument{
		Schema: "imgbump/tags/v1", Repository: ref.String(), Strategy: f.rules.Strategy, Tag: known(d.Tag), Digest: known(d.Digest), Why: d.Why,
		Considered: d.Considered, Candidates: []candidateDocument{}, Failures: []failureDocument{},
	}
	if failed != nil {
		doc.Failures = append(doc.Failures, failureDocument{Image: doc.Repository, Error: failed.Error(), Hint: fault.HintOf(failed)})
		return c.Print(doc, "")
	}
	for _, b := range d.Bad {
		c.Warnf("", 0, "tag %s is left out: %v", b.Tag, b.Err)
		doc.Failures = append(doc.Failures, failureDocument{Image: doc.Repository + ":" + b.Tag, Error: b.Err.Error(), Hint: fault.HintOf(b.Err)})
	}
	for _, candidate := range d.Candidates {
		doc.Candidates = append(doc.Candidates, documentOf(candidate))
	}
	chosen := ref
	chosen.Tag, chosen.Digest = d.Tag, d.Digest
	head := "no tag of " + ref.String() + " fits"
	if d.Tag != "" {
		head = chosen.String()
	}
	text := head + "\n  " + d.Why + "\n" + candidateTable(c, d.Candidates, f.limit)
	summary := fmt.Sprintf("### Chosen tag\n\n%s: %s\n", code(head), code(d.Why))
	return cmp.Or(c.Print(doc, text), errors.Join(c.Workflow.Output("tag", d.Tag), c.Workflow.Output("digest", d.Digest), c.Workflow.Summary(summary)))
}

// known is a string that may not be known: nil for "".
func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func documentOf(candidate policy.Candidate) candidateDocument {
	d := candidateDocument{Tag: candidate.Name, Digest: known(candidate.Digest)}
	if !candidate.Made.IsZero() {
		d.Date, d.DateOf = known(candidate.Made.UTC().Format(time.RFC3339)), known("build")
		if candidate.Pushed {
			d.DateOf = known("push")
		}
	}
	return d
}

// candidateTable shows the first candidates; what is not known of any has no column.
func candidateTable(c *cli.Console, all []policy.Candidate, limit int) string {
	if len(all) == 0 {
		return ""
	}
	shown, more := all, ""
	if limit > 0 && len(all) > limit {
		shown, more = all[:limit], fmt.Sprintf("and %d more: --limit 0 shows all\n", len(all)-limit)
	}
	header := []cli.Cell{{Text: "CANDIDATE", Style: cli.Strong}}
	dated := slices.ContainsFunc(shown, func(c policy.Candidate) bool { return !c.Made.IsZero() })
	digested := slices.ContainsFunc(shown, func(c policy.Candidate) bool { return c.Digest != "" })
	if dated {
		header = append(header, cli.Cell{Text: "DATE", Style: cli.Strong})
	}
	if digested {
		header = append(header, cli.Cell{Text: "DIGEST", Style: cli.Strong})
	}
	rows := [][]cli.Cell{nil, header}
	for _, candidate := range shown {
		row := []cli.Cell{{Text: candidate.Name}}
		if dated {
			row = append(row, cli.Cell{Text: date(candidate)})
		}
		if digested {
			row = append(row, cli.Cell{Text: candidate.Digest, Style: cli.Faint})
		}
		rows = append(rows, row)
	}
	return c.Table(rows) + more
}

func date(c policy.Candidate) string {
	switch {
	case c.Made.IsZero():
		return ""
	case c.Pushed:
		return c.Made.UTC().Format(time.RFC3339) + " pushed"
	}
	return c.Made.UTC().Format(time.RFC3339)
}
