package bump

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
)

// doubts are what people should know about the applications.
func (b *grapher) doubts() {
	b.unclear()
	b.sources()
	b.twice()
	b.waves()
	b.moving()
}

// warn notes a warning about some applications, in the place where the first one is declared.
func (b *grapher) warn(applications []int, format string, args ...any) {
	a := b.graph.Applications[applications[0]]
	b.warnAt(a.File, a.Line, applications, format, args...)
}

// warnAt notes a warning about some applications, in another place.
func (b *grapher) warnAt(file string, line int, applications []int, format string, args ...any) {
	b.graph.Warnings = append(b.graph.Warnings, Warning{file, line, fmt.Sprintf(format, args...)})
	for _, n := range applications {
		b.graph.Applications[n].Doubted = true
	}
}

// namedAtMost is how many applications a warning names.
const namedAtMost = 4

// named are applications in words: application a; applications a, b and 7 more.
func (b *grapher) named(applications []int) string {
	var names []string
	for _, n := range applications[:min(len(applications), namedAtMost)] {
		names = append(names, b.graph.Applications[n].Name)
	}
	if len(applications) == 1 {
		return "application " + names[0]
	}
	last := names[len(names)-1]
	if more := len(applications) - namedAtMost; more > 0 {
		names, last = append(names, ""), fmt.Sprintf("%d more", more)
	}
	return "applications " + strings.Join(names[:len(names)-1], ", ") + " and " + last
}

// unclear says what the manifests leave open. Those who deploy them are in doubt as well.
func (b *grapher) unclear() {
	for _, u := range b.index.Unclear() {
		var concerned []int
		for _, o := range b.index.Owners(u.File) {
			concerned = append(concerned, o.Number)
		}
		b.warnAt(u.File, u.Line, concerned, "%s", u.Text)
	}
}

// sources says which folders and files are not there, and what is deployed from another branch. When everything is, that is
// said once.
func (b *grapher) sources() {
	ours, others := false, map[string][]int{} // by revision
	for n, a := range b.graph.Applications {
		for _, s := range a.Sources {
			switch {
			case !b.fromHere(s):
			case b.tracks(s.Revision):
				ours = true
			case !slices.Contains(others[s.Revision], n):
				others[s.Revision] = append(others[s.Revision], n)
			}
		}
	}
	for n := range b.graph.Applications {
		b.missing(n, func(s argocd.Source) bool { return b.fromHere(s) && (!ours || b.tracks(s.Revision)) })
	}
	if !ours && len(others) > 0 {
		b.warnAt("", 0, nil, "no application deploys the branch %s", b.branch)
		return
	}
	byFirst := func(x, y string) int { return cmp.Or(cmp.Compare(others[x][0], others[y][0]), cmp.Compare(x, y)) }
	for _, revision := range slices.SortedFunc(maps.Keys(others), byFirst) {
		verb := "deploy"
		if len(others[revision]) == 1 {
			verb = "deploys"
		}
		b.warn(others[revision], "%s %s %s, not %s", b.named(others[revision]), verb, revision, b.branch)
	}
	for _, set := range b.index.Sets() {
		if i := slices.IndexFunc(set.Revisions(b.index.Place()), func(revision string) bool { return !b.tracks(revision) }); i >= 0 {
			b.warnAt(set.File, set.Line, b.made(set), "ApplicationSet %s looks for its applications in %s, not %s",
				set.Name, set.Revisions(b.index.Place())[i], b.branch)
		}
	}
}

// missing says what an application lacks of the sources that this tree tells about.
func (b *grapher) missing(n int, counts func(argocd.Source) bool) {
	a := b.graph.Applications[n]
	for _, s := range a.Sources {
		dir, here := b.index.Folder(s)
		if here && counts(s) && !b.folders[dir] && !b.hidden(dir) {
			b.warn([]int{n}, "application %s: there is no folder %s", a.Name, s.Path)
		}
	}
	for _, f := range b.index.Needed(n) {
		if counts(f.Source) && !b.files[f.Path] && !b.hidden(f.Path) {
			b.warn([]int{n}, "application %s: there is no file %s, which its Helm values are to be read from", a.Name, f.Path)
		}
	}
}

// tracks reports whether a targetRevision is the branch, as far as that is known.
func (b *grapher) tracks(revision string) bool {
	return b.branch == "" || revision == "HEAD" || strings.TrimPrefix(revision, "refs/heads/") == b.branch
}

// fromHere reports whether a source is of the tree's repository. Where its address is not known, that is one which another
// source takes something from that is there.
func (b *grapher) fromHere(s argocd.Source) bool {
	place := b.index.Place()
	if s.Chart != "" || !place.Has(s.Repository) {
		return false
	}
	if place.Repository != "" {
		return true
	}
	if b.repositories == nil {
		b.repositories = map[string]bool{}
		for _, a := range b.graph.Applications {
			for _, s := range a.Sources {
				dir, here := b.index.Folder(s)
				b.repositories[s.Repository] = b.repositories[s.Repository] || here && b.folders[dir]
			}
		}
	}
	return b.repositories[s.Repository]
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

// made are the applications of a set.
func (b *grapher) made(set argocd.Set) []int {
	var all []int
	for n, a := range b.graph.Applications {
		if a.Set == set.Name && a.File == set.File && a.Line == set.Line {
			all = append(all, n)
		}
	}
	return all
}

// twice says which applications deploy the same.
func (b *grapher) twice() {
	for _, t := range b.index.Twice(b.manifests) {
		amount, other := "both", "the other does"
		if len(t.Applications) > 2 {
			amount, other = "all", "the others do"
		}
		text := "each will undo what " + other
		if t.Apart {
			text = "it is there once in each of their namespaces, or where it names its own, each will undo what " + other
		}
		a := b.graph.Applications[t.Applications[len(t.Applications)-1]]
		b.warnAt(a.File, a.Line, t.Applications, "%s %s deploy %s: %s", b.named(t.Applications), amount, t.Path, text)
	}
}

// waves says where sync waves do not order what they seem to.
func (b *grapher) waves() {
	for _, set := range b.index.Sets() {
		if made := b.waved(b.made(set)); len(made) > 0 {
			b.warnAt(set.File, set.Line, made, "%s: an ApplicationSet creates all of its applications at once, whatever their sync waves", b.named(made))
		}
	}
	var alone []int
	children := map[int][]int{}
	for n, a := range b.graph.Applications {
		if a.Set == "" && len(a.Parents) == 0 {
			alone = append(alone, n)
		}
		for _, parent := range a.Parents {
			if parent != n && a.Set == "" {
				children[parent] = append(children[parent], n)
			}
		}
	}
	switch alone = b.waved(alone); {
	case len(alone) == 1:
		a := b.graph.Applications[alone[0]]
		b.warn(alone, "application %s: its sync wave %d orders nothing, since no application here creates it", a.Name, a.Wave)
	case len(alone) > 1:
		b.warn(alone, "%s: their sync waves order nothing, since no application here creates them", b.named(alone))
	}
	for n := range b.graph.Applications {
		b.healthless(n, children[n])
	}
}

// waved are those with a wave.
func (b *grapher) waved(applications []int) []int {
	return slices.DeleteFunc(applications, func(n int) bool { return b.graph.Applications[n].Wave == 0 })
}

// healthless says so when the waves of what an application creates do not wait for health.
func (b *grapher) healthless(n int, children []int) {
	differs := func(child int) bool {
		return b.graph.Applications[child].Wave != b.graph.Applications[children[0]].Wave
	}
	if b.graph.WavesWait || !slices.ContainsFunc(children, differs) {
		return
	}
	text := fmt.Sprintf("unless Argo CD is configured elsewhere, since no %s in this tree has %s", argocd.ConfigMap, argocd.HealthKey)
	if b.settings != "" {
		text = fmt.Sprintf("since %s does not have %s", b.settings, argocd.HealthKey)
	}
	b.warn([]int{n}, "application %s: the sync waves of what it creates order only the creation, without waiting for health, %s", b.graph.Applications[n].Name, text)
}

// moving says which images can change without a commit although an application is synced automatically.
func (b *grapher) moving() {
	type place struct {
		file string
		line int
	}
	var places []place
	at, image := map[place][]int{}, map[place]string{}
	for n, a := range b.graph.Applications {
		for _, s := range a.Images {
			if p := (place{s.File, s.Line}); a.Automated && s.Mutable() {
				if at[p] == nil {
					places = append(places, p)
				}
				at[p], image[p] = append(at[p], n), s.Brief()
			}
		}
	}
	slices.SortFunc(places, func(x, y place) int { return cmp.Or(cmp.Compare(x.file, y.file), cmp.Compare(x.line, y.line)) })
	for _, p := range places {
		which := "which is"
		if len(at[p]) > 1 {
			which = "which are"
		}
		b.warnAt(p.file, p.line, at[p], "%s can become another image at any time, and %s, %s synced automatically, will not see it: name a version", image[p], b.named(at[p]), which)
	}
}
