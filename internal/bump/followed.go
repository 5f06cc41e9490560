package bump

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/policy"
)

// unread tells of files that the job covers, but that cannot be read, and of comments that are not: what they say is not
// followed.
func (j Job) unread(t *tree, p *Policies) {
	for _, f := range t.found {
		if f.err != nil && j.covers(f.path) {
			p.Failures = append(p.Failures, unreadable(f.path, f.err))
		}
		for _, line := range f.colonless {
			p.Warnings = append(p.Warnings, Warning{File: f.path, Line: line, Text: "a comment for imgbump has a colon: write # imgbump: and then what it is to do"})
		}
	}
}

var withoutColon = regexp.MustCompile(`(?m)(?:^|\s)#\s*imgbump\s+(?:hold|semver|flux-semver|suffix|calver|newest-build|digest|alphabetical|numerical)(?:\s|$)`)

// colonless are the lines of comments that are ours but for a colon.
func colonless(data []byte) (lines []int) {
	if !bytes.Contains(data, []byte("imgbump")) {
		return nil
	}
	for _, at := range withoutColon.FindAllIndex(data, -1) {
		hash := at[0] + bytes.IndexByte(data[at[0]:], '#')
		lines = append(lines, 1+bytes.Count(data[:hash], []byte("\n")))
	}
	return lines
}

// anyPlatform tells of what depends on where Argo CD Image Updater runs: without platforms it looks at images for its own.
func (p *Policies) anyPlatform() {
	for i := range p.Governed {
		g := &p.Governed[i]
		builds := g.Rules.Strategy == policy.NewestBuild || g.Rules.Strategy == policy.Digest
		if g.Origin == config.FromImageUpdater && g.Unsupported == "" && builds && len(g.Rules.Platforms) == 0 {
			g.Notices = append(g.Notices, config.Notice{File: g.File, Line: g.Line, Text: "images of any platform count for " + g.Image.Name() +
				", where Image Updater looks at its own platform alone: say which with platforms"})
		}
	}
}

// followed is the failure of policies none of which is followed, none when one is.
func (p Policies) followed() []Failure {
	if len(p.Governed) == 0 || slices.ContainsFunc(p.Governed, func(g Governed) bool { return g.Unsupported == "" }) {
		return nil
	}
	return []Failure{{Err: &fault.Error{What: fmt.Sprintf("0 of %d policies are followed", len(p.Governed)), Hint: "'imgbump policies' says why not"}}}
}
