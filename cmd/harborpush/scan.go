package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
	"github.com/ksera524/imgbump/internal/sarif"
)

const scanAbout = `Have Harbor scan an image, wait for the end, and print what was found, the gravest first.

A scan that is going on already is waited for. --fail-on makes it a gate: exit 7 when something as
grave or graver is found. What --ignore names is shown, and does not count. The account needs the
rights to read artifacts and to create scans on the project; Harbor needs a scanner.`

const scanExamples = `  # fail on what is high or critical, for code scanning too
  harborpush scan harbor.example.com/team/app:1.2.3 --fail-on high --sarif scan.sarif

  # exactly what was pushed
  harborpush scan harbor.example.com/team/app@sha256:02b15e645cad29f568a414da4ffde0f458cc1fc82453bc08e5d3dbad1914f504`

// scanFlags are the flags of scan, as typed.
type scanFlags struct {
	failOn  string
	ignore  []string
	sarif   string
	timeout time.Duration
	access  access.Flags
}

func scanCommand(c *cli.Console) *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:     "scan REF",
		Short:   "Have Harbor scan an image for vulnerabilities",
		Long:    scanAbout + "\n\n" + access.Environment + "\n" + cli.Exits(0, 1, 2, 4, 7, 130),
		Example: scanExamples,
		Args:    cli.Args(cobra.ExactArgs(1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), c, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.failOn, "fail-on", "", "exit 7 when there is something of `SEVERITY` or graver: critical, high, medium, low, negligible, unknown")
	flags.StringSliceVar(&f.ignore, "ignore", nil, "`CVE` that does not count (repeatable)")
	flags.StringVar(&f.sarif, "sarif", "", "write the findings to `FILE` as SARIF 2.1.0, for GitHub's code scanning")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Minute, "`TIME` to wait for the scan")
	cli.Group(flags, "Registry", f.access.Bind)
	f.access.BindProject(flags)
	return cmd
}

// run has the image scanned, and says what came of it.
func (f *scanFlags) run(ctx context.Context, c *cli.Console, typed string) error {
	s := scan{ignore: f.ignore}
	err := f.judge(ctx, c, typed, &s)
	return s.report(c, err)
}

// judge has the image scanned, and fails on what --fail-on names.
func (f *scanFlags) judge(ctx context.Context, c *cli.Console, typed string, s *scan) error {
	var limit harbor.Severity
	if f.failOn != "" {
		var err error
		if limit, err = harbor.ParseSeverity(f.failOn); err != nil {
			return fault.Usagef("for example: --fail-on high", "--fail-on: %w", err)
		}
	}
	if f.timeout <= 0 {
		return fault.Usagef("for example: --timeout 10m", "--timeout %v leaves no time", f.timeout)
	}
	var err error
	if s.ref, err = f.reference(ctx, c, typed); err != nil {
		return err
	}
	options, err := f.access.Options(ctx, c, []imageref.Ref{s.ref})
	if err != nil {
		return err
	}
	err = f.scan(ctx, c, harbor.New(registry.New(options), s.ref.Host()), s)
	if err != nil || limit == "" {
		return err
	}
	return s.gate(limit)
}

// reference is what was typed, whole; it may name a digest.
func (f *scanFlags) reference(ctx context.Context, c *cli.Console, typed string) (imageref.Ref, error) {
	ref, err := f.access.Source(ctx, c, typed)
	if err == nil && ref.Registry == "" {
		err = fault.Usagef("write HOST/PROJECT/NAME:TAG, or set HARBOR_URL and HARBOR_PROJECT", "reference %q names no registry", typed)
	}
	return ref, err
}

// scan has the image scanned and writes what was found for code scanning.
func (f *scanFlags) scan(ctx context.Context, c *cli.Console, client *harbor.Client, s *scan) error {
	reference := s.ref.Tag
	if s.ref.Digest != "" {
		reference = s.ref.Digest
	}
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, &fault.Error{What: "scan", Where: s.ref.String(),
		Err: fmt.Errorf("not done within %v", f.timeout), Hint: "allow more with --timeout; a scan that goes on is waited for the next time"})
	defer cancel()
	artifact, err := client.Artifact(ctx, s.ref.Repository, reference)
	if err != nil {
		return err
	}
	s.artifact = artifact
	if s.page, err = client.Page(ctx, artifact); err != nil {
		return err
	}
	start := time.Now()
	s.found, err = client.Scan(ctx, s.ref.Repository, artifact.Digest, func(status string) {
		c.Progressf("scan of %s: %s", s.ref, strings.ToLower(status))
	})
	if err != nil {
		return err
	}
	s.done = true
	c.Progressf("scanned by %s in %v", s.found.Scanner, time.Since(start).Round(time.Second))
	for _, cve := range f.ignore {
		if !slices.ContainsFunc(s.found.Vulnerabilities, func(v harbor.Vulnerability) bool { return strings.EqualFold(v.ID, cve) }) {
			c.Warnf("", 0, "--ignore %s: it is not there (any more)", cve)
		}
	}
	if f.sarif == "" {
		return nil
	}
	raw, err := s.sarif().JSON()
	if err == nil {
		err = os.WriteFile(f.sarif, append(raw, '\n'), 0o644)
	}
	if err != nil {
		return &fault.Error{What: "write", Where: f.sarif, Err: fault.Cause(err)}
	}
	return nil
}

// scan is a scanned image.
type scan struct {
	ref      imageref.Ref
	artifact harbor.Artifact
	page     string // in Harbor's portal
	ignore   []string
	found    harbor.Report
	done     bool
}

func (s *scan) ignores(v harbor.Vulnerability) bool {
	return slices.ContainsFunc(s.ignore, func(cve string) bool { return strings.EqualFold(cve, v.ID) })
}

// counts are the findings that count, by severity.
func (s *scan) counts() map[harbor.Severity]int {
	n := map[harbor.Severity]int{}
	for _, v := range s.found.Vulnerabilities {
		if !s.ignores(v) {
			n[v.Severity]++
		}
	}
	return n
}

// maxNamed is how many findings the gate's error names.
const maxNamed = 5

// gate is the error of findings as grave as limit or graver, or nil.
func (s *scan) gate(limit harbor.Severity) error {
	var named []string
	for _, v := range s.found.Vulnerabilities {
		if v.Severity.AtLeast(limit) && !s.ignores(v) {
			named = append(named, v.ID+" in "+v.Package)
		}
	}
	if len(named) == 0 {
		return nil
	}
	text := strings.Join(named[:min(len(named), maxNamed)], ", ")
	if more := len(named) - maxNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return &fault.Error{Kind: fault.Gate, What: "scan", Where: s.ref.String(),
		Err:  fmt.Errorf("%d of severity %s or graver: %s", len(named), strings.ToLower(string(limit)), text),
		Hint: "update the packages or the base image and push again; --ignore CVE lets one pass"}
}

func (s *scan) sarif() sarif.Log {
	log := sarif.Log{Tool: "harborpush", Version: cli.Version, Scanner: s.found.Scanner, Repository: s.ref.Repository, Reference: s.ref.String()}
	for _, v := range s.found.Vulnerabilities {
		f := sarif.Finding{ID: v.ID, Package: v.Package, Version: v.Version, Fixed: v.Fixed, Severity: string(v.Severity), Score: v.Score,
			Description: v.Description, Ignored: s.ignores(v)}
		if len(v.Links) > 0 {
			f.Link = v.Links[0]
		}
		log.Findings = append(log.Findings, f)
	}
	return log
}

// report prints what was found, writes it into the step's summary, and returns the error that the command ends with.
func (s *scan) report(c *cli.Console, failed error) error {
	if fault.KindOf(failed) == fault.Usage {
		return failed
	}
	var summary error
	text := ""
	if s.done {
		summary, text = c.Workflow.Summary(s.summary()), s.text(c)
	}
	printing := c.Print(s.document(failed), text)
	return cmp.Or(failed, printing, summary)
}
