package bump

import (
	"bytes"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// index finds the first image that is meant for a site, however many were asked for.
type index struct {
	images       []Image
	byRef, byOld map[string][]int // canonical repository to places in the list
}

func newIndex(images []Image) index {
	x := index{images, map[string][]int{}, map[string][]int{}}
	for i, image := range images {
		x.byRef[image.Ref.Canonical()] = append(x.byRef[image.Ref.Canonical()], i)
		if image.Rename {
			x.byOld[image.Old.Canonical()] = append(x.byOld[image.Old.Canonical()], i)
		}
	}
	return x
}

func (x index) find(site manifest.Site) (at int, ok bool) {
	consider := func(m map[string][]int, ref imageref.Ref) {
		for _, i := range m[ref.Canonical()] {
			if x.images[i].means(site) {
				if !ok || i < at {
					at, ok = i, true
				}
				return
			}
		}
	}
	consider(x.byRef, site.Ref)
	if len(x.byOld) > 0 {
		consider(x.byOld, site.Ref)
		consider(x.byOld, site.Replaces)
	}
	return at, ok
}

// names are the strings of which a file must hold one to be worth parsing: the last components of repositories. Without
// any, every file is.
type names struct {
	few  [][]byte
	many map[string]bool
}

// fewNames is how many names are quicker looked for one by one than all at once.
const fewNames = 4

func namesOf(images []Image) names {
	all := map[string]bool{}
	for _, image := range images {
		all[image.Ref.Base()] = true
		if image.Rename {
			all[image.Old.Base()] = true
		}
	}
	if len(all) > fewNames {
		return names{many: all}
	}
	var n names
	for name := range all {
		n.few = append(n.few, []byte(name))
	}
	return n
}

// any reports whether every file counts.
func (n names) any() bool { return n.few == nil && n.many == nil }

// in reports whether data holds one of the names. Of many, each word of data is looked up once: a component of a
// repository is never a part of a longer word.
func (n names) in(data []byte) bool {
	for _, name := range n.few {
		if bytes.Contains(data, name) {
			return true
		}
	}
	if n.many == nil {
		return n.any()
	}
	start := 0
	for i, c := range data {
		if !inWord[c] {
			if i > start && n.many[string(data[start:i])] {
				return true
			}
			start = i + 1
		}
	}
	return n.many[string(data[start:])]
}

// inWord are the bytes of a repository's component.
var inWord = func() (in [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyz0123456789._-" {
		in[c] = true
	}
	return in
}()
