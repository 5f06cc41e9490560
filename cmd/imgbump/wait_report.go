package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
	Name     string            `json:"name"`
	Wave     int               `json:"wave"`
	State    string            `json:"state"`
	Revision string            `json:"revision"`
	Text     string            `json:"text"`
	Hint     string            `json:"hint"`
	Troubles []troubleDocument `json:"troubles"`
	Children []waitedDocument  `json:"children"`
}

type troubleDocument struct {
	Resource string   `json:"resource"`
	State    string   `json:"state"`
	Events   []string `json:"events"`
	Log      []string `json:"log"`
	Note     string   `json:"note"`
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

// How far what is wrong is looked into.
const (
	lookingInto = 20 * time.Second
	lookedInto  = 5 // applications
)

// look finds out what is wrong in the applications that are not live although Argo CD has come to the commit. It is not
// worth a failure when that cannot be told.
func (w *waiting) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookingInto)
	defer cancel()
	w.troubles = map[string][]rollout.Trouble{}
	for _, o := range flat(w.outcomes, "", "") {
		open := slices.ContainsFunc(o.Children, func(child vigil.Outcome) bool { return child.State != rollout.Live })
		_, done := w.troubles[o.Name] // it may be a child of several
		if done || o.State == rollout.Live || o.Behind || open || o.Application == nil || len(w.troubles) == lookedInto {
			continue
		}
		if a := o.Application; a.Status.Health.Status != "Healthy" || a.Operation != nil || o.State == rollout.Ended {
			w.troubles[o.Name] = w.argo.Troubles(ctx, o.Name, a, w.logLines)
		}
	}
}

// report prints how the applications stand.
func (w *waiting) report(failed error) error {
	c := w.console
	doc := waitDocument{Schema: "imgbump/wait/v1", Revision: w.commit, Live: failed == nil, Applications: w.documents(w.outcomes), Failures: []waitFailure{}}
	if failed != nil && fault.KindOf(failed) != fault.Gate && !errors.Is(failed, context.Canceled) {
		doc.Failures = append(doc.Failures, waitFailure{failed.Error(), fault.HintOf(failed)})
	}
	table := [][]cli.Cell{}
	summary := "| application | state | |\n| --- | --- | --- |\n"
	for _, o := range flat(w.outcomes, "", "- ") {
		style := cli.Plain
		if o.State == rollout.Ended {
			style = cli.Alert
		}
		table = append(table, []cli.Cell{{Text: titled(o)}, {Text: stateOf(o), Style: style}, {Text: o.Text}})
		summary += fmt.Sprintf("| %s | %s | %s |\n", titled(o), stateOf(o), code(o.Text))
	}
	text, shown := c.Table(table), map[string]bool{}
	for _, o := range flat(w.outcomes, "", "") {
		if shown[o.Name] {
			continue
		}
		shown[o.Name] = true
		for _, t := range w.troubles[o.Name] {
			text += "\n" + o.Name + ": " + strings.Join(append([]string{headed(t)}, details(t)...), "\n  ") + "\n"
			summary += fmt.Sprintf("\n%s: %s\n%s", o.Name, code(headed(t)), unfolded(details(t)))
		}
	}
	if err := c.Print(doc, text); err != nil || len(w.outcomes) == 0 {
		return err
	}
	return c.Workflow.Summary(fmt.Sprintf("### %.7s in Argo CD\n\n%s", w.commit, summary))
}

// headed is a trouble on one line.
func headed(t rollout.Trouble) string {
	parts := slices.DeleteFunc([]string{t.Resource, t.State}, func(s string) bool { return s == "" })
	if len(parts) == 0 {
		return t.Note
	}
	return strings.Join(parts, ": ")
}

// details are the lines below that.
func details(t rollout.Trouble) []string {
	all := slices.Clone(t.Events)
	for _, line := range t.Log {
		all = append(all, "| "+line)
	}
	if t.Note != "" && headed(t) != t.Note {
		all = append(all, t.Note)
	}
	return all
}

// unfolded are lines as Markdown that shows them as they are.
func unfolded(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	text, fence := strings.Join(lines, "\n"), "````"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fmt.Sprintf("\n%s\n%s\n%s\n", fence, text, fence)
}

// flat are outcomes, each followed by its children, which are set in by a step more.
func flat(outcomes []vigil.Outcome, indent, step string) []vigil.Outcome {
	var all []vigil.Outcome
	for _, o := range outcomes {
		children := o.Children
		o.Name = indent + o.Name
		all = append(append(all, o), flat(children, indent+step, step)...)
	}
	return all
}

func (w *waiting) documents(outcomes []vigil.Outcome) []waitedDocument {
	all := []waitedDocument{}
	for _, o := range outcomes {
		troubles := []troubleDocument{}
		for _, t := range w.troubles[o.Name] {
			troubles = append(troubles, troubleDocument{t.Resource, t.State, append([]string{}, t.Events...), append([]string{}, t.Log...), t.Note})
		}
		all = append(all, waitedDocument{o.Name, o.Wave, stateOf(o), o.Revision, o.Text, o.Hint, troubles, w.documents(o.Children)})
	}
	return all
}
