package bump

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Hold holds the sites of one repository back, by comments in the manifests, or with Release takes such comments away again.
// Reason is what the comments say, in one line; it may be "".
type Hold struct {
	Image   imageref.Ref
	Reason  string
	Release bool
}

// Check refuses what is no repository, and a reason that no comment can say. Errors are of kind Usage.
func (h Hold) Check() error {
	switch {
	case h.Image.Repository == "":
		return fault.Usagef("for example: harbor.example.com/team/app", "no image is named")
	case h.Image.Versioned():
		return fault.Usagef("write "+h.Image.Name(), "%s is more than a repository: all versions are held back, or none", h.Image)
	}
	if err := manifest.CheckReason(h.Reason); err != nil {
		return fault.Usagef("write it in one short line", "the reason %w", err)
	}
	return nil
}

// summary tells what is done, and why: "Hold rss: waits for the new database".
func (h Hold) summary() string {
	switch {
	case h.Release:
		return "Release " + h.Image.Base()
	case h.Reason == "":
		return "Hold " + h.Image.Base()
	}
	return "Hold " + h.Image.Base() + ": " + h.Reason
}

// holdTemplate is that of the message for a Hold's commit.
var holdTemplate = template.Must(newTemplate(`{{.Summary}}
{{range .Images}}
{{.Image}}:
{{- range .Changes}}
- {{.File}}:{{.Line}} {{.To}}
{{- end}}
{{end}}`))

// opening is the summary in the length of a commit's first line, and the whole reason below when that has no room for it.
func (h Hold) opening() string {
	line := h.summary()
	if len(line) <= maxSubject {
		return line
	}
	cut := maxSubject - len("...")
	for cut > 0 && !utf8.RuneStart(line[cut]) {
		cut--
	}
	return strings.TrimRight(line[:cut], " ") + "...\n\n" + h.Reason
}

// Idle tells why a hold changes nothing.
func (h Hold) Idle() string {
	if h.Release {
		return "no comment holds it back"
	}
	return "every place is held already"
}

// why tells the reason for a change.
func (h Hold) why() string {
	switch {
	case h.Release:
		return "released"
	case h.Reason == "":
		return "held"
	}
	return "held: " + h.Reason
}

// hold decides what holds the image back, or releases it.
func (j Job) hold(ctx context.Context, src source) (Plan, error) {
	if err := j.Hold.Check(); err != nil {
		return Plan{}, err
	}
	plan, err := j.decide(ctx, src, []Image{{Ref: j.Hold.Image}})
	if err != nil {
		return Plan{}, err
	}
	plan.Hold = j.Hold
	return plan, j.explain(ctx, src, &plan)
}

// hold decides the comments of one file.
func (d *decision) hold(f found) {
	if f.err != nil {
		d.plan.Failures = append(d.plan.Failures, unreadable(f.path, f.err))
		return
	}
	r := &revision{Rewrite: Rewrite{Path: f.path, Before: f.data, sites: f.sites, rules: d.rules}}
	var chosen []int
	for i, site := range f.sites {
		r.wanted = append(r.wanted, site.Ref)
		if f.proposals != nil && f.proposals[i] != nil && d.covers(site) {
			d.named[0] = true
			if d.comments(site) {
				chosen = append(chosen, i)
			}
		}
	}
	if len(chosen) == 0 {
		return
	}
	h := d.job.Hold
	made, err := h.comments(f, d.rules, chosen)
	for n, i := range chosen {
		site := f.sites[i]
		if failed := cmp.Or(err, made[n].Err); failed != nil {
			d.plan.Failures = append(d.plan.Failures, h.failure(site, failed))
			continue
		}
		c := Change{Site: site, Line: site.Line, From: site.Ref, To: site.Ref, Why: h.why(), edits: made[n].Edits}
		r.edits, r.changes = append(r.edits, c.edits...), append(r.changes, c)
	}
	if len(r.edits) > 0 {
		d.revisions = append(d.revisions, r)
	}
}

// comments makes the edits of a file's comments, one answer for each of the chosen sites.
func (h Hold) comments(f found, rules manifest.Rules, chosen []int) (made []manifest.Commented, err error) {
	if h.Release {
		made, err = manifest.Release(f.path, f.data, rules, chosen)
	} else {
		made, err = manifest.HoldBack(f.path, f.data, rules, chosen, h.Reason)
	}
	if err != nil {
		made = make([]manifest.Commented, len(chosen))
	}
	return made, err
}

// comments reports whether a comment of the site is to be written or taken away. Why not is noted, unless nothing is to be done.
func (d *decision) comments(site manifest.Site) bool {
	h, configured := d.job.Hold, d.overlays.tree.config.Held(site)
	skip := func(reason string) bool {
		d.plan.Skipped = append(d.plan.Skipped, Skipped{File: site.File, Line: site.Line, Reason: reason})
		return false
	}
	switch by := d.overlays.setBy(site); {
	case h.Release && site.Hold == "":
		return false
	case h.Release && site.Hold == configured:
		what := &fault.Error{What: "release", Hint: "take the hold out of imgbump.yaml", Err: fmt.Errorf("it is not held by a comment: %s", configured)}
		d.plan.Failures = append(d.plan.Failures, failureAt(site.File, site.Line, site.Ref.Name(), what))
		return false
	case h.Release:
		if configured != "" {
			d.warn(site.File, site.Line, "still held: %s", configured)
		}
		return true
	case heldBack(site) == h.why():
		return false
	case site.Hold != "":
		return skip(heldBack(site))
	case by != "":
		return skip("set by " + by)
	}
	return true
}

// failure says why a site has no comment, or keeps it.
func (h Hold) failure(site manifest.Site, err error) Failure {
	what := &fault.Error{What: "hold back", Hint: fmt.Sprintf("hold it in imgbump.yaml: images: [{name: %s, hold: ...}]", h.Image.Name()), Err: err}
	if h.Release {
		what.What, what.Hint = "release", "take the comment out by hand"
	}
	return failureAt(site.File, site.Line, site.Ref.Name(), what)
}
