package argocd

import (
	"cmp"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// Tree is what must be known of the files around to tell which of them go into an application. Paths are relative to the
// tree's root.
type Tree interface {
	// Files are all files.
	Files() iter.Seq2[manifest.File, error]
	// Kustomization and Chart report whether dir is the folder of one.
	Kustomization(dir string) bool
	Chart(dir string) bool
	// Builders are the folders whose kustomizations build from a file, by themselves or through others.
	Builders(file string) []string
}

// Place says where a tree lies. Repository is the address of the git repository, "" when unknown: then every source counts
// whose path is there. Prefix is the folder of the repository that is the tree's root, "" for its top. Branch is the one that
// the tree is of, "" when unknown.
type Place struct{ Repository, Prefix, Branch string }

func (p Place) isHere(repository string) bool {
	if repository == "" || strings.HasPrefix(repository, "oci://") {
		return false
	}
	return p.Repository == "" || SameRepository(repository, p.Repository)
}

func (p Place) inRepository(file string) string { return path.Join(p.Prefix, file) }

// inTree is a path of the repository as the tree has it; ok is false outside.
func (p Place) inTree(full string) (string, bool) {
	if p.Prefix == "" {
		return full, true
	}
	if full == p.Prefix {
		return ".", true
	}
	return strings.CutPrefix(full, p.Prefix+"/")
}

// Index knows which applications deploy which files of a tree.
type Index struct {
	place        Place
	tree         Tree
	applications []Application
	folders      map[string][]claim // by path in the repository, with what goes in from there
	files        map[string][]claim // by path in the repository
	globs        []claim
	declared     map[string][]int // by file
	sets         []Set
	unclear      []Unclear
}

// claim is what an application's source says of a folder, a file or the paths that a glob means.
type claim struct {
	application int
	source      *Source
	kind        kind
	glob        string
}

// New is the index of what the files of a tree declare. ApplicationSets are rendered; what they need may be read from the
// tree, and an error says that it could not be.
func New(declared []Declared, place Place, tree Tree) (*Index, error) {
	x := &Index{place: place, tree: tree, folders: map[string][]claim{}, files: map[string][]claim{}, declared: map[string][]int{}}
	l := &lister{place: place, tree: tree}
	for _, d := range declared {
		x.applications = append(x.applications, d.Applications...)
		x.unclear = append(x.unclear, d.Unclear...)
		x.sets = append(x.sets, d.Sets...)
		for _, set := range d.Sets {
			if len(x.applications) > maxApplications {
				break
			}
			made, err := set.generated(l)
			if l.err != nil {
				return nil, l.err
			}
			if err != nil {
				x.doubt(set.File, set.Line, "ApplicationSet %s: %v; what it deploys is not known", set.Name, err)
			}
			x.applications = append(x.applications, made...)
		}
	}
	slices.SortFunc(x.applications, Application.compare)
	if len(x.applications) > maxApplications {
		x.applications = x.applications[:maxApplications]
		x.doubt("", 0, "some applications are left out of account: there are more than %d", maxApplications)
	}
	for n, a := range x.applications {
		x.declared[a.File] = append(x.declared[a.File], n)
		x.claim(n)
	}
	x.elsewhere()
	slices.SortFunc(x.sets, func(a, b Set) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	sortUnclear(x.unclear)
	return x, nil
}

// Unclear is what the manifests leave open, in the order of the files.
func (x *Index) Unclear() []Unclear { return x.unclear }

// Applications are all that the tree declares, by wave and name.
func (x *Index) Applications() []Application { return x.applications }

// Sets are the ApplicationSets, by file and line.
func (x *Index) Sets() []Set { return x.sets }

// claim notes what the sources of an application say.
func (x *Index) claim(n int) {
	a := &x.applications[n]
	for i := range a.Sources {
		s := &a.Sources[i]
		if s.Path != "" && x.place.isHere(s.Repository) {
			x.folder(s.Path, claim{application: n, source: s, kind: s.kind})
			for _, component := range s.components {
				x.folder(path.Join(s.Path, component), claim{application: n, source: s, kind: kustomize})
			}
		}
		for _, file := range s.values {
			x.values(n, s, file)
		}
	}
}

// maxClaims is how many applications a folder, or a glob, is looked up for. Nobody has as many.
const maxClaims = 1000

func (x *Index) folder(dir string, c claim) {
	switch len(x.folders[dir]) {
	case maxClaims:
		return
	case maxClaims - 1:
		x.doubt("", 0, "only %d of the applications that deploy %s are known", maxClaims, dir)
	}
	x.folders[dir] = append(x.folders[dir], c)
}

// elsewhere says so when there are applications, but none takes anything from this repository: it may be known to Argo CD
// under another address.
func (x *Index) elsewhere() {
	if x.place.Repository == "" || len(x.folders) > 0 || len(x.files) > 0 || len(x.globs) > 0 {
		return
	}
	for _, a := range x.applications {
		for _, s := range a.Sources {
			if s.Chart == "" {
				x.doubt(a.File, a.Line, "no application takes anything from this repository, %s; %s takes from %s",
					where(x.place.Repository), a.Name, where(s.Repository))
				return
			}
		}
	}
}

// doubt notes what is unclear, on one line.
func (x *Index) doubt(file string, line int, format string, args ...any) {
	x.unclear = append(x.unclear, Unclear{file, line, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")})
}

// Owners are the applications that deploy a file, by wave and name.
func (x *Index) Owners(file string) []Owner {
	var owners []Owner
	for n, revision := range x.owning(file, nil) {
		owners = append(owners, Owner{x.applications[n], revision, n})
	}
	slices.SortFunc(owners, func(a, b Owner) int { return a.compare(b.Application) })
	return owners
}

// owning are the numbers of the applications that deploy a file, with the revision that they take it from: those that have
// it built by a kustomization in one of the folders, nil for any, and those that take it as it is.
func (x *Index) owning(file string, through []string) map[int]string {
	full := x.place.inRepository(file)
	revisions := map[int]string{}
	take := func(c claim) {
		if _, met := revisions[c.application]; !met {
			revisions[c.application] = c.source.Revision
		}
	}
	for _, c := range x.files[full] {
		take(c)
	}
	for _, c := range x.globs {
		if matchesPath(c.glob, full) {
			take(c)
		}
	}
	for dir := path.Dir(full); ; dir = path.Dir(dir) {
		for _, c := range x.folders[dir] {
			if x.takes(c, dir, full) {
				take(c)
			}
		}
		if dir == "." || dir == "/" {
			break
		}
	}
	x.built(file, through, take)
	return revisions
}

// built tells the claims of folders, nil for any, whose kustomizations build from the file.
func (x *Index) built(file string, through []string, take func(claim)) {
	if len(x.folders) == 0 {
		return
	}
	for _, dir := range x.tree.Builders(file) {
		if through != nil && !slices.Contains(through, dir) {
			continue
		}
		full := x.place.inRepository(dir)
		for _, c := range x.folders[full] {
			if x.kindOf(c, full) == kustomize {
				take(c)
			}
		}
	}
}

// kindOf is what Argo CD makes manifests of a folder with.
func (x *Index) kindOf(c claim, full string) kind {
	dir, here := x.place.inTree(full)
	switch {
	case c.kind != detected:
		return c.kind
	case here && x.tree.Kustomization(dir):
		return kustomize
	case here && x.tree.Chart(dir):
		return helm
	}
	return directory
}

// takes reports whether a file in or below folder dir goes into the application by its name.
func (x *Index) takes(c claim, dir, full string) bool {
	below := strings.TrimPrefix(full, dir+"/")
	if override := ".argocd-source"; strings.HasPrefix(below, override) {
		return below == override+".yaml" || below == override+"-"+x.applications[c.application].Name+".yaml"
	}
	switch x.kindOf(c, dir) {
	case directory:
		return (c.source.recurse || !strings.Contains(below, "/")) && slices.Contains([]string{".yaml", ".yml", ".json", ".jsonnet"}, path.Ext(full)) &&
			(c.source.include == "" || matches(c.source.include, below)) && (c.source.exclude == "" || !matches(c.source.exclude, below))
	case helm:
		top, _, _ := strings.Cut(below, "/")
		return slices.Contains([]string{"Chart.yaml", "values.yaml", "templates", "charts", "crds"}, top)
	case plugin:
		return true // it may read whatever lies in its folder
	}
	return false
}

// Declared are the applications that an object of a file is or, for an ApplicationSet, makes.
func (x *Index) Declared(file, kind, name string) []Owner {
	var all []Owner
	for _, n := range x.declared[file] {
		a := x.applications[n]
		if (kind == "Application") == (a.Set == "") && a.declared == name && len(a.Sources) > 0 {
			all = append(all, Owner{a, a.Sources[0].Revision, n})
		}
	}
	return all
}
