package bump

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Decide reads the files and says what makes every site of the images name them. It changes nothing. An error means
// that the files could not be read; what is wrong with one file or one image is among the plan's failures.
func Decide(ctx context.Context, files iter.Seq2[manifest.File, error], images []Image) (Plan, error) {
	tree, err := search(ctx, files, namesOf(images))
	if err != nil {
		return Plan{}, err
	}
	d := &decision{images: images, asked: newIndex(images), named: make([]bool, len(images)), overlays: newOverlays(tree)}
	for _, f := range tree.found {
		d.file(f)
	}
	for i, named := range d.named {
		if !named {
			d.plan.Missing = append(d.plan.Missing, images[i])
		}
	}
	d.plan.Named = len(images) - len(d.plan.Missing)
	d.plan.Skipped = append(d.plan.Skipped, tree.skipped...)
	return d.plan, explain(ctx, files, &d.plan)
}

// decision gathers the plan, file by file.
type decision struct {
	images   []Image
	asked    index
	named    []bool
	overlays overlays
	plan     Plan
}

// file decides the sites of one file. A file of which anything is unclear is left alone as a whole.
func (d *decision) file(f found) {
	if f.err != nil {
		d.plan.Failures = append(d.plan.Failures, unreadable(f.path, f.err))
		return
	}
	var edits []manifest.Edit
	var changes []Change
	wanted := make([]imageref.Ref, len(f.sites))
	for i, site := range f.sites {
		wanted[i] = site.Ref
		image, matches := d.match(site)
		if !matches {
			continue
		}
		if by := d.overlays.setBy(site); by != "" {
			d.plan.Skipped = append(d.plan.Skipped, Skipped{File: site.File, Line: site.Line, Reason: "set by " + by})
			continue
		}
		renames := image.Rename && (site.Ref.Same(image.Old) || site.Replaces.Same(image.Old))
		more, err := site.Set(image.Ref, renames)
		if err != nil {
			d.plan.Failures = append(d.plan.Failures, failureAt(site.File, site.Line, image.Ref.String(), &fault.Error{What: "set", Err: err}))
			continue
		}
		if wanted[i] = site.Ref.With(image.Ref); renames {
			wanted[i] = image.Ref
		}
		if len(more) > 0 {
			edits = append(edits, more...)
			changes = append(changes, Change{Site: site, Line: site.Line, From: site.Ref, To: wanted[i], Why: "set to " + image.Ref.String()})
		}
	}
	if len(edits) == 0 {
		return
	}
	after, failure := rewrite(f, edits, wanted)
	if failure != nil {
		d.plan.Failures = append(d.plan.Failures, *failure)
		return
	}
	d.plan.Changes = append(d.plan.Changes, changes...)
	d.plan.Rewrites = append(d.plan.Rewrites, Rewrite{Path: f.path, Before: f.data, After: after})
}

// match is the first image that the site names.
func (d *decision) match(site manifest.Site) (Image, bool) {
	i, ok := d.asked.find(site)
	if !ok {
		return Image{}, false
	}
	d.named[i] = true
	return d.images[i], true
}

// rewrite applies the edits and reads the result back: it must have the same sites, and each must name what is wanted.
// That catches what no look at a single site can see, such as an anchor that another image uses too.
func rewrite(f found, edits []manifest.Edit, wanted []imageref.Ref) ([]byte, *Failure) {
	fail := func(line int, hint string, err error) *Failure {
		f := failureAt(f.path, line, "", &fault.Error{What: "edit", Hint: hint, Err: err})
		return &f
	}
	after, err := manifest.Apply(f.data, edits)
	if err != nil {
		return nil, fail(0, "", err)
	}
	sites, err := manifest.Find(f.path, after)
	if err != nil || len(sites) != len(wanted) {
		return nil, fail(0, "please report the form of this file", errors.New("the result would not be the same manifest; the file is left alone"))
	}
	for i, site := range sites {
		if !site.Ref.Same(wanted[i]) || site.Ref.With(wanted[i]) != site.Ref {
			return nil, fail(site.Line, "give each image a value of its own instead of an alias",
				fmt.Errorf("it would name %s, not %s; the file is left alone", site.Ref, wanted[i]))
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
