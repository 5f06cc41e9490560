package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// setDocument is the JSON document of the verbs that edit manifests; docs/json.md is its description.
type setDocument struct {
	Schema    string             `json:"schema"`
	DryRun    bool               `json:"dry_run"`
	Decisions []decisionDocument `json:"decisions,omitzero"` // of update
	Changes   []changeDocument   `json:"changes"`
	Skipped   []skippedDocument  `json:"skipped"`
	Failures  []failureDocument  `json:"failures"`
	Commits   []commitDocument   `json:"commits"`
	Diff      string             `json:"diff,omitempty"`
}

type changeDocument struct {
	Target      string          `json:"target,omitempty"`
	File        string          `json:"file"`
	Line        int             `json:"line"`
	Field       string          `json:"field"`
	Shape       manifest.Shape  `json:"shape"`
	Object      manifest.Object `json:"object"`
	Application string          `json:"application"`
	From        string          `json:"from"`
	To          string          `json:"to"`
	Why         string          `json:"why"`
}

type skippedDocument struct {
	Target string `json:"target,omitempty"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

type failureDocument struct {
	Target string `json:"target,omitempty"`
	Image  string `json:"image"`
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Error  string `json:"error"`
	Hint   string `json:"hint"`
}

type commitDocument struct {
	Target      string  `json:"target,omitempty"`
	Repository  string  `json:"repository"`
	Branch      string  `json:"branch"`
	SHA         string  `json:"sha"`
	Message     string  `json:"message"`
	Attempts    int     `json:"attempts"`
	Pushed      bool    `json:"pushed"`
	PullRequest *string `json:"pull_request"`
}

// report prints what came of verb, and tells the workflow around it.
func report(c *cli.Console, verb string, dryRun bool, outcomes []outcome) error {
	var printed strings.Builder
	for _, o := range outcomes {
		tellPlaces(c, o.Warnings, o.Skipped, o.Failures)
		tellChoices(c, o)
		if o.target != "" {
			fmt.Fprintf(&printed, "# %s\n", o.target)
		}
		printed.WriteString(text(dryRun, o))
	}
	if err := c.Print(document(verb, dryRun, outcomes), printed.String()); err != nil {
		return err
	}
	for _, o := range outcomes {
		if o.OnlyFrom+o.OnlyTo > 0 {
			c.Detailf("left alone: %d images that only FROM names, %d that only TO names", o.OnlyFrom, o.OnlyTo)
		}
		if o.err == nil && len(o.Changes) == 0 {
			c.Progressf("%snothing to change: %s", o.label(), idle(o.Result))
		}
	}
	return tellWorkflow(c, dryRun, outcomes)
}

// label is the target's name in front of what is said of it.
func (o outcome) label() string {
	if o.target == "" {
		return ""
	}
	return o.target + ": "
}

// idle is the reason why nothing is to be changed.
func idle(result bump.Result) string {
	if result.Hold != nil {
		return result.Hold.Idle()
	}
	if slices.ContainsFunc(result.Skipped, func(s bump.Skipped) bool { return s.Line > 0 }) {
		return "every place already names what was asked for, or was skipped"
	}
	return "every place already names what was asked for"
}

// tellPlaces tells of places that are not part of the result on stdout.
func tellPlaces(c *cli.Console, warnings []bump.Warning, skipped []bump.Skipped, failures []bump.Failure) {
	for _, f := range failures {
		if f.File != "" && c.Workflow.Active() {
			c.Workflow.Error(f.File, f.Line, f.Err.Error())
		}
	}
	for _, w := range warnings {
		c.Warnf(w.File, w.Line, "%s", w.Text)
	}
	for _, s := range skipped {
		if s.Line > 0 {
			c.Progressf("skipped %s:%d: %s", s.File, s.Line, s.Reason)
		} else {
			c.Detailf("skipped %s: %s", s.File, s.Reason)
		}
	}
}

// text is the result for a person: the diff of a dry run, else a line for each change and commit.
func text(dryRun bool, o outcome) string {
	if dryRun {
		return o.Diff()
	}
	if !o.carriedOut() {
		return ""
	}
	var b strings.Builder
	for _, change := range o.Changes {
		fmt.Fprintln(&b, became(o.Hold, change))
	}
	for _, commit := range o.Commits {
		verb := "committed to"
		if commit.Pushed {
			verb = "pushed to"
		}
		fmt.Fprintf(&b, "%s %s %s of %s\n", commit.SHA, verb, cmp.Or(commit.Branch, "HEAD"), commit.Repository)
		if commit.PullRequest != "" {
			fmt.Fprintln(&b, commit.PullRequest)
		}
	}
	return b.String()
}

// carriedOut reports whether the changes of the result were made. Of a run that failed as a whole nothing was, unless
// it failed after the commit.
func (o outcome) carriedOut() bool {
	return o.err == nil || fault.KindOf(o.err) == fault.Partial || len(o.Commits) > 0
}

func document(verb string, dryRun bool, outcomes []outcome) setDocument {
	d := setDocument{
		Schema: "imgbump/" + verb + "/v1", DryRun: dryRun,
		Changes: []changeDocument{}, Skipped: []skippedDocument{}, Failures: []failureDocument{}, Commits: []commitDocument{},
	}
	for _, o := range outcomes {
		d.add(dryRun, o)
		if verb == "update" {
			d.Decisions = append(d.Decisions, decisions(o)...)
		}
	}
	return d
}

// add takes in what came of one target.
func (d *setDocument) add(dryRun bool, o outcome) {
	if dryRun {
		d.Diff += o.Diff()
	}
	if dryRun || o.carriedOut() {
		for _, x := range o.Changes {
			d.Changes = append(d.Changes, changeDocument{
				Target: o.target, File: x.Site.File, Line: x.Line, Field: x.Site.Field, Shape: x.Site.Shape, Object: x.Site.Object,
				Application: x.Application, From: x.From.String(), To: x.To.String(), Why: x.Why,
			})
		}
	}
	for _, x := range o.Skipped {
		d.Skipped = append(d.Skipped, skippedDocument{Target: o.target, File: x.File, Line: x.Line, Reason: x.Reason})
	}
	for _, x := range o.Failures {
		d.Failures = append(d.Failures, failureDocument{Target: o.target, Image: x.Image, File: x.File, Line: x.Line, Error: x.Err.Error(), Hint: fault.HintOf(x.Err)})
	}
	if o.err != nil && len(o.Failures) == 0 && fault.KindOf(o.err) != fault.Pending {
		d.Failures = append(d.Failures, failureDocument{Target: o.target, Error: o.err.Error(), Hint: fault.HintOf(o.err)})
	}
	for _, x := range o.Commits {
		d.Commits = append(d.Commits, commitDocument{
			Target: o.target, Repository: x.Repository, Branch: x.Branch, SHA: x.SHA, Message: x.Message, Attempts: x.Attempts, Pushed: x.Pushed,
			PullRequest: optional(x.PullRequest),
		})
	}
}

// tellWorkflow sets the step's outputs and writes its summary.
func tellWorkflow(c *cli.Console, dryRun bool, outcomes []outcome) error {
	if c.Getenv("GITHUB_OUTPUT") == "" && c.Getenv("GITHUB_STEP_SUMMARY") == "" {
		return nil
	}
	changed, commit := false, ""
	var pullRequests []string
	summary := "### Image versions\n\n"
	for _, o := range outcomes {
		for _, x := range o.Commits {
			commit = x.SHA
			if x.PullRequest != "" && !slices.Contains(pullRequests, x.PullRequest) {
				pullRequests = append(pullRequests, x.PullRequest)
			}
		}
		changed = changed || len(o.Commits) > 0 || !dryRun && o.carriedOut() && len(o.Changes) > 0
		summary += o.summary(strings.TrimRight(c.Getenv("GITHUB_SERVER_URL"), "/"), dryRun)
	}
	return cmp.Or(
		c.Workflow.Output("changed", strconv.FormatBool(changed)),
		c.Workflow.Output("commit", commit),
		c.Workflow.Output("pull-request", strings.Join(pullRequests, "\n")),
		c.Workflow.Summary(summary),
	)
}

// summary is what the step summary says: what changed where, the commits, what went wrong, the diff.
func (o outcome) summary(server string, dryRun bool) string {
	var b strings.Builder
	if o.target != "" {
		fmt.Fprintf(&b, "#### %s\n\n", code(o.target))
	}
	if len(o.Changes) == 0 && o.err == nil {
		fmt.Fprintf(&b, "Nothing to change: %s.\n", idle(o.Result))
	}
	if len(o.Changes) > 0 {
		if dryRun {
			b.WriteString("Dry run: nothing was changed.\n\n")
		}
		b.WriteString(table(o.Hold, o.Changes))
	}
	for _, x := range o.Commits {
		fmt.Fprintf(&b, "\n%s on %s\n", commitLink(server, x), code(cmp.Or(x.Branch, "HEAD")))
		if x.PullRequest != "" {
			fmt.Fprintf(&b, "\n%s\n", x.PullRequest)
		}
	}
	for _, x := range o.Skipped {
		if x.Line > 0 {
			fmt.Fprintf(&b, "\n> Skipped %s: %s\n", code(fmt.Sprintf("%s:%d", x.File, x.Line)), code(x.Reason))
		}
	}
	for _, x := range o.Failures {
		fmt.Fprintf(&b, "\n> **Failed:** %s\n", code(x.Err.Error()))
	}
	if o.err != nil && len(o.Failures) == 0 && fault.KindOf(o.err) != fault.Pending {
		fmt.Fprintf(&b, "\n> **Failed:** %s\n", code(o.err.Error()))
	}
	b.WriteString(fenced(o.Diff()))
	return b.String()
}

// table is the changes as a Markdown table.
func table(hold *bump.Hold, changes []bump.Change) string {
	var b strings.Builder
	b.WriteString("| Where | From | To |\n| --- | --- | --- |\n")
	for _, x := range changes {
		to := x.To.String()
		if hold != nil {
			to = x.Why
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", code(fmt.Sprintf("%s:%d", x.Site.File, x.Line)), code(x.From.String()), code(to))
	}
	return b.String()
}

// fenced is a diff as Markdown that unfolds, "" when there is none.
func fenced(diff string) string {
	if diff == "" {
		return ""
	}
	fence := "````"
	for strings.Contains(diff, fence) {
		fence += "`"
	}
	return fmt.Sprintf("\n<details><summary>Diff</summary>\n\n%sdiff\n%s%s\n\n</details>\n\n", fence, diff, fence)
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// code is text as inline code in a Markdown table, whatever it holds.
func code(text string) string {
	text = strings.NewReplacer("`", "'", "|", "\\|", "\n", " ", "\r", " ").Replace(text)
	return "`" + text + "`"
}

// commitLink links to the commit where it lies on the GitHub server of the workflow.
func commitLink(server string, x bump.Commit) string {
	short := x.SHA[:min(len(x.SHA), 10)]
	if server == "" || !strings.HasPrefix(x.Repository, server+"/") {
		return code(short)
	}
	return fmt.Sprintf("[%s](%s/commit/%s)", code(short), strings.TrimSuffix(x.Repository, ".git"), x.SHA)
}
