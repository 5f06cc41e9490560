package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/version"
)

// nextDocument is the JSON document of next; docs/json.md is its description.
type nextDocument struct {
	Schema   string            `json:"schema"`
	Version  string            `json:"version"`
	Tag      string            `json:"tag"`
	Previous string            `json:"previous"`
	Bump     version.Bump      `json:"bump"`
	Why      string            `json:"why"`
	Commit   string            `json:"commit"`
	Release  bool              `json:"release"`
	Created  bool              `json:"created"`
	Pushed   bool              `json:"pushed"`
	Failures []failureDocument `json:"failures"`
}

// report prints the version, on stdout nothing but that, and tells the workflow around the command. It returns the
// error that the command ends with; a version that failed is not printed, since it would be used.
func (n next) report(c *cli.Console, failed error) error {
	if fault.KindOf(failed) == fault.Usage {
		return failed
	}
	d := nextDocument{
		Schema: "harborpush/next/v1", Version: n.Version, Tag: n.Tag, Previous: n.Previous, Bump: n.Bump, Why: n.Why, Commit: n.commit,
		Release: n.Release(), Created: n.Created, Pushed: n.Pushed, Failures: []failureDocument{},
	}
	text := n.Version + "\n"
	if failed == nil {
		c.Progressf("%s: %s", n.outcome(), n.Why)
		failed = n.tell(c)
	}
	if failed != nil {
		text = ""
		d.Failures = append(d.Failures, failureDocument{Error: failed.Error(), Hint: fault.HintOf(failed)})
	}
	return cmp.Or(failed, c.Print(d, text))
}

// tell sets the step's outputs and writes its summary.
func (n next) tell(c *cli.Console) error {
	errs := []error{c.Workflow.Summary(n.summary())}
	for _, output := range [][2]string{{"version", n.Version}, {"tag", n.Tag}, {"release", strconv.FormatBool(n.Release())}, {"previous", n.Previous}} {
		errs = append(errs, c.Workflow.Output(output[0], output[1]))
	}
	return errors.Join(errs...)
}

// outcome is the version, and what became of its tag.
func (n next) outcome() string {
	switch {
	case n.Pushed:
		return n.Version + ", pushed as " + n.Tag
	case n.Created:
		return n.Version + ", tagged " + n.Tag
	}
	return n.Version
}

func (n next) summary() string {
	why := strings.NewReplacer("`", "'", "\n", " ", "\r", " ").Replace(n.Why) // it may quote a commit
	return fmt.Sprintf("### Version `%s`\n\n`%s`: `%s`\n", n.Version, n.outcome(), why)
}
