package bump

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// Listed is a site with the FILE:LINE of the kustomization's entry whose version counts in its place, "" when its own
// does, and the Argo CD applications that deploy it, by wave and name.
type Listed struct {
	manifest.Site
	SetBy  string
	Owners []argocd.Owner
}

// Application names the applications that deploy the site, "" when none is known.
func (s Listed) Application() string { return applications(s.Owners) }

// Listing is every site of a tree, in the order of the files.
type Listing struct {
	Sites    []Listed
	Skipped  []Skipped
	Failures []Failure
	Warnings []Warning
}

// Err is the error of kind Partial that a listing with failures ends with, or nil.
func (l Listing) Err() error { return Plan{Failures: l.Failures}.Err() }

// List finds every site of the files below the given paths. Files that cannot be read are among the failures.
func (j Job) List(ctx context.Context, files Files) (Listing, error) {
	src, err := j.source(files)
	if err != nil {
		return Listing{}, err
	}
	t, err := search(ctx, src, j.Paths, wanted{})
	if err != nil {
		return Listing{}, err
	}
	l := Listing{Skipped: t.skipped}
	o := newOverlays(t)
	j.Owners = true
	owners, err := j.owners(ctx, t, o)
	if err != nil {
		return Listing{}, err
	}
	var versioned []manifest.Site
	for _, f := range t.found {
		if f.err != nil {
			l.Failures = append(l.Failures, unreadable(f.path, f.err))
		}
		for _, site := range f.sites {
			deployed := owners.of(site)
			if !j.concerns(deployed) {
				continue
			}
			l.Sites = append(l.Sites, Listed{site, o.overriddenBy(site), deployed})
			if site.Ref.Versioned() {
				versioned = append(versioned, site)
			}
		}
	}
	l.Warnings = append(o.shared(versioned), owners.warnings()...)
	return l, nil
}

// Trait is something about a site that a list can be limited to and that a gate can refuse.
type Trait string

const (
	Latest     Trait = "latest"     // what it names can change: the tag latest, or no version at all
	NoDigest   Trait = "no-digest"  // it names no digest
	Duplicates Trait = "duplicates" // other sites name other versions of its repository
)

// Traits are all of them.
var Traits = []Trait{Latest, NoDigest, Duplicates}

// Check refuses what is no trait.
func (t Trait) Check() error {
	if !slices.Contains(Traits, t) {
		return fmt.Errorf("%q: it is %s, %s or %s", t, Latest, NoDigest, Duplicates)
	}
	return nil
}

// With is the listing with just those sites that have the trait; duplicates stand together, repository by repository.
func (l Listing) With(t Trait) Listing {
	var has func(Listed) bool
	switch t {
	case Latest:
		has = Listed.Mutable
	case NoDigest:
		has = func(s Listed) bool { return s.Ref.Digest == "" }
	case Duplicates:
		versions := l.versions()
		has = func(s Listed) bool { return len(versions[s.Ref.Canonical()]) > 1 }
	}
	l.Sites = slices.DeleteFunc(slices.Clone(l.Sites), func(s Listed) bool { return !s.counts() || !has(s) })
	if t == Duplicates {
		slices.SortStableFunc(l.Sites, func(a, b Listed) int { return strings.Compare(a.Ref.Canonical(), b.Ref.Canonical()) })
	}
	return l
}

// Brief is the site's reference as a person reads it, with the digest cut to what tells it apart.
func (s Listed) Brief() string {
	ref := s.Ref
	ref.Digest = short(ref.Digest)
	return ref.String()
}

// Mutable reports whether another image can come to stand behind the site's reference without anybody's edit: it has no
// digest, and the tag latest or none, which means the same.
func (s Listed) Mutable() bool {
	return s.counts() && s.Ref.Digest == "" && (s.Ref.Tag == "" || s.Ref.Tag == "latest")
}

// counts reports whether the site decides which version a cluster pulls. A kustomization's entry or a chart's value
// without a version leaves that to others.
func (s Listed) counts() bool {
	return s.SetBy == "" && (s.Ref.Versioned() || s.Shape == manifest.Whole)
}

// versions are the distinct versions of each repository, in the order of the files.
func (l Listing) versions() map[string][]string {
	versions := map[string][]string{}
	for _, s := range l.Sites {
		name, version := s.Ref.Canonical(), VersionOf(s.Ref)
		if s.counts() && !slices.Contains(versions[name], version) {
			versions[name] = append(versions[name], version)
		}
	}
	return versions
}

// Violation is a site with a trait that a gate refuses, in words.
type Violation struct {
	Listed
	Trait Trait
	Text  string
}

// Hint is what to do about it.
func (v Violation) Hint() string {
	switch v.Trait {
	case NoDigest:
		return fmt.Sprintf("pin it: imgbump set %s@sha256:...", v.Ref)
	case Duplicates:
		return fmt.Sprintf("make them one: imgbump set %s:VERSION; or judge one environment at a time with --path", v.Ref.Name())
	}
	return fmt.Sprintf("name a version: imgbump set %s:VERSION", v.Ref.Name())
}

// Refuse is the sites that have one of the traits, trait by trait.
func (l Listing) Refuse(traits []Trait) []Violation {
	versions := l.versions()
	var refused []Violation
	for _, t := range traits {
		for _, s := range l.With(t).Sites {
			text := fmt.Sprintf("%s can become another image at any time", s.Ref)
			switch t {
			case NoDigest:
				text = fmt.Sprintf("%s names no digest", s.Ref)
			case Duplicates:
				text = fmt.Sprintf("%s is one of %d versions: %s", s.Ref, len(versions[s.Ref.Canonical()]), strings.Join(versions[s.Ref.Canonical()], ", "))
			}
			refused = append(refused, Violation{s, t, text})
		}
	}
	return refused
}
