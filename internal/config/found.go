package config

import (
	"fmt"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/ignore"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
)

// Origin is in whose language a policy is written.
type Origin string

// Where policies are found.
const (
	FromFile         Origin = "imgbump.yaml"
	FromComment      Origin = "comment"
	FromImageUpdater Origin = "image-updater" // Argo CD Image Updater: an annotation or a custom resource
	FromFlux         Origin = "flux"          // an ImagePolicy with its ImageRepository
)

// Found is a policy that was found in Git: from which repository a version is chosen, how, and which places get it.
type Found struct {
	Image  imageref.Ref // the repository, without version
	Rules  policy.Rules
	Origin Origin
	File   string // that the policy is written in, and
	Line   int    // where
	Name   string // what it is called there: an alias, or NAMESPACE:NAME of an ImagePolicy; "" without one
	Scope  Scope
	// WriteBack is where Argo CD Image Updater writes; nil is wherever the image is named.
	WriteBack *WriteBack
	// Credentials are the registry's login as Image Updater names it: pullsecret:NS/NAME, secret:NS/NAME#FIELD, env:NAME,
	// ext:FILE. "" leaves it to the flags and to Docker's configuration.
	Credentials string
	// Signed is why only a signed image may be used; "" where any may.
	Signed string
	// PinDigest writes the digest beside the tag, unless --pin says otherwise.
	PinDigest bool
	// Unsupported is why the policy is listed, but not followed; "" when it is.
	Unsupported string
	Notices     []Notice
}

// Where is the policy's place, as messages name it.
func (f Found) Where() string { return Notice{File: f.File, Line: f.Line}.Where() }

// Scope is which of the sites that name the image a policy is for: those for which all of it holds that is set.
type Scope struct {
	Paths       ignore.Rules // patterns of files
	Application string       // what this Argo CD application deploys: NAME or NAMESPACE/NAME
	Marker      string       // Flux' setter NAMESPACE:NAME beside the value
	Site        *Place       // one place alone
	// Names is what the sites call the image where that is not the policy's repository; it stays, and they count too.
	Names imageref.Ref
	// KeepsName leaves that name where it stands, and only the version is written.
	KeepsName bool
}

// Place is one value of a file.
type Place struct {
	File  string
	Field string
	Line  int
}

// WriteBack is a place that Argo CD Image Updater writes to. Paths are relative to the tree's root. What is not there yet
// is made.
type WriteBack struct {
	Kind WriteBackKind
	// File is the kustomization, the values file, or the override .argocd-source-APPLICATION.yaml.
	File string
	// Kustomization is the name of the image in a kustomization or in an override's kustomize.images.
	Kustomization string
	// Always writes it even where nothing that the application deploys names the image, as far as that can be told.
	Always bool
	// Name, Tag and Spec are keys of Helm values: the repository, the version, or both in one. Spec wins.
	Name, Tag, Spec string
}

// WriteBackKind is the form of what is written.
type WriteBackKind string

// The forms of Argo CD Image Updater.
const (
	ToOverride      WriteBackKind = "argocd-source"
	ToKustomization WriteBackKind = "kustomization"
	ToHelmValues    WriteBackKind = "helmvalues"
)

// Notice is something about a policy that a person should know. Line may be 0.
type Notice struct {
	File string
	Line int
	Text string
}

// Where is the place, as messages name it.
func (n Notice) Where() string {
	if n.Line == 0 {
		return n.File
	}
	return fmt.Sprintf("%s:%d", n.File, n.Line)
}

// Governs reports whether the policy is for the site, as far as the site itself tells: Argo CD's applications are not asked.
func (f Found) Governs(site manifest.Site) bool {
	named := f.Image.Same(site.Ref)
	if f.Scope.Names.Repository != "" {
		named = named || f.Scope.Names.Same(site.Ref) || f.Scope.Names.Same(site.Replaces)
	}
	switch s := f.Scope; {
	case !named || f.Unsupported != "":
		return false
	case s.Paths != nil && !s.Paths.Covers(site.File):
		return false
	case s.Marker != "" && s.Marker != site.Marker:
		return false
	case s.Marker != "" && s.Names.Repository != "" && s.Names.Same(site.Ref) && s.KeepsName == site.NameMarked:
		return false
	case s.Site != nil && (s.Site.File != site.File || s.Site.Line != site.Line || s.Site.Field != site.Field):
		return false
	}
	return true
}

// String names the policy in messages: "semver ^1.2 (imgbump.yaml:4)".
func (f Found) String() string {
	return fmt.Sprintf("%s (%s)", strings.TrimSpace(string(f.Rules.Strategy)+" "+f.Rules.Constraint), f.Where())
}
