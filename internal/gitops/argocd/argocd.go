// Package argocd tells from the files of a tree which Argo CD applications deploy which of them, so that a change goes by
// the name under which people watch it roll out. It asks no cluster and does no I/O.
package argocd

import (
	"cmp"
	"slices"
)

// Application is what an Application manifest says, or what an ApplicationSet makes of its template.
type Application struct {
	Name      string
	Namespace string // "" when the manifest leaves it to whoever applies it
	Project   string
	Wave      int // of the annotation argocd.argoproj.io/sync-wave
	Sources   []Source
	File      string // that declares it
	Line      int
	Set       string // the ApplicationSet that generates it, "" without one
	Cluster   string // that it deploys to: its address, or its name
	Into      string // the cluster's namespace for what does not name its own
	Automated bool   // Argo CD syncs it by itself
	Prune     bool   // and removes what is not declared any more
	SelfHeal  bool   // and undoes what others change in the cluster

	Labels, Annotations []Annotation

	declared string   // the name of the object that declares it, as the file has it
	through  []string // the folders whose kustomizations make it what it is, nil when none changes it
}

// Is reports whether name means the application: NAME or NAMESPACE/NAME, as Argo CD's command line has it.
func (a Application) Is(name string) bool {
	return name == a.Name || name == a.Namespace+"/"+a.Name
}

// compare orders applications by what they are called, and then by where they are declared.
func (a Application) compare(b Application) int {
	return cmp.Or(cmp.Compare(a.Wave, b.Wave), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
}

// Source is a place that an application's manifests come from.
type Source struct {
	Repository string // its address, as the manifest spells it
	Revision   string // a branch, tag, commit or chart's version; HEAD when none is named
	Path       string // the folder in the repository, "" for a source that is only referred to
	Chart      string // of a Helm repository
	Ref        string // the name under which other sources refer to it, without the $

	kind             kind
	recurse          bool
	include, exclude string
	values           []string // files that Helm reads, as the manifest spells them
	lenient          bool     // values that are not there are passed over
	renamed          string   // what kustomize puts around names, and the namespace that it gives
	components       []string // folders, relative to Path
}

// kind is what Argo CD makes manifests with.
type kind string

const (
	detected  kind = "" // by what lies in the folder
	directory kind = "directory"
	helm      kind = "helm"
	kustomize kind = "kustomize"
	plugin    kind = "plugin"
)

// Owner is an application that deploys a file, from the revision that its source names. Number is its own in Applications.
type Owner struct {
	Application
	Revision string
	Number   int
}

// Unclear is something that the manifests leave open, so that an application may be missing. Line may be 0.
type Unclear struct {
	File string
	Line int
	Text string
}

func sortUnclear(all []Unclear) {
	slices.SortFunc(all, func(a, b Unclear) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text))
	})
}
