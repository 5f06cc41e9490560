package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/registry/harbor"
)

// scanDocument is the JSON document of scan; docs/json.md is its description.
type scanDocument struct {
	Schema          string                  `json:"schema"`
	Reference       string                  `json:"reference"`
	Digest          string                  `json:"digest"`
	Scanner         string                  `json:"scanner"`
	Generated       string                  `json:"generated"`
	Severity        string                  `json:"severity"`
	Counts          map[string]int          `json:"counts"`
	Fixable         int                     `json:"fixable"`
	Vulnerabilities []vulnerabilityDocument `json:"vulnerabilities"`
	Failures        []failureDocument       `json:"failures"`
}

type vulnerabilityDocument struct {
	ID          string   `json:"id"`
	Severity    string   `json:"severity"`
	Package     string   `json:"package"`
	Version     string   `json:"version"`
	FixVersion  string   `json:"fix_version"`
	Score       float64  `json:"score"`
	Description string   `json:"description"`
	Links       []string `json:"links"`
	Ignored     bool     `json:"ignored"`
}

func (s *scan) document(failed error) scanDocument {
	d := scanDocument{
		Schema: "harborpush/scan/v1", Reference: s.ref.String(), Digest: s.artifact.Digest, Scanner: s.found.Scanner,
		Counts: map[string]int{}, Vulnerabilities: []vulnerabilityDocument{}, Failures: []failureDocument{},
	}
	if s.done {
		d.Generated = s.found.Generated.UTC().Format(time.RFC3339)
		d.Severity = "None"
	}
	counts := s.counts()
	for _, severity := range harbor.Severities {
		if n := counts[severity]; n > 0 {
			d.Counts[string(severity)] = n
			if d.Severity == "None" {
				d.Severity = string(severity)
			}
		}
	}
	for _, v := range s.found.Vulnerabilities {
		if v.Fixed != "" && !s.ignores(v) {
			d.Fixable++
		}
		d.Vulnerabilities = append(d.Vulnerabilities, vulnerabilityDocument{
			ID: v.ID, Severity: string(v.Severity), Package: v.Package, Version: v.Version, FixVersion: v.Fixed, Score: v.Score,
			Description: v.Description, Links: append([]string{}, v.Links...), Ignored: s.ignores(v),
		})
	}
	if failed != nil {
		d.Failures = append(d.Failures, failureDocument{Error: failed.Error(), Hint: fault.HintOf(failed)})
	}
	return d
}

// total is the findings in one line: "3 found: 1 critical, 2 low; 1 can be fixed; 1 ignored".
func (s *scan) total() string {
	d := s.document(nil)
	var parts []string
	counted := 0
	for _, severity := range harbor.Severities {
		if n := d.Counts[string(severity)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ToLower(string(severity))))
			counted += n
		}
	}
	if counted == 0 {
		parts = []string{"nothing that counts"}
	}
	line := fmt.Sprintf("%d found: %s", counted, strings.Join(parts, ", "))
	if d.Fixable > 0 {
		line += fmt.Sprintf("; %d can be fixed", d.Fixable)
	}
	if ignored := len(s.found.Vulnerabilities) - counted; ignored > 0 {
		line += fmt.Sprintf("; %d ignored", ignored)
	}
	return line
}

// text is the findings as a table.
func (s *scan) text(c *cli.Console) string {
	if len(s.found.Vulnerabilities) == 0 {
		return "nothing found\n"
	}
	rows := [][]cli.Cell{{{Text: "SEVERITY", Style: cli.Strong}, {Text: "ID", Style: cli.Strong}, {Text: "PACKAGE", Style: cli.Strong},
		{Text: "VERSION", Style: cli.Strong}, {Text: "FIXED IN", Style: cli.Strong}, {Text: ""}}}
	for _, v := range s.found.Vulnerabilities {
		style, note := cli.Plain, ""
		switch {
		case s.ignores(v):
			style, note = cli.Faint, "ignored"
		case v.Severity.AtLeast("High"):
			style = cli.Alert
		}
		rows = append(rows, []cli.Cell{{Text: string(v.Severity), Style: style}, {Text: v.ID}, {Text: v.Package}, {Text: v.Version}, {Text: cmp.Or(v.Fixed, "-")}, {Text: note, Style: cli.Faint}})
	}
	return c.Table(rows) + s.total() + "\n"
}

// maxRows is how many findings the step's summary shows.
const maxRows = 100

// summary is the findings as Markdown.
func (s *scan) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Vulnerabilities of `%s`\n\n%s, by %s ([in Harbor](%s))\n\n", s.ref, s.total(), cell(s.found.Scanner), s.page)
	if len(s.found.Vulnerabilities) == 0 {
		return b.String()
	}
	b.WriteString("| Severity | Vulnerability | Package | Version | Fixed in |\n| --- | --- | --- | --- | --- |\n")
	for i, v := range s.found.Vulnerabilities {
		if i == maxRows {
			fmt.Fprintf(&b, "\nand %d more\n", len(s.found.Vulnerabilities)-maxRows)
			break
		}
		note := ""
		if s.ignores(v) {
			note = " (ignored)"
		}
		fmt.Fprintf(&b, "| %s%s | %s | %s | %s | %s |\n", v.Severity, note, cell(v.ID), cell(v.Package), cell(v.Version), cell(cmp.Or(v.Fixed, "-")))
	}
	return b.String()
}

// cell is text for a Markdown table: what a scanner or a server says must not become markup.
func cell(s string) string {
	if s = strings.NewReplacer("|", "", "`", "", "\n", " ", "\r", " ").Replace(s); s == "" {
		return ""
	}
	return "`" + s + "`"
}
