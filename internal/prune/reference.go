package prune

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/retention"
)

// add notes a reference once, where it was met first.
func (r *reading) add(ref retention.Reference) {
	key := ref
	key.Where = ""
	if !r.noted[key] {
		r.noted[key] = true
		r.References = append(r.References, ref)
	}
}

// whole notes that some image of a repository is meant, or of one below it.
func (r *reading) whole(repository, where string) {
	r.add(retention.Reference{Repository: repository, Where: where})
	r.add(retention.Reference{Repository: repository + "/" + retention.Any, Where: where})
}

// mayName reports whether a file can have a site of the project: it has the project's name, or imgbump.yaml says of which
// image it has a version.
func (r *reading) mayName(data []byte) bool {
	return bytes.Contains(data, []byte(r.project)) || slices.ContainsFunc(r.rules.Fields, func(f manifest.FieldRule) bool { return strings.Contains(f.Image, r.project+"/") })
}

// inPod is the field of an image in a Pod, or in what makes Pods. Without a tag it is latest, since Kubernetes says so.
var inPod = regexp.MustCompile(`(^|\.)(containers|initContainers|ephemeralContainers)\[\d+\]\.image$`)

// site notes the image of a place that names one. What Flux only looks for is none that runs.
func (r *reading) site(f File, s manifest.Site) {
	_, repository, _ := strings.Cut(s.Ref.Canonical(), "/")
	if !strings.HasPrefix(repository, r.project+"/") || strings.HasPrefix(s.Object.APIVersion, "image.toolkit.fluxcd.io/") {
		return
	}
	where := fmt.Sprintf("%s:%d%s", s.File, s.Line, f.at())
	if s.Shape == manifest.Helm {
		r.helm.repositories = append(r.helm.repositories, apart{repository, f.Path, where, s.Ref.Versioned()})
	}
	switch {
	case s.Ref.Versioned():
		r.add(retention.Reference{Repository: repository, Tag: s.Ref.Tag, Digest: s.Ref.Digest, Where: where})
	case s.Shape == manifest.Helm: // the chart says
	case s.Shape == manifest.Whole && s.Object.Kind != "" && inPod.MatchString(s.Field):
		r.add(retention.Reference{Repository: repository, Tag: "latest", Where: where})
	default:
		r.whole(repository, where)
	}
}

var (
	digestText  = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	comment     = regexp.MustCompile(`(^|\s)#.*`)
	nameText    = regexp.MustCompile(`^[a-z0-9][a-z0-9._/-]*`)
	versionText = regexp.MustCompile(`^(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?`)
)

// text finds digests, and names of the project's repositories with or without a tag, outside of comments. Sites are the
// places of the file that are known already.
func (r *reading) text(f File, data []byte, sites []manifest.Site) {
	n, offset := 0, 0
	for line := range bytes.Lines(data) {
		n++
		if bytes.Contains(line, []byte("sha256:")) || bytes.Contains(line, []byte(r.project)) {
			where := fmt.Sprintf("%s:%d%s", f.Path, n, f.at())
			r.line(string(comment.ReplaceAll(line, nil)), isWorkflow(f.Path), where, func(at int) bool {
				return slices.ContainsFunc(sites, func(s manifest.Site) bool { return s.Holds(offset + at) })
			})
		}
		offset += len(line)
	}
}

// line notes what a line names. Of a place in it, isSite tells whether that is known already.
func (r *reading) line(text string, workflow bool, where string, isSite func(at int) bool) {
	for _, digest := range digestText.FindAllString(text, -1) {
		r.add(retention.Reference{Digest: digest, Where: where})
	}
	for from := 0; ; {
		i := strings.Index(text[from:], r.project)
		if i < 0 {
			return
		}
		at := from + i
		from = at + len(r.project)
		r.mention(mention{text[:at], text[from:], workflow}, where, isSite(at))
	}
}

// mention notes what the project's name stands for somewhere in a text. In a site only what has a version counts: of
// others more is known there.
func (r *reading) mention(m mention, where string, isSite bool) {
	rest, named := strings.CutPrefix(m.after, "/")
	if !m.isWord() {
		return
	}
	name := nameText.FindString(rest)
	behind := rest[len(name):]
	version := versionText.FindStringSubmatch(behind)
	repository := r.project + "/" + name
	switch {
	case name != "" && version[0] != "" && !computed(behind[len(version[0]):]):
		r.add(retention.Reference{Repository: repository, Tag: version[1], Digest: version[2], Where: where})
	case isSite || !m.isImage():
	case named && computed(behind): // PROJECT/$NAME, PROJECT/app-$NAME
		r.add(retention.Reference{Repository: repository + retention.Any, Where: where})
	case name != "":
		r.whole(strings.TrimRight(repository, "._-/"), where)
	case !named && m.isPrefix():
		r.add(retention.Reference{Repository: r.project + "/" + retention.Any, Where: where})
	}
}

// computed reports whether a template or a shell puts in what comes next.
func computed(rest string) bool { return rest != "" && strings.ContainsRune("{$%<", rune(rest[0])) }
