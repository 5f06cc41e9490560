package bump

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Change is one site that gets another reference. Line is that of the value which is edited; From and To are whole
// references, whatever keys they are spread over. Application names the Argo CD application that deploys the file, "" when
// none is known.
type Change struct {
	Site manifest.Site
	Line int
	From imageref.Ref
	To   imageref.Ref
	Why  string

	Application string

	// What is done to the file: edits of its content as it was, or an entry that is added.
	edits    []manifest.Edit
	addition adder
}

// Skipped is a place that was left alone on purpose. Line is 0 when it is a whole file.
type Skipped struct {
	File   string
	Line   int
	Reason string
}

// Warning is what the person should know about a place although the work goes on.
type Warning struct {
	File string
	Line int
	Text string
}

// Failure is a place or an image for which what was asked could not be done. Image is "" when a file is at fault, File
// when it is not one place; Line may be 0.
type Failure struct {
	Image string
	File  string
	Line  int
	Err   error
}

// Rewrite is a file with its content before and after; nil before is a file that is not there yet.
type Rewrite struct {
	Path          string
	Before, After []byte

	// What Find found in Before, by these rules.
	sites []manifest.Site
	rules manifest.Rules
}

// Plan is what a decision comes to, in the order of the files. Missing are the images that no site names, Named counts
// the others.
type Plan struct {
	Changes  []Change
	Skipped  []Skipped
	Failures []Failure
	Warnings []Warning
	Rewrites []Rewrite
	Missing  []Image
	Named    int
	Choices  []Choice // of an update, in the order of the policies
	Held     []Held   // of an update, in the order of the policies
	Hold     *Hold    // that the changes make or release; they change no version then

	// OnlyFrom and OnlyTo count the repositories that only one side of a promotion names.
	OnlyFrom, OnlyTo int

	application string // that all changes are grouped by, "" without one

	writings []writing // that are still to be made of an update's choices
}

// Commit is a commit that was made of the changes, all of the plan's or those of one group. Attempts counts how often it
// was tried against a moving branch.
type Commit struct {
	Repository string
	Branch     string
	SHA        string
	Message    string
	Changes    []Change
	Rewrites   []Rewrite
	Hold       *Hold // the plan's
	Attempts   int
	Pushed     bool
	// PullRequest is the URL of the one that proposes the commit, "" without one.
	PullRequest string
}

// Result is the plan that was carried out, and the commits that it became.
type Result struct {
	Plan
	Commits []Commit
}

// Summary names the image and its new version, or counts the images: "rss to 1.5.0", "3 images". Of a Hold it is what is done.
func (p Plan) Summary() string {
	if p.Hold != nil {
		return p.Hold.summary()
	}
	images := p.Images()
	if len(images) != 1 {
		return fmt.Sprintf("%d images", len(images))
	}
	ref := images[0]
	if ref.Tag != "" {
		ref.Digest = ""
	}
	return ref.Base() + " to " + VersionOf(ref)
}

// Images are the distinct references that the changes lead to, in their order.
func (p Plan) Images() []imageref.Ref {
	var refs []imageref.Ref
	for _, c := range p.Changes {
		if !slices.Contains(refs, c.To) {
			refs = append(refs, c.To)
		}
	}
	return refs
}

// sites are those that the changes are about, in their order.
func (p Plan) sites() []manifest.Site {
	var sites []manifest.Site
	for _, c := range p.Changes {
		sites = append(sites, c.Site)
	}
	return sites
}

// Err is what the plan says about the run as a whole: nil, kind Missing when no site names any of the images, or kind
// Partial.
func (p Plan) Err() error {
	kinds := map[fault.Kind]bool{}
	for _, f := range p.Failures {
		kinds[fault.KindOf(f.Err)] = true
	}
	kind := fault.Partial
	switch {
	case len(p.Failures) == 0:
		return nil
	case p.Named == 0 && len(kinds) == 1 && kinds[fault.Missing]:
		kind = fault.Missing
	case p.Named == 0 && len(p.Choices) > 0:
		kind = fault.Failed
		if len(kinds) == 1 {
			kind = fault.KindOf(p.Failures[0].Err)
		}
	}
	return summed(kind, p.Failures)
}

// missing is the failure of an image that no site names.
func missing(image Image, nearest []string) Failure {
	hint := "no manifest or values file here names an image; is this the right folder (--root, --path)? What .gitignore leaves out is not searched"
	if len(nearest) > 0 {
		hint = "the nearest images named here: " + strings.Join(nearest, ", ")
	}
	name := image.Ref.Name()
	if image.Rename {
		name = image.Old.Name() + " or " + name
	}
	return Failure{Image: image.Ref.String(), Err: &fault.Error{Kind: fault.Missing, What: "no manifest names", Where: name, Hint: hint}}
}
