package main

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/status"
)

// spot is a site, whatever stands there.
type spot struct {
	file  string
	doc   int
	field string
}

func spotOf(s manifest.Site) spot { return spot{s.File, s.Doc, s.Field} }

// view is how a target's rounds are shown: with what its tree was like at a commit.
type view struct {
	commit       string
	applications map[spot]string
	diagram      []byte
}

// look reads who deploys what at the branch's tip, unless that is known.
func (v *view) look(ctx context.Context, u *upkeep, job bump.Job) error {
	if v.commit == u.branch.tip {
		return nil
	}
	job = bump.Job{Place: job.Place, Include: job.Include}
	g, err := job.Graph(ctx, func(under []string) iter.Seq2[manifest.File, error] {
		return bump.FilesAt(ctx, u.branch, u.branch.tip, u.place.prefix, under)
	}, u.branch.Name())
	if err != nil {
		return err
	}
	v.commit, v.applications, v.diagram = u.branch.tip, map[spot]string{}, nil
	for _, s := range g.Sites {
		if name := s.Application(); name != "" {
			v.applications[spotOf(s.Site)] = name
		}
	}
	if len(g.Applications) > 0 {
		v.diagram = []byte(graphFlags{}.drawn(g).SVG())
	}
	return nil
}

// round is what a result comes to for a branch.
func (v *view) round(result bump.Result, branch *watched) status.Round {
	now := time.Now()
	var r status.Round
	changed := map[spot]string{}
	for _, commit := range slices.DeleteFunc(slices.Clone(result.Commits), func(x bump.Commit) bool { return !branch.has(x) }) {
		for _, x := range commit.Changes {
			changed[spotOf(x.Site)] = bump.VersionOf(x.To)
		}
	}
	left := map[string]string{} // why, of places that were left alone
	for _, x := range result.Skipped {
		left[fmt.Sprint(x.File, ":", x.Line)] = x.Reason
	}
	for _, x := range result.Choices {
		image := shownImage(x.Found, now)
		image.Why = x.Why
		if x.Err != nil {
			image.Err, image.Hint = x.Err.Error(), fault.HintOf(x.Err)
		} else if x.Decision.Tag != "" {
			image.Newest = bump.VersionOf(x.Version())
		}
		for _, s := range x.Sites {
			place := v.place(s)
			if to := changed[spotOf(s)]; to != "" {
				place.Current = to
			} else if place.Current != image.Newest {
				place.Hold = left[fmt.Sprint(s.File, ":", s.Line)]
			}
			image.Places = append(image.Places, place)
		}
		r.Images = add(r.Images, image)
	}
	for _, x := range result.Held {
		image := shownImage(x.Found, now)
		place := v.place(x.Site)
		place.Hold = x.Site.Hold
		image.Places = append(image.Places, place)
		r.Images = add(r.Images, image)
	}
	for _, x := range result.Commits {
		summary, _, _ := strings.Cut(x.Message, "\n")
		r.Commits = append(r.Commits, status.Commit{SHA: x.SHA, Summary: summary, At: now, Page: pageOf(x), PullRequest: x.PullRequest})
	}
	slices.Reverse(r.Commits) // the newest first
	for _, x := range result.Failures {
		r.Failures = append(r.Failures, status.Failure{Where: whereFailed(x), Err: x.Err.Error(), Hint: fault.HintOf(x.Err)})
	}
	return r
}

func shownImage(f config.Found, now time.Time) status.Image {
	return status.Image{Name: f.Image.Name(), Policy: strings.TrimSpace(string(f.Rules.Strategy) + " " + f.Rules.Constraint), Origin: f.Where(), Checked: now}
}

func (v *view) place(s manifest.Site) status.Place {
	return status.Place{File: s.File, Line: s.Line, Application: v.applications[spotOf(s)], Current: bump.VersionOf(s.Ref)}
}

// add adds an image, or the places of one that is there.
func add(images []status.Image, image status.Image) []status.Image {
	for i := range images {
		known := &images[i]
		if known.Name == image.Name && known.Policy == image.Policy && known.Origin == image.Origin && (known.Newest == image.Newest || image.Newest == "") {
			known.Places = append(known.Places, image.Places...)
			return images
		}
	}
	return append(images, image)
}

// webOf is a repository's page on the web, "" where it is not reached over HTTPS.
func webOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	u.User = nil
	return strings.TrimSuffix(u.String(), ".git")
}

// pageOf is the commit's page on the web, as GitHub, GitLab, Gitea and Forgejo have it, "" when it has none.
func pageOf(x bump.Commit) string {
	page := webOf(x.Repository)
	if page == "" || !x.Pushed {
		return ""
	}
	return page + "/commit/" + x.SHA
}

// nameOf is what a target is called after its repository.
func nameOf(address string) string {
	name := strings.TrimSuffix(path.Base(strings.TrimRight(address, "/")), ".git")
	if at := strings.LastIndexAny(name, ":@"); at >= 0 {
		name = name[at+1:]
	}
	return cmp.Or(name, "repository")
}

func whereFailed(f bump.Failure) string {
	switch {
	case f.Line > 0:
		return fmt.Sprintf("%s:%d", f.File, f.Line)
	case f.File != "":
		return f.File
	}
	return f.Image
}
