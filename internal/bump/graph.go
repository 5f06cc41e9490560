package bump

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// Graph is who deploys whom: the Argo CD applications of a tree, by wave and name.
type Graph struct {
	Applications []Deployment
	Warnings     []Warning
	Failures     []Failure
}

// Deployment is an application with those that create it and the images that it deploys.
type Deployment struct {
	argocd.Application
	Parents []int    // numbers in Graph.Applications; none for a root, and it may be its own
	Images  []Listed // that it deploys, by reference, each once
}

// Err is the error of kind Partial that a graph with failures ends with, or nil.
func (g Graph) Err() error { return Plan{Failures: g.Failures}.Err() }

// Graph reads which applications the files declare, and what they deploy. branch is where changes are pushed to, "" when
// that is not known.
func (j Job) Graph(ctx context.Context, files Files, branch string) (Graph, error) {
	src, err := j.source(files)
	if err != nil {
		return Graph{}, err
	}
	t, err := search(ctx, src, nil, wanted{})
	if err != nil {
		return Graph{}, err
	}
	o := newOverlays(t)
	j.Owners = true
	owners, err := j.owners(ctx, t, o)
	if err != nil {
		return Graph{}, err
	}
	b := grapher{tree: t, index: owners.Index, branch: branch}
	if err := b.look(files); err != nil {
		return Graph{}, err
	}
	b.applications()
	for _, f := range t.found {
		if f.err != nil {
			b.graph.Failures = append(b.graph.Failures, unreadable(f.path, f.err))
		}
		for _, site := range f.sites {
			b.deploys(Listed{site, o.overriddenBy(site), owners.of(site)})
		}
	}
	for i := range b.graph.Applications {
		b.graph.Applications[i].settle()
	}
	b.graph.Warnings = append(owners.warnings(), b.doubts()...)
	return b.graph, nil
}

// grapher puts a graph together.
type grapher struct {
	*tree
	index  *argocd.Index
	branch string
	graph  Graph

	manifests []string
	folders   map[string]bool // of the tree
	opaque    map[string]bool // what is in the place of a file or folder and was not looked into
	health    bool            // a ConfigMap gives Applications a health of their own
	settings  string          // FILE of Argo CD's own ConfigMap, "" when the tree has none
	moving    []Warning       // images that can change without a commit
}

// look lists the files and folders of the whole tree, and finds Argo CD's settings.
func (b *grapher) look(files Files) error {
	b.folders, b.opaque = map[string]bool{".": true}, map[string]bool{}
	var buf []byte
	for f, err := range files(nil) {
		if err != nil {
			return err
		}
		for dir := path.Dir(f.Path); !b.folders[dir]; dir = path.Dir(dir) {
			b.folders[dir] = true
		}
		switch {
		case f.Skip != "" || strings.HasSuffix(f.Path, "/"):
			b.opaque[strings.TrimSuffix(f.Path, "/")] = true
		case manifest.IsManifest(f.Path, b.config.Rules):
			b.manifests = append(b.manifests, f.Path)
			if buf, err = f.Read(buf[:0]); err != nil {
				continue // it is among the failures
			}
			settings, health := argocd.Settings(buf)
			if settings && b.settings == "" {
				b.settings = f.Path
			}
			b.health = b.health || health
		}
	}
	return nil
}

// applications are the nodes, with those above them.
func (b *grapher) applications() {
	parents := b.index.Parents()
	for n, a := range b.index.Applications() {
		b.graph.Applications = append(b.graph.Applications, Deployment{Application: a, Parents: parents[n]})
	}
}

// deploys gives an image to the applications that deploy it.
func (b *grapher) deploys(s Listed) {
	if !s.counts() {
		return
	}
	for i := range b.graph.Applications {
		a := &b.graph.Applications[i]
		if !slices.ContainsFunc(s.Owners, func(o argocd.Owner) bool {
			return o.Name == a.Name && o.Namespace == a.Namespace && o.File == a.File && o.Line == a.Line
		}) {
			continue
		}
		a.Images = append(a.Images, s)
		if s.Mutable() && a.Automated {
			b.moving = append(b.moving, Warning{s.File, s.Line, fmt.Sprintf(
				"%s can become another image at any time, and application %s, which is synced automatically, will not see it: name a version", s.Brief(), a.Name)})
		}
	}
}

// settle leaves each image once, and not what an entry of the application's own kustomization replaces: a base may be
// built without one elsewhere.
func (a *Deployment) settle() {
	entry := map[string]bool{}
	for _, s := range a.Images {
		if s.Shape == manifest.Kustomize || s.Shape == manifest.Override {
			entry[s.Ref.Canonical()] = true
		}
	}
	a.Images = slices.DeleteFunc(a.Images, func(s Listed) bool { return s.Shape == manifest.Whole && entry[s.Ref.Canonical()] })
	slices.SortStableFunc(a.Images, func(x, y Listed) int { return cmp.Compare(x.Ref.String(), y.Ref.String()) })
	a.Images = slices.CompactFunc(a.Images, func(x, y Listed) bool { return x.Ref == y.Ref })
}

// doubts are what people should know about the applications.
func (b *grapher) doubts() []Warning {
	all := b.sources()
	all = append(all, b.twice()...)
	all = append(all, b.waves()...)
	return append(all, b.moving...)
}

// sources says which folders are not there, and what is deployed from another branch. When everything is, that is said once.
func (b *grapher) sources() []Warning {
	var missing, elsewhere []Warning
	fromHere := false
	for _, a := range b.graph.Applications {
		for _, s := range a.Sources {
			dir, here := b.index.Folder(s)
			if !here {
				continue
			}
			if !b.folders[dir] && !b.hidden(dir) {
				missing = append(missing, Warning{a.File, a.Line, fmt.Sprintf("application %s: there is no folder %s", a.Name, s.Path)})
			}
			if s.Revision == "HEAD" || s.Revision == b.branch {
				fromHere = true
			} else {
				elsewhere = append(elsewhere, Warning{a.File, a.Line, fmt.Sprintf("application %s deploys %s, not %s", a.Name, s.Revision, b.branch)})
			}
		}
	}
	switch {
	case b.branch == "" || len(elsewhere) == 0:
		return missing
	case !fromHere:
		return append(missing, Warning{Text: fmt.Sprintf("no application deploys the branch %s", b.branch)})
	}
	return append(missing, elsewhere...)
}

// hidden reports whether a path leads through what was not looked into.
func (b *grapher) hidden(dir string) bool {
	for ; dir != "." && dir != "/"; dir = path.Dir(dir) {
		if b.opaque[dir] {
			return true
		}
	}
	return false
}

// twice says which applications deploy the same.
func (b *grapher) twice() []Warning {
	var all []Warning
	for _, t := range b.index.Twice(b.manifests) {
		one, other := b.graph.Applications[t.Applications[0]], b.graph.Applications[t.Applications[1]]
		all = append(all, Warning{other.File, other.Line, fmt.Sprintf(
			"applications %s and %s both deploy %s: each will undo what the other does", one.Name, other.Name, t.Path)})
	}
	return all
}

// waves says where sync waves do not order what they seem to.
func (b *grapher) waves() []Warning {
	var all []Warning
	below := map[int][]Deployment{}
	for n, a := range b.graph.Applications {
		switch {
		case a.Set != "" && a.Wave != 0:
			all = append(all, Warning{a.File, a.Line, fmt.Sprintf(
				"application %s: an ApplicationSet creates all of its applications at once, whatever their sync waves", a.Name)})
		case len(a.Parents) == 0 && a.Wave != 0:
			all = append(all, Warning{a.File, a.Line, fmt.Sprintf(
				"application %s: its sync wave %d orders nothing, since no application here creates it", a.Name, a.Wave)})
		}
		for _, parent := range a.Parents {
			if parent != n && a.Set == "" {
				below[parent] = append(below[parent], a)
			}
		}
	}
	if b.health {
		return all
	}
	for n, a := range b.graph.Applications {
		wave := func(x, y Deployment) int { return cmp.Compare(x.Wave, y.Wave) }
		if len(below[n]) < 2 || slices.MinFunc(below[n], wave).Wave == slices.MaxFunc(below[n], wave).Wave {
			continue
		}
		where := "no " + argocd.ConfigMap + " in this tree has"
		if b.settings != "" {
			where = b.settings + " does not have"
		}
		all = append(all, Warning{a.File, a.Line, fmt.Sprintf(
			"application %s: the sync waves of what it creates order only the creation, without waiting for health: %s %s", a.Name, where, argocd.HealthKey)})
	}
	return all
}
