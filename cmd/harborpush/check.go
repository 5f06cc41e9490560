package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/registry"
)

const checkAbout = `Check whether a push to a reference would go well, without changing anything.

It looks up the name, connects, and checks the certificate, the clocks, the login, the project, the
rights to pull and push, the quota and whether the tag is immutable. What does not hold comes with
its remedy; what cannot be told is skipped, and says why.`

const checkExamples = `  # would this push go well?
  harborpush check harbor.example.com/team/app:1.2.3

  # with the login and the certificate authority of the cluster that we run in
  harborpush check app:1.2.3 --k8s-secret arc-systems/harbor-auth --k8s-ca cert-manager/ca-key-pair/ca.crt`

func checkCommand(c *cli.Console) *cobra.Command {
	var f access.Flags
	cmd := &cobra.Command{
		Use:     "check REF",
		Short:   "Check whether a push would go well",
		Long:    checkAbout + "\n\n" + access.Environment + "\n" + cli.Exits(0, 1, 2, 4, 7, 130),
		Example: checkExamples,
		Args:    cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := prepareCheck(cmd.Context(), c, &f, args[0])
			if err == nil {
				p.run(cmd.Context())
			}
			return p.report(c, err)
		},
	}
	cli.Group(cmd.Flags(), "Registry", f.Bind)
	f.BindProject(cmd.Flags())
	return cmd
}

// prepareCheck finds out what is to be checked.
func prepareCheck(ctx context.Context, c *cli.Console, f *access.Flags, typed string) (*preflight, error) {
	p := &preflight{passed: map[string]bool{}}
	refs, err := f.References(ctx, c, []string{typed})
	if err != nil {
		return p, err
	}
	p.ref = refs[0]
	options, err := f.Options(ctx, c, refs)
	p.client = registry.New(options)
	return p, err
}

// checkDocument is the JSON document of check; docs/json.md is its description.
type checkDocument struct {
	Schema    string            `json:"schema"`
	Reference string            `json:"reference"`
	Checks    []check           `json:"checks"`
	Failures  []failureDocument `json:"failures"`
}

// report prints the checks and returns the error that the command ends with; prevented is why there are none.
func (p *preflight) report(c *cli.Console, prevented error) error {
	if fault.KindOf(prevented) == fault.Usage {
		return prevented
	}
	d := checkDocument{Schema: "harborpush/check/v1", Checks: append([]check{}, p.checks...), Failures: []failureDocument{}}
	if p.client != nil {
		d.Reference = p.ref.String()
	}
	failed := prevented
	if failed == nil {
		failed = p.verdict()
	}
	if failed != nil {
		d.Failures = append(d.Failures, failureDocument{Error: failed.Error(), Hint: fault.HintOf(failed)})
	}
	if prevented == nil {
		if err := c.Workflow.Summary(p.summary()); err != nil {
			c.Warnf("", 0, "%v", err)
		}
	}
	if err := c.Print(d, p.text(c)); err != nil && failed == nil {
		return err
	}
	return failed
}

// verdict is nil when every check passed or was skipped.
func (p *preflight) verdict() error {
	var failed []check
	for _, k := range p.checks {
		if k.Status == checkFailed {
			failed = append(failed, k)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &fault.Error{Kind: fault.Gate, What: "check", Where: p.ref.String(), Hint: failed[0].Remedy,
		Err: fmt.Errorf("%d of %d checks failed: %s: %s", len(failed), len(p.checks), failed[0].Name, failed[0].Detail)}
}

var marks = map[checkStatus]string{checkPassed: "✓", checkFailed: "✗", checkSkipped: "–"}

func (p *preflight) text(c *cli.Console) string {
	styles := map[checkStatus]cli.Style{checkFailed: cli.Alert, checkSkipped: cli.Faint}
	var rows [][]cli.Cell
	for _, k := range p.checks {
		style := styles[k.Status]
		rows = append(rows, []cli.Cell{{Text: marks[k.Status], Style: style}, {Text: k.Name, Style: style}, {Text: k.Detail}})
		if k.Remedy != "" {
			rows = append(rows, []cli.Cell{{}, {}, {Text: "→ " + k.Remedy}})
		}
	}
	return c.Table(rows)
}

func (p *preflight) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Check of `%s`\n\n| | Check | | Remedy |\n| --- | --- | --- | --- |\n", p.ref)
	for _, k := range p.checks {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", marks[k.Status], k.Name, cell(k.Detail), cell(k.Remedy))
	}
	return b.String()
}
