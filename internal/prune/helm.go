package prune

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/retention"
)

// helm knows what of an image stands apart from its repository: in the values that override a chart's, and in its
// Chart.yaml, whose appVersion is the tag where values leave it empty (the scaffold of helm create).
type helm struct {
	repositories []apart
	tags         map[string]string  // that may stand without a repository, with the first place of each
	versions     map[string][]tagAt // of the charts, by folder
	open         map[string]bool    // charts that are made of others, by folder
}

// apart is a repository that stands apart from its tag; tagged when there is one.
type apart struct {
	repository, file, where string
	tagged                  bool
}

type tagAt struct{ tag, where string }

func newHelm() helm {
	return helm{tags: map[string]string{}, versions: map[string][]tagAt{}, open: map[string]bool{}}
}

var (
	tagKey     = regexp.MustCompile(`(?i)tag["']?(?:,?\s+["']?value["']?)?[ \t]*[:=][ \t]*["']?([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})`)
	appVersion = regexp.MustCompile(`(?m)^appVersion:[ \t]*["']?([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})`)
	dependent  = regexp.MustCompile(`(?m)^dependencies:`)
)

// read notes the tags in a file, and what a Chart.yaml says.
func (h *helm) read(f File, data []byte) {
	for _, found := range tagKey.FindAllSubmatchIndex(data, -1) {
		if t := textAt(f, data, found); h.tags[t.tag] == "" {
			h.tags[t.tag] = t.where
		}
	}
	if path.Base(f.Path) != "Chart.yaml" {
		return
	}
	dir := path.Dir(f.Path)
	h.open[dir] = h.open[dir] || dependent.Match(data)
	if found := appVersion.FindSubmatchIndex(data); found != nil {
		h.versions[dir] = append(h.versions[dir], textAt(f, data, found))
	}
}

// textAt is the first group of what was found in a file.
func textAt(f File, data []byte, found []int) tagAt {
	line := 1 + bytes.Count(data[:found[2]], []byte("\n"))
	return tagAt{string(data[found[2]:found[3]]), fmt.Sprintf("%s:%d%s", f.Path, line, f.at())}
}

// resolve puts together what stands apart: with each repository go the tags that stand alone, since any values file may
// be for its chart. One without a tag has the version of its chart; where that cannot be told, all of it stays.
func (r *reading) resolve() {
	var alone []tagAt
	for _, tag := range slices.Sorted(maps.Keys(r.helm.tags)) {
		alone = append(alone, tagAt{tag, r.helm.tags[tag]})
	}
	for _, a := range r.helm.repositories {
		tags := slices.Clone(alone)
		if !a.tagged {
			versions := r.chartVersions(a.file)
			if versions == nil {
				r.whole(a.repository, a.where)
			}
			for _, v := range versions {
				tags = append(tags, v, tagAt{"v" + strings.TrimPrefix(v.tag, "v"), v.where}, tagAt{"latest", a.where})
			}
		}
		for _, t := range tags {
			r.add(retention.Reference{Repository: a.repository, Tag: t.tag, Where: t.where})
		}
	}
}

// chartVersions are those of the chart that a file is in, and of the charts in that; nil when there is none, or one that
// is not here.
func (r *reading) chartVersions(file string) (versions []tagAt) {
	dir := path.Dir(file)
	for ; !r.charts[dir]; dir = path.Dir(dir) {
		if dir == "." {
			return nil
		}
	}
	for _, chart := range slices.Sorted(maps.Keys(r.charts)) {
		if chart != dir && !strings.HasPrefix(chart, strings.TrimPrefix(dir+"/", "./")) {
			continue
		}
		if r.helm.open[chart] || r.helm.versions[chart] == nil {
			return nil
		}
		versions = append(versions, r.helm.versions[chart]...)
	}
	return versions
}
