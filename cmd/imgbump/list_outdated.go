package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// outdatedDocument is what list --outdated adds to a site. Allowed is null without a policy, or where no tag fits.
type outdatedDocument struct {
	Allowed *string `json:"allowed"`
	Newest  *string `json:"newest"`
	Policy  string  `json:"policy"`
}

// compare lists what registries have newer versions of.
func (f *listFlags) compare(ctx context.Context, c *cli.Console, job bump.Job, files bump.Files) error {
	if len(f.failOn) > 0 || *f.only[bump.Latest] || *f.only[bump.NoDigest] || *f.only[bump.Duplicates] {
		return fault.Usagef("leave the others away", "--outdated stands alone: it asks registries, not what a place looks like")
	}
	var u bump.Updates
	if err := f.registry.prepareUpdate(ctx, c, &u); err != nil {
		return err
	}
	listing, outdated, err := job.Outdated(ctx, files, &u)
	if err != nil {
		return err
	}
	tellPlaces(c, listing.Warnings, listing.Skipped, listing.Failures)
	doc := listed(listing, nil, nil)
	table := [][]cli.Cell{nil}
	for _, title := range []string{"PLACE", "IMAGE", "CURRENT", "ALLOWED", "NEWEST", "POLICY"} {
		table[0] = append(table[0], cli.Cell{Text: title, Style: cli.Strong})
	}
	for i, o := range outdated {
		doc.Sites[i].Outdated = &outdatedDocument{Allowed: optional(version(o.Allowed)), Newest: optional(version(o.Newest)), Policy: o.By}
		table = append(table, []cli.Cell{
			{Text: fmt.Sprintf("%s:%d", o.File, o.Line)}, {Text: o.Ref.Name()}, {Text: brief(o.Ref)}, {Text: cmp.Or(brief(o.Allowed), "-")},
			{Text: cmp.Or(brief(o.Newest), "-")}, {Text: o.By, Style: cli.Faint},
		})
	}
	text := ""
	if len(outdated) > 0 {
		text = c.Table(table)
	} else {
		c.Progressf("nothing newer was found")
	}
	return cmp.Or(c.Print(doc, text), listing.Err())
}

// version is what a reference says beside the repository.
func version(ref imageref.Ref) string {
	switch {
	case ref.Digest == "":
		return ref.Tag
	case ref.Tag == "":
		return ref.Digest
	}
	return ref.Tag + "@" + ref.Digest
}

// digestShown is how much of a digest a table shows: what tells it apart.
const digestShown = len("sha256:") + 12

// brief is the version as a table shows it.
func brief(ref imageref.Ref) string {
	if len(ref.Digest) > digestShown {
		ref.Digest = ref.Digest[:digestShown]
	}
	return version(ref)
}
