package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/config"
)

// The branches for pull requests are named so that runs of one job meet in one branch, and other jobs have others:
//
//	imgbump/BRANCH+WHAT[@TARGET][@+FOLDER][,GROUP]
//
// WHAT is an image, a number of them, FROM=TO, or update with its images; what stands behind it is there when the job is limited to it. The marks
// between the parts are in none of them.

// ours begins the names of branches that are for pull requests alone.
const ours = "imgbump/"

// headName is the branch for the pull request of a group of changes.
func (p *proposals) headName(group string) string {
	switch {
	case p.perImage():
		return ours + base(p.remote.Name()) + "+" + slug(familiar(group), 80) + p.where
	case p.per == bump.All:
		return p.stem()
	case p.per == bump.PerImage:
		group = familiar(group)
	case p.per == bump.PerApplication:
		group = cmp.Or(group, "no-application")
	}
	return p.stem() + "," + slug(group, 60)
}

// perImage reports whether each image is proposed in the branch that it would have if it were set alone.
func (p *proposals) perImage() bool {
	return p.per == bump.PerImage && p.job.From == "" && p.job.Updates == nil && p.job.Hold == nil && p.head == ""
}

// stem is what the names of the job's branches begin with.
func (p *proposals) stem() string {
	if p.head == "" {
		return ours + base(p.remote.Name()) + "+" + subject(p.job) + p.where
	}
	name := strings.TrimPrefix(p.head, "refs/heads/")
	if p.several {
		name += "@" + slug(p.target, 30)
	}
	return name
}

// base is the branch that is proposed to, as a part of other branches' names.
func base(branch string) string {
	if strings.ContainsAny(branch, "+@,=") {
		branch += "-" + hashed(branch)
	}
	return branch
}

// subject is what a job sets, in a word that is the same for every run of it.
func subject(job bump.Job) string {
	if job.From != "" {
		return slug(job.From, 40) + "=" + slug(strings.Join(job.Paths, ","), 40)
	}
	if job.Hold != nil { // to release an image is to take back what was proposed to hold it
		return "hold=" + slug(familiar(job.Hold.Image.Canonical()), 80)
	}
	if u := job.Updates; u != nil && len(u.Images) == 0 {
		return "update"
	} else if u != nil {
		for _, ref := range u.Images {
			job.Images = append(job.Images, bump.Image{Ref: ref})
		}
		job.Updates = nil
		return "update=" + subject(job)
	}
	var all []string
	for _, image := range job.Images {
		all = append(all, familiar(image.Ref.Canonical()))
	}
	if len(all) == 1 {
		return slug(all[0], 80)
	}
	slices.Sort(all)
	return fmt.Sprintf("%d-images-%s", len(all), hashed(all...))
}

// familiar is a repository's full name as people write it.
func familiar(canonical string) string {
	return strings.TrimPrefix(strings.TrimPrefix(canonical, "docker.io/"), "library/")
}

// whereOf is the part of the repository that the job is limited to: a target, a folder, or several of these.
func whereOf(target config.Target, prefix string, job bump.Job) string {
	where := ""
	if target.Name != "" {
		where = "@" + slug(target.Name, 30)
	}
	var bounds []string
	if own, _ := limits(target.Paths); job.From == "" && !slices.Equal(job.Paths, own) {
		for _, p := range job.Paths {
			bounds = append(bounds, path.Join("/", prefix, p))
		}
	}
	if len(bounds) == 0 {
		bounds = append(bounds, "/"+prefix)
	}
	bounds = append(bounds, slices.Sorted(slices.Values(job.Applications))...)
	switch {
	case len(bounds) > 1:
		return where + "@" + hashed(bounds...)
	case bounds[0] != "/":
		return where + "@" + slug(bounds[0], 40)
	}
	return where
}

// slug is a name as a part of a branch's name, of as many bytes at most. What cannot stand there is replaced, and told
// apart by a hash.
func slug(name string, most int) string {
	faithful := true
	s := strings.Map(func(c rune) rune {
		switch {
		case c == '/':
			return '+'
		case unicode.IsLetter(c), unicode.IsDigit(c), unicode.IsMark(c), c == '.', c == '_', c == '-':
			return c
		}
		faithful = false
		return '-'
	}, name)
	if faithful && len(s) <= most && !strings.Contains(s, "..") && !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, ".lock") {
		return s
	}
	s = strings.ReplaceAll(s, "..", "-")
	for len(s) > most-9 {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s + "-" + hashed(name)
}

// hashed tells names apart, in eight characters.
func hashed(names ...string) string {
	return fmt.Sprintf("%.4x", sha256.Sum256([]byte(strings.Join(names, "\n"))))
}
