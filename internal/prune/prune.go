// Package prune removes from a registry's project what no rule keeps, and never what manifests name: it reads the
// manifests, lists the images, has retention decide, and then deletes in an order that breaks nothing.
//
// Whatever it cannot read might name anything, so then nothing is removed.
package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/retention"
)

// Why a registry does not delete an image, for errors.Is. After any other error it is not asked for the next one.
var (
	ErrHeld    = errors.New("an index that stays refers to it")
	ErrRefused = errors.New("the registry refuses this one")
)

// Registry holds the images.
type Registry interface {
	// Repositories are the names of a project's repositories, each with the project.
	Repositories(ctx context.Context, project string) ([]string, error)
	// Artifacts are the images of a repository; one that does not exist has none.
	Artifacts(ctx context.Context, repository string) ([]retention.Artifact, error)
	// Artifact is the image of that digest; found is false when there is none, which is no error.
	Artifact(ctx context.Context, repository, digest string) (a retention.Artifact, found bool, err error)
	// Exists is an error when there is no such project, or no such repository where that is not "". Who may not know gets
	// none.
	Exists(ctx context.Context, project, repository string) error
	// Delete removes an image, with its tags and what hangs on it. One that is gone already is no error.
	Delete(ctx context.Context, repository, digest string) error
}

// Job is what to prune, and by which rules. Without Apply it only says what would go.
type Job struct {
	Project    string
	Repository string // PROJECT/NAME, "" for all of the project's
	Rules      retention.Rules
	Sources    []Source // what their manifests name stays too
	Apply      bool

	Progressf, Detailf, Warnf func(format string, args ...any)
}

// Result is what became of each image: repository by repository, the newest first.
type Result struct {
	Outcomes []*Outcome
	Removed  int
}

// Outcome is what becomes of an image, and whether it is gone.
type Outcome struct {
	Repository string
	retention.Decision
	Gone bool
}

// Going are the images that no rule keeps.
func (r Result) Going() []*Outcome {
	return slices.DeleteFunc(slices.Clone(r.Outcomes), func(o *Outcome) bool { return o.Keep })
}

// Partial is err, as one of kind Partial when something was removed before it.
func (r Result) Partial(err error) error {
	if err == nil || r.Removed == 0 {
		return err
	}
	return &fault.Error{Kind: fault.Partial, What: fmt.Sprintf("%d of %d removed", r.Removed, len(r.Going())), Hint: fault.HintOf(err), Err: err}
}

// Run finds out what goes, and removes it when that is asked for. Before all is known nothing is removed. With an error
// the result is what was known and done until then.
func (j Job) Run(ctx context.Context, registry Registry) (Result, error) {
	for _, source := range j.Sources {
		named, err := source.Named(ctx, j.Project)
		if err != nil {
			return Result{}, err
		}
		j.Progressf("%s: %d files name %d images and digests", source.Name, named.Files, len(named.References))
		j.Rules.References = append(j.Rules.References, named.References...)
	}
	p := pruning{Job: j, registry: registry}
	err := p.judge(ctx)
	if err == nil && j.Apply {
		err = p.remove(ctx)
	}
	return p.Result, err
}

// pruning is a job that is going on.
type pruning struct {
	Job
	Result
	registry Registry
}

// judge lists the repositories and decides about their images.
func (p *pruning) judge(ctx context.Context) error {
	repositories := []string{p.Repository}
	if p.Repository == "" {
		var err error
		if repositories, err = p.registry.Repositories(ctx, p.Project); err != nil {
			return err
		}
		slices.Sort(repositories)
	}
	for _, name := range repositories {
		artifacts, err := p.registry.Artifacts(ctx, name)
		if err != nil {
			return err
		}
		p.Detailf("%s: %d images", name, len(artifacts))
		r := retention.Repository{Name: name, Artifacts: artifacts}
		if r.Hidden, err = p.hidden(ctx, r); err != nil {
			return err
		}
		for _, d := range p.Rules.Decide(r) {
			p.Outcomes = append(p.Outcomes, &Outcome{Repository: name, Decision: d})
		}
	}
	if len(p.Outcomes) == 0 { // a name that is misspelled, perhaps
		return p.registry.Exists(ctx, p.Project, p.Repository)
	}
	return nil
}

// hidden are the digests that manifests name in a repository, that are there, and that no listed image shows.
func (p *pruning) hidden(ctx context.Context, r retention.Repository) ([]string, error) {
	shown := map[string]bool{}
	for _, a := range r.Artifacts {
		for _, digest := range slices.Concat([]string{a.Digest}, a.Children, a.Accessories) {
			shown[digest] = true
		}
	}
	var hidden []string
	for _, ref := range p.Rules.References {
		if ref.Repository != r.Name || ref.Digest == "" || shown[ref.Digest] {
			continue
		}
		shown[ref.Digest] = true
		_, found, err := p.registry.Artifact(ctx, r.Name, ref.Digest)
		if err != nil {
			return nil, err
		}
		if found {
			hidden = append(hidden, ref.Digest)
		}
	}
	return hidden, nil
}
