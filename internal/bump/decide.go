package bump

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
	"golang.org/x/sync/errgroup"
)

// Decide reads the files and says what makes every site of the images name them. It changes nothing. An error means
// that the files could not be read; what is wrong with one file or one image is among the plan's failures.
func (j Job) Decide(ctx context.Context, files Files) (Plan, error) {
	src, err := j.source(files)
	if err != nil {
		return Plan{}, err
	}
	if j.From != "" {
		return j.promote(ctx, src)
	}
	if j.Updates != nil {
		return j.update(ctx, src)
	}
	if j.Hold != nil {
		return j.hold(ctx, src)
	}
	plan, err := j.decide(ctx, src, j.Images)
	if err != nil {
		return Plan{}, err
	}
	return plan, j.explain(ctx, src, &plan)
}

// decide says what makes every site of the images name them. The images that no site names are the plan's Missing.
func (j Job) decide(ctx context.Context, src source, images []Image) (Plan, error) {
	under := j.Paths
	if j.KustomizeAdd {
		if err := src.check(under); err != nil {
			return Plan{}, err
		}
		under = nil // a kustomization there may build from anywhere
	}
	wanted := j.wanted(images)
	tree, err := search(ctx, src, under, wanted)
	if err != nil {
		return Plan{}, err
	}
	d := &decision{
		images: images, asked: wanted.asked, named: make([]bool, len(images)), rules: src.config.Rules,
		overlays: newOverlays(tree), ages: j.Ages, doubts: map[compared]bool{}, job: j, additions: map[string][]addition{},
	}
	if err := d.learn(ctx, tree); err != nil {
		return Plan{}, err
	}
	if err := d.limit(ctx, tree); err != nil {
		return Plan{}, err
	}
	decide := d.file
	if j.Hold != nil {
		decide = d.hold
	}
	for _, f := range tree.found {
		decide(f)
	}
	d.rewriteAll()
	d.addEntries(tree)
	if err := d.attribute(ctx, tree); err != nil {
		return Plan{}, err
	}
	for i, named := range d.named {
		if !named {
			d.plan.Missing = append(d.plan.Missing, images[i])
		}
	}
	d.plan.Named = len(images) - len(d.plan.Missing)
	d.plan.Skipped = append(d.plan.Skipped, tree.skipped...)
	d.plan.Warnings = append(d.plan.Warnings, d.overlays.shared(d.plan.sites())...)
	return d.plan, nil
}

// decision gathers the plan, file by file.
type decision struct {
	images    []Image
	asked     index
	named     []bool
	rules     manifest.Rules
	overlays  *overlays
	owners    owners // once they are asked for
	ages      *Ages
	doubts    map[compared]bool // that were warned of
	job       Job
	revisions []*revision
	additions map[string][]addition // by kustomization
	plan      Plan
}

// file decides the sites of one file. A file of which anything is unclear is left alone as a whole.
func (d *decision) file(f found) {
	if f.err != nil {
		d.plan.Failures = append(d.plan.Failures, unreadable(f.path, f.err))
		return
	}
	r := &revision{
		Rewrite: Rewrite{Path: f.path, Before: f.data, sites: f.sites, rules: d.rules}, wanted: make([]imageref.Ref, len(f.sites)),
	}
	for i, site := range f.sites {
		r.wanted[i] = site.Ref
		if f.proposals == nil || f.proposals[i] == nil {
			continue
		}
		p := f.proposals[i]
		image := d.images[p.image]
		added, covered := d.adds(site, image), d.covers(site)
		d.named[p.image] = d.named[p.image] || added || covered
		if added || !covered {
			continue
		}
		if reason := d.spares(site, image); reason != "" {
			d.plan.Skipped = append(d.plan.Skipped, Skipped{File: site.File, Line: site.Line, Reason: reason})
			continue
		}
		if p.err != nil {
			d.plan.Failures = append(d.plan.Failures, failureAt(site.File, site.Line, image.Ref.String(), &fault.Error{What: "set", Err: p.err}))
			continue
		}
		r.wanted[i] = p.ref
		if len(p.edits) > 0 {
			c := Change{Site: site, Line: site.Line, From: site.Ref, To: p.ref, Why: image.why(), edits: slices.Concat(p.edits, r.labels(p))}
			r.edits, r.changes = append(r.edits, c.edits...), append(r.changes, c)
		}
	}
	if len(r.edits) > 0 {
		d.revisions = append(d.revisions, r)
	}
}

// revision is a file whose edits are decided: what its sites must name afterwards, and which changes that makes.
type revision struct {
	Rewrite
	edits   []manifest.Edit
	wanted  []imageref.Ref
	changes []Change
	failure *Failure
}

// labels are the edits of the version labels beside a site. Of two sites in one object the first decides.
func (r *revision) labels(p *proposal) []manifest.Edit {
	return slices.DeleteFunc(slices.Clone(p.labels), func(e manifest.Edit) bool {
		return slices.ContainsFunc(r.edits, func(other manifest.Edit) bool { return other.Start == e.Start })
	})
}

// rewriteAll makes the edits of all files, on all cores, and takes what comes of them into the plan, in their order.
func (d *decision) rewriteAll() {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, r := range d.revisions {
		group.Go(func() error {
			r.After, r.failure = r.edited(r.edits, r.wanted)
			return nil
		})
	}
	group.Wait()
	for _, r := range d.revisions {
		if r.failure != nil {
			d.plan.Failures = append(d.plan.Failures, *r.failure)
			continue
		}
		d.plan.Changes = append(d.plan.Changes, r.changes...)
		d.plan.Rewrites = append(d.plan.Rewrites, r.Rewrite)
	}
}

// spares is why a site that names the image is left alone on purpose, or "".
func (d *decision) spares(site manifest.Site, image Image) string {
	if held := heldBack(site); held != "" && !d.job.IgnoreHold {
		return held
	}
	if by := d.overlays.setBy(site); by != "" {
		return "set by " + by
	}
	return d.rollsBack(site, image)
}

// heldBack is why a site must not be changed, "" when it may.
func heldBack(site manifest.Site) string {
	switch site.Hold {
	case "":
		return ""
	case "hold":
		return "held" // by a comment that does not say why
	}
	return "held: " + site.Hold
}

// edited is the file with the edits made, and read back: it must have the same sites, and each must name what is wanted.
// That catches what no look at a single site can see, such as an anchor that another image uses too.
func (r Rewrite) edited(edits []manifest.Edit, wanted []imageref.Ref) ([]byte, *Failure) {
	fail := func(line int, hint string, err error) ([]byte, *Failure) {
		f := failureAt(r.Path, line, "", &fault.Error{What: "edit", Hint: hint, Err: err})
		return nil, &f
	}
	after, err := manifest.Apply(r.Before, edits)
	if err != nil {
		return fail(0, "", err)
	}
	refs, err := manifest.Reread(r.sites, r.Before, after, edits, r.rules)
	if err != nil {
		return fail(0, "please report the form of this file", fmt.Errorf("%w; the file is left alone", err))
	}
	for i, ref := range refs {
		if wanted := wanted[i]; !ref.Same(wanted) || ref.With(wanted) != ref {
			return fail(r.sites[i].Line, "give each image a value of its own instead of an alias",
				fmt.Errorf("it would name %s, not %s; the file is left alone", ref, wanted))
		}
	}
	return after, nil
}

// unreadable is the failure of a file that holds the name of an image but cannot be read.
func unreadable(path string, err error) Failure {
	var syntax *manifest.SyntaxError
	line := 0
	if errors.As(err, &syntax) {
		line = syntax.Line
	}
	return failureAt(path, line, "", &fault.Error{What: "read", Hint: "repair the file, or leave it out with --path", Err: err})
}

func failureAt(file string, line int, image string, err *fault.Error) Failure {
	err.Where = file
	if line > 0 {
		err.Where = fmt.Sprintf("%s:%d", file, line)
	}
	return Failure{Image: image, File: file, Line: line, Err: err}
}
