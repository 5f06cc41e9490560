package main

import (
	"fmt"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/rollout"
	"github.com/ksera524/imgbump/internal/vigil"
)

// waitDocument is imgbump/wait/v1; docs/json.md is its description.
type waitDocument struct {
	Schema       string           `json:"schema"`
	Revision     string           `json:"revision"`
	Live         bool             `json:"live"`
	Applications []waitedDocument `json:"applications"`
	Failures     []waitFailure    `json:"failures"`
}

type waitFailure struct {
	Error string `json:"error"`
	Hint  string `json:"hint"`
}

type waitedDocument struct {
	Name     string           `json:"name"`
	Wave     int              `json:"wave"`
	State    string           `json:"state"`
	Revision string           `json:"revision"`
	Text     string           `json:"text"`
	Hint     string           `json:"hint"`
	Children []waitedDocument `json:"children"`
}

// told is what is new about an application, on one line.
func told(o vigil.Outcome) string {
	return titled(o) + ": " + o.Text
}

func titled(o vigil.Outcome) string {
	if o.Wave != 0 {
		return fmt.Sprintf("%s (wave %d)", o.Name, o.Wave)
	}
	return o.Name
}

func stateOf(o vigil.Outcome) string {
	return map[rollout.State]string{rollout.Live: "live", rollout.Waiting: "waiting", rollout.Ended: "ended"}[o.State]
}

// reportWait prints how the applications stand.
func reportWait(c *cli.Console, commit string, outcomes []vigil.Outcome, failed error) error {
	doc := waitDocument{Schema: "imgbump/wait/v1", Revision: commit, Live: failed == nil, Applications: waited(outcomes), Failures: []waitFailure{}}
	if failed != nil && fault.KindOf(failed) != fault.Gate {
		doc.Failures = append(doc.Failures, waitFailure{failed.Error(), fault.HintOf(failed)})
	}
	table := [][]cli.Cell{}
	summary := "| application | state | |\n| --- | --- | --- |\n"
	for _, o := range flat(outcomes, "") {
		style := cli.Plain
		if o.State == rollout.Ended {
			style = cli.Alert
		}
		table = append(table, []cli.Cell{{Text: titled(o)}, {Text: stateOf(o), Style: style}, {Text: o.Text}})
		summary += fmt.Sprintf("| %s | %s | %s |\n", titled(o), stateOf(o), code(o.Text))
	}
	if err := c.Print(doc, c.Table(table)); err != nil || len(outcomes) == 0 {
		return err
	}
	return c.Workflow.Summary(fmt.Sprintf("### %.7s in Argo CD\n\n%s", commit, summary))
}

// flat are outcomes, each followed by its children, which are set in.
func flat(outcomes []vigil.Outcome, indent string) []vigil.Outcome {
	var all []vigil.Outcome
	for _, o := range outcomes {
		o.Name = indent + o.Name
		all = append(append(all, o), flat(o.Children, indent+"- ")...)
	}
	return all
}

func waited(outcomes []vigil.Outcome) []waitedDocument {
	all := []waitedDocument{}
	for _, o := range outcomes {
		all = append(all, waitedDocument{o.Name, o.Wave, stateOf(o), o.Revision, o.Text, o.Hint, waited(o.Children)})
	}
	return all
}
