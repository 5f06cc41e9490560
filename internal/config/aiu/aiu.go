// Package aiu reads the policies that are written for Argo CD Image Updater: annotations of Applications, and ImageUpdater
// resources. What they mean follows Image Updater's own code (v1.x, and the names that v0.x had), so that a repository goes
// on as it did.
package aiu

import (
	"fmt"
	"slices"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/config/resource"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
)

// prefix starts the key of each annotation, and group is that of the resources.
const (
	prefix = "argocd-image-updater.argoproj.io/"
	group  = "argocd-image-updater.argoproj.io"
)

// Tree is what must be known of the files to tell where something is written.
type Tree interface {
	// Has reports whether there is such a file.
	Has(file string) bool
}

// maxPolicies is how many policies a tree may have, and maxComparisons how often a name may be compared with a pattern.
// Nobody has as many, but a hostile manifest may.
const (
	maxPolicies    = 50_000
	maxComparisons = 20_000_000
)

// Policies are those for the applications, in their order, and what is wrong apart from them.
func Policies(index *argocd.Index, updaters []Updater, tree Tree) (found []config.Found, notices []config.Notice) {
	b := builder{index: index, tree: tree, told: map[config.Notice]bool{}}
	used := make([]bool, len(updaters))
	refs := len(updaters)
	for _, u := range updaters {
		refs += len(u.refs)
	}
	if refs*len(index.Applications()) > maxComparisons {
		b.notice(updaters[0].Place, "ImageUpdater resources are left out of account: they and their references are %d, for %d applications", refs, len(index.Applications()))
		updaters = nil
	}
	for _, app := range index.Applications() {
		r, ok := b.request(app, updaters, used)
		if !ok {
			continue
		}
		for _, i := range r.images {
			if len(found) == maxPolicies {
				b.notice(r.at, "some policies are left out of account: there are more than %d", maxPolicies)
				return found, b.notices
			}
			found = append(found, b.found(r, i))
		}
	}
	for i, u := range updaters {
		if !used[i] {
			b.notice(u.Place, "ImageUpdater %s is for no application that is declared here", u.Name)
		}
	}
	return found, b.notices
}

// Annotated reports whether one of the applications has annotations for Image Updater.
func Annotated(all []argocd.Application) bool {
	return slices.ContainsFunc(all, func(a argocd.Application) bool { return annotated(a) })
}

// Shorter names, since they are all over here.
type (
	place = resource.Place
	text  = resource.Text
)

// settings are how a version is chosen, as far as it is said.
type settings struct {
	strategy, allow, pullSecret text
	force                       text
	ignore, platforms           []text
}

// over are the settings, and those beneath them where they say nothing. A list replaces the other.
func (s settings) over(beneath settings) settings {
	for _, pair := range [][2]*text{{&s.strategy, &beneath.strategy}, {&s.allow, &beneath.allow}, {&s.pullSecret, &beneath.pullSecret}, {&s.force, &beneath.force}} {
		if !pair[0].Given() {
			*pair[0] = *pair[1]
		}
	}
	if s.ignore == nil {
		s.ignore = beneath.ignore
	}
	if s.platforms == nil {
		s.platforms = beneath.platforms
	}
	return s
}

// writing is how and where the version is written, as far as it is said.
type writing struct{ method, target, branch, repository text }

// over is what is said, and what is said beneath it.
func (w writing) over(beneath writing) writing {
	for _, pair := range [][2]*text{{&w.method, &beneath.method}, {&w.target, &beneath.target}, {&w.branch, &beneath.branch}, {&w.repository, &beneath.repository}} {
		if !pair[0].Given() {
			*pair[0] = *pair[1]
		}
	}
	return w
}

// image is one that is asked for: its name and constraint, and how manifests name it.
type image struct {
	alias                       string
	name                        text
	choice                      settings
	helmName, helmTag, helmSpec text
	kustomize                   text
	plugin, cosign              bool
}

// request is what an application asks for.
type request struct {
	app    argocd.Application
	at     place
	images []image
	writing
}

// builder makes policies of requests.
type builder struct {
	index   *argocd.Index
	tree    Tree
	notices []config.Notice
	told    map[config.Notice]bool // what is said once
}

func (b *builder) notice(at place, format string, args ...any) {
	b.notices = append(b.notices, config.Notice{File: at.File, Line: at.Line, Text: fmt.Sprintf(format, args...)})
}

// say is a notice about a place, with the first policy that it is for.
func (b *builder) say(f *config.Found, at place, format string, args ...any) {
	n := config.Notice{File: at.File, Line: at.Line, Text: fmt.Sprintf(format, args...)}
	if !b.told[n] {
		b.told[n] = true
		f.Notices = append(f.Notices, n)
	}
}

// once is a notice with the first policy that it is for, wherever others say the same.
func (b *builder) once(f *config.Found, at place, format string, args ...any) {
	message := config.Notice{Text: fmt.Sprintf(format, args...)}
	if !b.told[message] {
		b.told[message] = true
		b.say(f, at, "%s", message.Text)
	}
}

// request is what is asked for an application: by the resource that is for it, else by its annotations.
func (b *builder) request(app argocd.Application, updaters []Updater, used []bool) (request, bool) {
	u, ref := -1, (*applicationRef)(nil)
	for i := range updaters {
		matched := updaters[i].refFor(app)
		switch {
		case matched == nil:
			continue
		case ref != nil:
			b.notice(updaters[i].Place, "application %s is a matter of ImageUpdater %s already", app.Name, updaters[u].Name)
		default:
			u, ref = i, matched
		}
		used[i] = true
	}
	if ref == nil {
		return b.annotations(app)
	}
	signed := ref.cosign || updaters[u].cosign
	if ref.useAnnotations {
		r, ok := b.annotations(app)
		for n := range r.images {
			r.images[n].cosign = signed
		}
		return r, ok
	}
	if annotated(app) {
		b.notice(place{File: app.File, Line: app.Line}, "the annotations of application %s do not count: ImageUpdater %s says which images it has", app.Name, updaters[u].Name)
	}
	r := request{app: app, at: ref.at, writing: ref.writing.over(updaters[u].writing)}
	for _, i := range ref.images {
		i.choice = i.choice.over(ref.settings).over(updaters[u].settings)
		i.cosign = i.cosign || signed
		r.images = append(r.images, i)
	}
	return r, true
}
