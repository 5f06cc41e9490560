package argocd

import (
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// values notes a file of Helm values.
func (x *Index) values(n int, s *Source, file string) {
	a := &x.applications[n]
	full, of := a.valuesFile(s, file)
	if of == nil {
		return // a file in the chart's archive
	}
	switch c := (claim{application: n, source: of, kind: helm, glob: full}); {
	case strings.Contains(file, "://") || !x.place.isHere(of.Repository):
	case strings.Contains(full, "$"):
		x.doubt(a.File, a.Line, "Application %s: the values file %s depends on Argo CD's environment", a.Name, file)
	case !globbing(full):
		x.files[full] = append(x.files[full], c)
	case len(x.globs) < maxClaims:
		x.globs = append(x.globs, c)
	}
}

func globbing(file string) bool { return strings.ContainsAny(file, "*?[") }

// valuesFile is the path of a file of Helm values in the repository of a source: relative to the chart, to the top of the
// repository, or to that of the source that $NAME refers to. The source is nil for a file in a chart's archive.
func (a *Application) valuesFile(s *Source, file string) (full string, of *Source) {
	if name, rest, referring := strings.Cut(file, "/"); referring && strings.HasPrefix(name, "$") {
		i := slices.IndexFunc(a.Sources, func(other Source) bool { return other.Ref == name[1:] })
		if i >= 0 {
			return path.Clean(rest), &a.Sources[i]
		}
	} else if strings.HasPrefix(file, "/") {
		return path.Clean(file[1:]), s
	} else if s.Chart != "" {
		return "", nil
	}
	return path.Join(s.Path, file), s
}

// Values are, for each source of an application that Helm renders, the files of values in the tree, in the order in which
// the later ones win. Those that a glob means are left out.
func (x *Index) Values(n int) [][]string {
	a := &x.applications[n]
	var all [][]string
	for i := range a.Sources {
		s := &a.Sources[i]
		var files []string
		add := func(full string, of *Source) {
			if of == nil || globbing(full) || !x.place.isHere(of.Repository) {
				return
			}
			if file, here := x.place.inTree(full); here {
				files = append(slices.DeleteFunc(files, func(before string) bool { return before == file }), file)
			}
		}
		if dir, here := x.Folder(*s); here && x.tree.Chart(dir) {
			add(path.Join(s.Path, "values.yaml"), s)
		}
		for _, file := range s.values {
			add(a.valuesFile(s, file))
		}
		if len(files) > 1 {
			all = append(all, files)
		}
	}
	return all
}

// ValuesFile is a file that Helm fails without, by its path in the tree, with the source that it is of.
type ValuesFile struct {
	Path   string
	Source Source
}

// Needed are the files that the Helm sources of an application name, but for globs and names that Argo CD fills in.
func (x *Index) Needed(n int) (all []ValuesFile) {
	a := &x.applications[n]
	for i := range a.Sources {
		s := &a.Sources[i]
		for _, file := range s.values {
			full, of := a.valuesFile(s, file)
			if of == nil || s.lenient || globbing(full) || strings.Contains(full, "$") || strings.Contains(file, "://") || !x.place.isHere(of.Repository) {
				continue
			}
			if inTree, here := x.place.inTree(full); here {
				all = append(all, ValuesFile{inTree, *of})
			}
		}
	}
	return all
}

// ValueAt is the text at a path of keys in a file of values, "" when there is none.
func ValueAt(data []byte, keys ...string) string {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 || doc.Decode(new(any)) != nil {
		return ""
	}
	return textAt(copied(doc.Content[0], 0), keys...)
}
