package bump

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// Graph is who deploys whom: the Argo CD applications of a tree, by wave and name. WavesWait says that a setting in the tree
// makes sync waves wait until the applications of the wave before are healthy.
type Graph struct {
	Applications []Deployment
	WavesWait    bool
	Sites        []Listed // of the tree, in the order of the files
	Warnings     []Warning
	Failures     []Failure
}

// Deployment is an application with those that create it and the images that it deploys.
type Deployment struct {
	argocd.Application
	Parents []int    // numbers in Graph.Applications; none for a root, and it may be its own
	Images  []Listed // that it deploys, by reference, each once
	Doubted bool     // a warning is about it
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
	b := grapher{surroundings: surroundings{t, o}, index: owners.Index, branch: branch, values: map[string][]byte{}}
	if err := b.look(files); err != nil {
		return Graph{}, err
	}
	b.applications()
	for _, f := range t.found {
		if f.err != nil {
			b.graph.Failures = append(b.graph.Failures, unreadable(f.path, f.err))
		}
		for _, site := range f.sites {
			listed := Listed{site, o.overriddenBy(site), owners.of(site)}
			b.graph.Sites = append(b.graph.Sites, listed)
			b.deploys(listed)
		}
	}
	for n := range b.graph.Applications {
		b.settle(&b.graph.Applications[n], b.index.Values(n))
	}
	b.doubts()
	return b.graph, nil
}

// grapher puts a graph together.
type grapher struct {
	surroundings
	index  *argocd.Index
	branch string
	graph  Graph

	manifests []string
	folders   map[string]bool // of the tree
	files     map[string]bool // of the tree
	opaque    map[string]bool // what is in the place of a file or folder and was not looked into
	settings  string          // FILE of Argo CD's own ConfigMap, "" when the tree has none

	values       map[string][]byte // files of Helm values, by path
	repositories map[string]bool   // that something is taken from, where the tree's is not known
}

// look lists the files and folders of the whole tree, and finds Argo CD's settings.
func (b *grapher) look(files Files) error {
	b.folders, b.files, b.opaque = map[string]bool{".": true}, map[string]bool{}, map[string]bool{}
	var buf []byte
	for f, err := range files(nil) {
		if err != nil {
			return err
		}
		b.files[f.Path] = true
		for dir := path.Dir(f.Path); !b.folders[dir]; dir = path.Dir(dir) {
			b.folders[dir] = true
		}
		switch {
		case f.Skip != "" || strings.HasSuffix(f.Path, "/"):
			b.opaque[strings.TrimSuffix(f.Path, "/")] = true
		case manifest.IsManifest(f.Path, b.config.Rules):
			if b.manifests = append(b.manifests, f.Path); b.graph.WavesWait {
				continue // no more need be known
			}
			if buf, err = f.Read(buf[:0]); err != nil {
				continue // it is among the failures
			}
			settings, health := argocd.Settings(buf)
			if settings && b.settings == "" {
				b.settings = f.Path
			}
			b.graph.WavesWait = health
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
	for _, o := range s.Owners {
		a := &b.graph.Applications[o.Number]
		a.Images = append(a.Images, s)
	}
}

// settle leaves each image once, and not what something else in the application replaces: an entry of its own kustomization,
// since a base may be built without one elsewhere; the Application's own values; or one of its files of values that comes later.
func (b *grapher) settle(a *Deployment, values [][]string) {
	entry, own := map[string]bool{}, map[string]bool{}
	for _, s := range a.Images {
		entry[s.Ref.Canonical()] = entry[s.Ref.Canonical()] || s.Shape == manifest.Kustomize || s.Shape == manifest.Override
		own[s.Ref.Canonical()] = own[s.Ref.Canonical()] || s.Object.Kind == "Application"
	}
	a.Images = slices.DeleteFunc(a.Images, func(s Listed) bool {
		return s.Shape == manifest.Whole && entry[s.Ref.Canonical()] || s.Object.Kind == "" && own[s.Ref.Canonical()] || a.replaced(s, values)
	})
	for i := range a.Images {
		b.retag(&a.Images[i], values)
	}
	slices.SortStableFunc(a.Images, func(x, y Listed) int { return cmp.Compare(x.Ref.String(), y.Ref.String()) })
	a.Images = slices.CompactFunc(a.Images, func(x, y Listed) bool { return x.Ref == y.Ref })
}

// replaced reports whether a value stands again in one of the files that win over the site's.
func (a *Deployment) replaced(s Listed, values [][]string) bool {
	return slices.ContainsFunc(later(s, values), func(file string) bool {
		return slices.ContainsFunc(a.Images, func(other Listed) bool { return other.File == file && other.Field == s.Field })
	})
}

// retag gives an image the tag that one of the files that win over the site's has for it, without naming it again.
func (b *grapher) retag(s *Listed, values [][]string) {
	keys := strings.Split(s.Field, ".")
	if s.Shape != manifest.Helm || keys[len(keys)-1] != "tag" {
		return
	}
	for _, file := range later(*s, values) {
		if _, known := b.values[file]; !known {
			_, b.values[file] = b.content(file)
		}
		if tag := argocd.ValueAt(b.values[file], keys...); tag != "" {
			s.Ref.Tag, s.Ref.Digest = tag, ""
		}
	}
}

// later are the files of values that win over the one that a site is in.
func later(s Listed, values [][]string) (all []string) {
	for _, files := range values {
		if own := slices.Index(files, s.File); own >= 0 {
			all = append(all, files[own+1:]...)
		}
	}
	return all
}
