package bump

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// rootsShown and sharedShown are how many kustomizations a warning names, and how many such warnings there are.
const rootsShown, sharedShown = 3, 5

// shared warns where several roots build from the files of sites, and not all of them override what the site says: an
// edit there reaches more than one. One warning stands for all sites of the same roots.
func (o *overlays) shared(sites []manifest.Site) []Warning {
	more := map[string]int{} // by roots: how many sites beside the first
	var firsts []manifest.Site
	rest := 0
	for _, site := range sites {
		if !o.mayShare(site.File) {
			continue
		}
		roots := strings.Join(o.rootsOf(site.File), "\n")
		switch _, met := more[roots]; {
		case !strings.Contains(roots, "\n") || o.overriddenBy(site) != "":
		case met:
			more[roots]++
		case len(firsts) == sharedShown:
			rest++
		default:
			more[roots] = 0
			firsts = append(firsts, site)
		}
	}
	var warnings []Warning
	for _, site := range firsts {
		roots := o.rootsOf(site.File)
		warnings = append(warnings, Warning{File: site.File, Line: site.Line, Text: sharedText(roots, more[strings.Join(roots, "\n")])})
	}
	if rest > 0 {
		warnings = append(warnings, Warning{Text: fmt.Sprintf("%d more places that several kustomizations build from", rest)})
	}
	return warnings
}

func sharedText(roots []string, more int) string {
	it := "this"
	if more > 0 {
		it = fmt.Sprintf("this and others (%d)", more)
	}
	var names []string
	for _, root := range roots[:min(len(roots), rootsShown)] {
		names = append(names, path.Dir(root))
	}
	if len(roots) > rootsShown {
		names = append(names, "...")
	}
	return fmt.Sprintf("%d kustomizations build from %s: %s; to change one alone, give it an entry in images: and say --path %s",
		len(roots), it, strings.Join(names, ", "), names[0])
}

// rootsOf are the kustomizations that build from file and that no other one builds from: what is applied to a cluster.
// They are looked for upwards, so that only kustomizations that may name the file are parsed.
func (o *overlays) rootsOf(file string) []string {
	if known, ok := o.roots[file]; ok {
		return known
	}
	_, roots := climb(file, o.parents)
	o.roots[file] = roots
	return roots
}

// mayShare reports whether several kustomizations may build from file, as far as their words tell.
func (o *overlays) mayShare(file string) bool {
	met, _ := climb(file, o.mentioning)
	return len(met) > 1
}

// climb goes from file to the kustomizations that build from it, step by step to the parents of each. The roots are those
// without parents.
func climb(file string, parents func(p string) []string) (met, roots []string) {
	seen := map[string]bool{file: true}
	var from func(p string)
	from = func(p string) {
		above := parents(p)
		if manifest.IsKustomization(p) {
			above = slices.Concat(above, parents(path.Dir(p)))
			if met = append(met, p); len(above) == 0 {
				roots = append(roots, p)
			}
		}
		for _, parent := range above {
			if !seen[parent] {
				seen[parent] = true
				from(parent)
			}
		}
	}
	from(file)
	slices.Sort(roots)
	return met, roots
}

// parents are the kustomizations that name a file or folder.
func (o *overlays) parents(p string) []string {
	var found []string
	for _, kustomization := range o.mentioning(p) {
		if slices.Contains(o.resources(kustomization), p) {
			found = append(found, kustomization)
		}
	}
	return found
}

// mentioning are the kustomizations with a word that may mean the file or folder.
func (o *overlays) mentioning(p string) []string {
	if o.mentions == nil {
		o.mentions = mentions(o.tree.kustomizations)
	}
	return o.mentions[p]
}

// maxMentioning is the size in bytes up to which a kustomization is searched for mentions; nobody writes longer ones.
const maxMentioning = 1 << 20

// mentions are the kustomizations by the paths that a word in them may mean. That is quick to tell, and leaves few to be
// parsed for what they mean indeed.
func mentions(kustomizations map[string][]byte) map[string][]string {
	found := map[string][]string{}
	for file, data := range kustomizations {
		if len(data) > maxMentioning {
			continue
		}
		dir := path.Dir(file)
		for word := range bytes.FieldsFuncSeq(data, func(r rune) bool { return r < utf8.RuneSelf && parting[r] }) {
			if bytes.IndexByte(word, ':') < 0 && string(word) != "-" {
				p := path.Join(dir, string(word))
				found[p] = append(found[p], file)
			}
		}
	}
	return found
}

// parting are the characters between the words of a kustomization.
var parting = func() (parts [utf8.RuneSelf]bool) {
	for _, c := range " \t\r\n\"',[]{}" {
		parts[c] = true
	}
	return parts
}()
