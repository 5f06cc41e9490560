package bump

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
	"golang.org/x/sync/errgroup"
)

// Decide reads the files and says what makes every site of the images name them. It changes nothing. An error means
// that the files could not be read; what is wrong with one file or one image is among the plan's failures.
func Decide(ctx context.Context, files iter.Seq2[manifest.File, error], images []Image) (Plan, error) {
	tree, err := list(files)
	if err != nil {
		return Plan{}, err
	}
	found, err := tree.search(ctx, names(images))
	if err != nil {
		return Plan{}, err
	}
	d := &decision{images: images, named: make([]bool, len(images)), overlays: tree.overlays(found)}
	for _, f := range found {
		d.file(f)
	}
	for i, named := range d.named {
		if !named {
			d.plan.Missing = append(d.plan.Missing, images[i])
		}
	}
	d.plan.Named = len(images) - len(d.plan.Missing)
	d.plan.Skipped = append(d.plan.Skipped, tree.skipped...)
	return d.plan, tree.explain(ctx, &d.plan)
}

// names are the strings of which a file must hold one to be worth parsing.
func names(images []Image) [][]byte {
	var all [][]byte
	for _, image := range images {
		all = append(all, []byte(image.Ref.Base()))
		if image.Rename {
			all = append(all, []byte(image.Old.Base()))
		}
	}
	return all
}

// tree is the list of files that may be manifests.
type tree struct {
	files          []manifest.File
	kustomizations map[string]manifest.File
	skipped        []Skipped
}

func list(files iter.Seq2[manifest.File, error]) (*tree, error) {
	t := &tree{kustomizations: map[string]manifest.File{}}
	charts := manifest.Charts{}
	for f, err := range files {
		if err != nil {
			return nil, err
		}
		charts.Add(f.Path)
		switch {
		case !manifest.IsManifest(f.Path) || charts.Template(f.Path):
			continue
		case f.Skip == "" && f.Size > manifest.MaxSize:
			f.Skip = fmt.Sprintf("larger than %d MiB", manifest.MaxSize>>20)
		}
		if f.Skip != "" {
			t.skipped = append(t.skipped, Skipped{File: f.Path, Reason: f.Skip})
			continue
		}
		t.files = append(t.files, f)
		if manifest.IsKustomization(f.Path) {
			t.kustomizations[f.Path] = f
		}
	}
	return t, nil
}

// found is a file that holds one of the names: its sites, or why it cannot be read.
type found struct {
	path  string
	data  []byte
	sites []manifest.Site
	err   error
}

// search reads all files at once and parses those that hold one of the names; all of them when there is no name.
func (t *tree) search(ctx context.Context, names [][]byte) ([]found, error) {
	results := make([]found, len(t.files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i, file := range t.files {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			data, err := file.Read()
			if err == nil && !holdsAny(data, names) {
				return ctx.Err()
			}
			results[i] = found{path: file.Path, data: data, err: err}
			if err == nil {
				results[i].sites, results[i].err = manifest.Find(file.Path, data)
			}
			return ctx.Err()
		})
	}
	if err := errors.Join(group.Wait(), context.Cause(ctx)); err != nil && ctx.Err() == nil {
		return nil, err
	}
	kept := results[:0]
	for _, r := range results {
		if r.err != nil || len(r.sites) > 0 {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

func holdsAny(data []byte, names [][]byte) bool {
	if len(names) == 0 {
		return true
	}
	for _, name := range names {
		if bytes.Contains(data, name) {
			return true
		}
	}
	return false
}

// decision gathers the plan, file by file.
type decision struct {
	images   []Image
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
	for i, image := range d.images {
		if site.Ref.Same(image.Ref) || image.Rename && (site.Ref.Same(image.Old) || site.Replaces.Same(image.Old)) {
			d.named[i] = true
			return image, true
		}
	}
	return Image{}, false
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
